"""BPE tokenizers of the public kinds, and hostile texts, for text/tokenizer.h; then the judge of its
answers.

usage: tokenizer_check.py make DIR CORPUS REFERENCE; tokenizer_check.py judge DIR

`make` trains a tokenizer of each kind, and writes NAME/tokenizer.json and NAME.texts (JSON). `judge`
compares NAME.ids, [{"ids", "text"}], with what the tokenizers package gives.
"""

import json
import random
import shutil
import sys
from pathlib import Path

import steps_check
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

BY_THREE = steps_check.LLAMA_3
BY_ONE = BY_THREE.replace(r"\p{N}{1,3}", r"\p{N}")
SPACE = "\u2581"

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
    SPACE,
    "<0x41>",
    "e\u0301",
    "\u212b",
    " <|end|> ",
    "\n\n\n",
    "x<tool>y",
]


def texts(corpus, name):
    out = ["", " ", "a", "\n", "   ", "a  b   c\n\n d", "'s'S'\u017f don't WE'LL I'm"]
    if name == "gemma":  # a megabyte between two added tokens is one word
        out.append((corpus.replace("\n", " ") * 20)[:1000000])
    out += ["a" * 3000, " " * 3000, "1234567890" * 50, "\n\r" * 500, "<|end|>" * 5]
    out += [corpus[i : i + 2000] for i in range(0, 20000, 2000)]
    rng = random.Random(name)
    for _ in range(700):
        out.append("".join(rng.choices(ALPHABET, k=rng.randrange(1, 40))))
    for _ in range(150):
        points = (rng.randrange(0x110000) for _ in range(30))
        out.append("".join(chr(c) for c in points if not 0xD800 <= c < 0xE000))
    return out


