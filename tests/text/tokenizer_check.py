"""Byte-level BPE tokenizers, and hostile texts, for text/tokenizer.h; then the judge of its answers.

usage: tokenizer_check.py make DIR CORPUS REFERENCE; tokenizer_check.py judge DIR

`make` trains a tokenizer for each way to split text, and writes NAME/tokenizer.json and NAME.texts
(JSON). `judge` compares NAME.ids, [{"ids", "text"}], with what the tokenizers package gives.
"""

import json
import random
import shutil
import sys
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)

BY_THREE = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BY_ONE = BY_THREE.replace(r"\p{N}{1,3}", r"\p{N}")

# What the alternatives of the expressions tell apart, and what tells tokens from text.
ALPHABET = [
    *"aZé'sStTdDmMlLrReEvV0079²½ \t\n\r.,-_(#",
    *"\u017f\u212a\u0130\u00df\u2019\u00a0\u3000\u2028\u0085\u200b\u001c\u0000\u0301\u200d",
    *"日本語한글עבריתعربيᚠ\u1c89\U000323b0\U0001f600\U0001f468\u2167\u0663\U0001d7d9",
    "\r\n",
    "  ",
    "'ll",
    "'RE",
    "'\u017f",
    "<|end|>",
    "<|end|>>",
    "<tool>",
    "<tool",
    "hello",
    " world",
    "\ufffd",
    "\U0010ffff",
]


def texts(corpus):
    out = ["", " ", "a", "\n", "   ", "a  b   c\n\n d", "'s'S'\u017f don't WE'LL I'm"]
    out += ["a" * 3000, " " * 3000, "1234567890" * 50, "\n\r" * 500, "<|end|>" * 5]
    out += [corpus[i : i + 2000] for i in range(0, 40000, 2000)]
    rng = random.Random(5)
    for _ in range(1500):
        out.append("".join(rng.choices(ALPHABET, k=rng.randrange(1, 40))))
    for _ in range(300):
        points = (rng.randrange(0x110000) for _ in range(30))
        out.append("".join(chr(c) for c in points if not 0xD800 <= c < 0xE000))
    return out


def trained(corpus, pattern, ignore_merges):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = pattern and pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, own]) if split else own
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([corpus, " ".join(ALPHABET * 3)], trainer)
    return tokenizer


def make(root, corpus_file, reference):
    corpus = Path(corpus_file).read_text("utf-8", "replace")[:200000]
    words = trained(corpus, None, False)
    words.add_special_tokens([AddedToken("<|end|>", normalized=True)])
    three = trained(corpus, BY_THREE, True)
    three.add_special_tokens(["<|begin|>", "<|end|>", "<|end|>>"])
    three.add_tokens(
        [AddedToken("<tool>", normalized=False), AddedToken("hello world")]
    )
    begin = ("<|begin|>", three.token_to_id("<|begin|>"))
    end = ("<|end|>", three.token_to_id("<|end|>"))
    three.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin|> $A <|end|>", special_tokens=[begin, end]
            ),
        ]
    )
    one = trained(corpus, BY_ONE, False)
    one.add_tokens(["é", "日"])  # one is the letter of a byte, the other of none
    for name, tokenizer in (("words", words), ("three", three), ("one", one)):
        (root / name).mkdir()
        tokenizer.save(str(root / name / "tokenizer.json"))
    (root / "bytes").mkdir()
    shutil.copy(Path(reference) / "tokenizer.json", root / "bytes")
    for folder in [p for p in root.iterdir() if p.is_dir()]:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        facts = {"vocabulary": tokenizer.get_vocab_size(), "texts": texts(corpus)}
        (root / f"{folder.name}.texts").write_text(json.dumps(facts))


def judge(root):
    for answers in sorted(root.glob("*.ids")):
        tokenizer = Tokenizer.from_file(str(root / answers.stem / "tokenizer.json"))
        asked = json.loads(answers.with_suffix(".texts").read_text())["texts"]
        given = json.loads(answers.read_text())
        assert len(given) == len(asked) > 1000
        for text, answer in zip(asked, given):
            ids = tokenizer.encode(text).ids
            assert answer["ids"] == ids, (answers.stem, text, answer["ids"], ids)
            decoded = tokenizer.decode(ids)
            assert answer["text"] == decoded, (answers.stem, text, answer, decoded)
            # Any part of it, which may cut a character in two.
            part = tokenizer.decode(ids[1::2])
            assert answer["part"] == part, (answers.stem, text, answer, part)
        print(answers.stem, len(asked), "texts")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), *sys.argv[3:])
    else:
        judge(Path(sys.argv[2]))
