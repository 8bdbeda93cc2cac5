"""How long a text of one word takes, with a tokenizer of Gemma's kind and size.

usage: gemma_words.py [--vocabulary 262144] [--keep DIRECTORY]

The vocabulary is made up: special tokens, bytes, runs of spaces and of newlines, and the pieces that
the tokenizers package learns from the Python files of this interpreter and its packages. Its merges
are all ways to put a piece together from two others, by the rank of the piece, as transformers lists
those of a SentencePiece model. All text between two added tokens is one word, so the text has none:
1 MB of the Python manual's and of licences, whose white space is single spaces. Prints processor
seconds of build/release/bin/encode_text and of the tokenizers package, the sizes, how time grows
from a quarter of the text to all of it, and whether the tokens are the same.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from pydoc_data.topics import topics

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

ENCODE_TEXT = Path(__file__).parents[1] / "build/release/bin/encode_text"
SPACE = "\u2581"
BYTES = 1 << 20
CORPUS = 48 << 20


def python_sources():
    """Texts of CORPUS characters in all."""
    left = CORPUS
    for place in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_path(place)).rglob("*.py")):
            text = path.read_text("utf-8", "replace")
            if left < len(text):
                return
            left -= len(text)
            yield text.replace(" ", SPACE)


def pieces_of(count):
    """Learned pieces in the order of their ranks: characters first."""
    learner = Tokenizer(models.BPE())
    words = Regex(f"{SPACE}?[^{SPACE}\\s]+|{SPACE}+")
    learner.pre_tokenizer = pre_tokenizers.Split(words, "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=count,
        min_frequency=2,
        max_token_length=24,
        limit_alphabet=4000,
        show_progress=False,
    )
    learner.train_from_iterator(python_sources(), trainer)
    ids = learner.get_vocab()
    return sorted(ids, key=ids.get)


def tokenizer_json(size):
    added = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    added += ["\n" * n for n in range(1, 32)] + [SPACE * n for n in range(2, 32)]
    tokens = added + [f"<0x{byte:02X}>" for byte in range(256)]
    known = set(tokens)
    tokens += [
        piece for piece in pieces_of(size) if piece not in known and piece.strip()
    ]
    assert len(tokens) >= size, f"only {len(tokens)} pieces were learned"
    vocab = {token: i for i, token in enumerate(tokens[:size])}
    merges = []
    for piece in tokens[len(added) + 256 : size]:
        splits = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        splits = [(a, b) for a, b in splits if a in vocab and b in vocab]
        merges += sorted(splits, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": i,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": i < 5,
            }
            for i, token in enumerate(added)
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "byte_fallback": True,
            "fuse_unk": True,
            "unk_token": "<unk>",
            "ignore_merges": False,
            "vocab": vocab,
            "merges": merges,
        },
    }


def manual_and_licences():
    texts = list(topics.values())
    texts += [
        path.read_text()
        for path in sorted(Path("/usr/share/common-licenses").glob("*"))
        if not path.is_symlink()
    ]
    text = " ".join(" ".join(texts).split()).encode()
    while len(text) < BYTES:  # the manual alone has two thirds of it
        text += b" " + text
    return text[:BYTES].decode("utf-8", "ignore")


def ours(directory, text):
    file = directory / "text"
    file.write_text(text)
    done = subprocess.run(
        [ENCODE_TEXT, directory, file], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def checksum(ids):
    total = 0
    for i in ids:
        total = (total * 1_000_003 + i) % (1 << 64)
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=262144)
    parser.add_argument("--keep", type=Path, help="where the tokenizer is, or is left")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.keep or Path(scratch)
        directory.mkdir(exist_ok=True)
        file = directory / "tokenizer.json"
        if not file.exists():
            made = tokenizer_json(arguments.vocabulary)
            (directory / "config.json").write_text(
                json.dumps({"vocab_size": len(made["model"]["vocab"])})
            )
            file.write_text(json.dumps(made, ensure_ascii=False))
        model = json.loads(file.read_text())["model"]
        print(f"{len(model['vocab'])} tokens, {len(model['merges'])} merges")
        text = manual_and_licences()
        whole, part = ours(directory, text), ours(directory, text[: len(text) // 4])
        package = Tokenizer.from_file(str(file))
        start = time.process_time()
        ids = package.encode(text, add_special_tokens=False).ids
        theirs = time.process_time() - start
    same = checksum(ids) == whole["sum"] and len(ids) == whole["tokens"]
    print(
        f"{whole['bytes']} bytes are {whole['tokens']} tokens, "
        + ("the same" if same else "OTHERS")
        + " as the package's"
    )
    print(
        f"{whole['seconds']:.3f} s, the package {theirs:.3f} s; reading the file {whole['read']:.2f} s"
    )
    print(
        f"a quarter of the text {part['seconds']:.3f} s: {whole['seconds'] / part['seconds']:.2f} times as long for 4 times the text"
    )
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