def trained(corpus, pattern, ignore_merges, lacking=(), unknown=None):
    """`lacking`: bytes that have no token."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges, unk_token=unknown))
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    split = pattern and pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, own]) if split else own
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[unknown] if unknown else [],
        show_progress=False,
    )
    tokenizer.train_from_iterator([corpus, " ".join(ALPHABET * 3)], trainer)
    if not lacking:
        return tokenizer
    model = json.loads(tokenizer.to_str())["model"]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printable]
    gone = {chr(b) if b in printable else chr(256 + rest.index(b)) for b in lacking}
    kept = [t for t in model["vocab"] if not gone & set(t)]
    model["vocab"] = {t: i for i, t in enumerate(kept)}
    model["merges"] = [m for m in model["merges"] if not gone & set("".join(m))]
    return changed(tokenizer, {"model": model, "added_tokens": []})


def byte_levels(corpus):
    """Kinds over byte letters, by what they are like."""
    words = trained(corpus, None, False)
    words.add_special_tokens([AddedToken("<|end|>", normalized=True)])
    yield "gpt_2", words

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
    yield "llama_3", three

    one = trained(corpus, BY_ONE, False)
    one.normalizer = normalizers.NFC()
    one.add_tokens(["é", "日"])  # one is the letter of a byte, the other of none
    yield "qwen_2", one

    smol = trained(corpus, None, False, lacking=range(0x80, 0x95))
    digits = pre_tokenizers.Digits(individual_digits=True)
    smol.pre_tokenizer = pre_tokenizers.Sequence([digits, smol.pre_tokenizer])
    smol.add_special_tokens(["<|end|>"])
    yield "smollm_2", smol

    unknown = trained(corpus, None, False, lacking=b"ab\x80\x81", unknown="<unk>")
    unknown.normalizer = normalizers.Sequence([])
    yield "unknown_bytes", unknown

    for name, steps in (
        ("deepseek", steps_check.DEEPSEEK_LLM),
        ("o200k", steps_check.PRE_TOKENIZERS[5]),
    ):
        yield name, changed(trained(corpus, BY_ONE, False), {"pre_tokenizer": steps})

    prefix = trained(corpus, None, False)
    prefix.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    prefix.add_special_tokens(["<|end|>"])
    yield "prefix", prefix

    added = trained(corpus, BY_ONE, False)
    added.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase()]
    )
    added.add_special_tokens([AddedToken("<|end|>", lstrip=True, rstrip=True)])
    added.add_tokens(
        [
            AddedToken("<tool>", single_word=True, normalized=False),
            AddedToken("<tool", rstrip=True, normalized=False),
            AddedToken(" world", lstrip=True, normalized=True),
            AddedToken("hello", single_word=True, normalized=True),
            AddedToken("Zé", normalized=True),
        ]
    )
    # The package itself dies where a token begins in the white space that the one before it took.
    yield "takes_spaces", added


# White space of all kinds that Unicode has, and what only looks like it.
SPACES = [
    *" \t\n\r\x0b\x0c\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007",
    *"\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
    *"\u180e\u200b\u200c\u200d\u2060\ufeff\u001c\u001d\u001e\u001f",
]
# Tokens that overlap, are parts of others, are white space, or end in letters.
OVERLAPPING = [
    *("<|end|>", "<|end|>>", "<|end|><tool>", "<tool>", "<tool", "ool>", "> <", ">>"),
    *("hello", "hell", "lo", " world", "world ", "a_", "_a", "Zé", "Z", "9", "日"),
    *("  ", " \n", "\n", "\n\n", "\t", "\u00a0x", "\u3000", " \u3000"),
]
FLAG_KINDS = 12


def random_flags(corpus):
    """Added tokens whose flags are drawn. Some are found before normalizing, others after it."""
    steps = [None, normalizers.NFKC(), normalizers.Lowercase()]
    for kind in range(FLAG_KINDS):
        name = f"flags_{kind}"
        rng = random.Random(name)
        tokenizer = trained(corpus, BY_ONE if kind % 2 else None, False)
        if step := steps[kind % 3]:
            tokenizer.normalizer = step
        for content in rng.sample(OVERLAPPING, 10):
            drawn = {f: rng.random() < 0.4 for f in ("lstrip", "rstrip", "single_word")}
            token = AddedToken(content, normalized=rng.random() < 0.4, **drawn)
            add = rng.choice([tokenizer.add_special_tokens, tokenizer.add_tokens])
            add([token])
        yield name, tokenizer


def texts_of_flags(tokenizer, name):
    """The package dies of some: where a token that takes spaces lies in those of another."""
    rng = random.Random(name + " texts")
    own = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    words = ["a", "_", "-", "é", "\u0301", "\u24b6", "²", "HELLO", "ﬁ", *OVERLAPPING]
    out = []
    while len(out) < 1500:
        choices = rng.choice([[*own, *SPACES], [*own, *own, *SPACES, *words]])
        text = "".join(rng.choices(choices, k=rng.randrange(1, 20)))
        try:
            tokenizer.encode(text)
        except BaseException as error:  # pyo3's PanicException is no Exception
            if type(error).__name__ != "PanicException":
                raise
            continue
        out.append(text)
    return out


def changed(tokenizer, parts):
    return Tokenizer.from_str(json.dumps(json.loads(tokenizer.to_str()) | parts))


def sentence_piece(corpus, byte_fallback=True, fuse=True, lacking=(), **parts):
    """A vocabulary of characters, with bytes for the others, as SentencePiece has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=1000, show_progress=False)
    letters = [c for c in ALPHABET if len(c) > 1 or c.isascii()]
    text = [corpus, " ".join(letters * 3), "   \n\n"]
    tokenizer.train_from_iterator(text, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    first = ["<unk>", "<s>", "</s>"]
    first += [f"<0x{b:02X}>" for b in range(256) if b not in lacking]
    tokens = [t for t in model["vocab"] if t not in first]
    special = [
        {
            "id": i,
            "content": first[i],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i in range(3)
    ]
    model |= {
        "vocab": {t: i for i, t in enumerate(first + tokens)},
        "byte_fallback": byte_fallback,
        "unk_token": "<unk>",
        "fuse_unk": fuse,
    }
    json_text = {"version": "1.0", "model": model, "added_tokens": special, **parts}
    return Tokenizer.from_str(json.dumps(json_text))


def sentence_pieces(corpus):
    """Three front ends over characters."""
    to_space = steps_check.replace("String", SPACE, " ")
    bytes_fused = [{"type": "ByteFallback"}, {"type": "Fuse"}]
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    from_space = steps_check.replace("String", " ", SPACE)
    plain = {"type": "Sequence", "decoders": [to_space, *bytes_fused]}
    stripping = {"type": "Sequence", "decoders": [to_space, *bytes_fused, strip]}

    llama_2 = sentence_piece(
        corpus,
        decoder=stripping,
        normalizer=steps_check.normalizer_sequence(
            {"type": "Prepend", "prepend": SPACE}, from_space
        ),
    )
    llama_2.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    llama_2.add_tokens([AddedToken("<tool>", normalized=True), AddedToken("\n\n")])
    yield "llama_2", llama_2

    for scheme, splits in (("first", False), ("always", True), ("never", False)):
        step = steps_check.metaspace(scheme, splits)
        newer = sentence_piece(corpus, decoder=stripping, pre_tokenizer=step)
        newer.add_special_tokens(["<|end|>"])
        yield f"metaspace_{scheme}", newer

    step = steps_check.metaspace("always", True)
    yield "metaspace_decoder", sentence_piece(corpus, decoder=step, pre_tokenizer=step)

    gemma = sentence_piece(
        corpus,
        normalizer=from_space,
        pre_tokenizer=steps_check.split(" ", "MergedWithPrevious", kind="String"),
        decoder=plain,
    )
    runs = ["\n\n", "\n\n\n", SPACE * 2, SPACE * 3, "<tool>"]
    gemma.add_tokens([AddedToken(run, normalized=False) for run in runs])
    yield "gemma", gemma

    for fuse in (False, True):
        yield (
            f"unknown_{fuse}",
            sentence_piece(
                corpus,
                fuse=fuse,
                lacking=range(0x90, 0xA0),
                decoder=plain,
                normalizer={"type": "NFKD"},
            ),
        )
    yield "no_bytes", sentence_piece(corpus, byte_fallback=False, decoder=plain)


def make(root, corpus_file, reference):
    corpus = Path(corpus_file).read_text("utf-8", "replace")[:100000]
    for name, tokenizer in (
        *byte_levels(corpus),
        *sentence_pieces(corpus),
        *random_flags(corpus),
    ):
        (root / name).mkdir()
        tokenizer.save(str(root / name / "tokenizer.json"))
    (root / "bytes").mkdir()
    shutil.copy(Path(reference) / "tokenizer.json", root / "bytes")
    for folder in [p for p in root.iterdir() if p.is_dir()]:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        size = max(tokenizer.get_vocab().values()) + 1
        asked = (
            texts_of_flags(tokenizer, folder.name)
            if folder.name.startswith("flags_")
            else texts(corpus, folder.name)
        )
        facts = {"vocabulary": size, "texts": asked}
        (root / f"{folder.name}.texts").write_text(json.dumps(facts))


def judge(root):
    for answers in sorted(root.glob("*.ids")):
        tokenizer = Tokenizer.from_file(str(root / answers.stem / "tokenizer.json"))
        asked = json.loads(answers.with_suffix(".texts").read_text())["texts"]
        given = json.loads(answers.read_text())
        assert len(given) == len(asked) > 500
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
