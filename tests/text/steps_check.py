"""Normalizers and pre-tokenizers, and hostile texts, for text/normalizer.h and text/pre_tokenizer.h;
then the judge of their answers.

usage: steps_check.py make FILE; steps_check.py judge FILE ANSWERS

`make` writes {"normalizers", "pre_tokenizers", "texts"}; `judge` compares the normalized texts and
the lists of pieces, in that order, with those of the tokenizers package.
"""

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA_3 = (
    CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CAPITALS = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
SMALLS = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = "|".join(
    [
        rf"[^\r\n\p{{L}}\p{{N}}]?{CAPITALS}*{SMALLS}+{CONTRACTIONS}?",
        rf"[^\r\n\p{{L}}\p{{N}}]?{CAPITALS}+{SMALLS}*{CONTRACTIONS}?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
TEKKEN = O200K.replace(f"{CONTRACTIONS}?", "").replace("{1,3}", "")
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
DEEPSEEK_3 = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
CHINESE = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {
        "type": "Split",
        "pattern": {kind: pattern},
        "behavior": behavior,
        "invert": invert,
    }


def digits(individual):
    return {"type": "Digits", "individual_digits": individual}


def byte_level(prefix=False, regex=False):
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefix,
        "trim_offsets": True,
        "use_regex": regex,
    }


def metaspace(scheme, splits):
    return {
        "type": "Metaspace",
        "replacement": "\u2581",
        "prepend_scheme": scheme,
        "split": splits,
    }


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def replace(kind, pattern, content):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def normalizer_sequence(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


DEEPSEEK_LLM = sequence(
    split("[\r\n]"),
    split("\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u0370-\u0373]+"),
    split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
    split("\\s+$"),
    split(CHINESE),
    digits(True),
    byte_level(),
)

NORMALIZERS = [
    None,
    {"type": "NFC"},
    {"type": "NFD"},
    {"type": "NFKC"},
    {"type": "NFKD"},
    {"type": "Lowercase"},
    {"type": "Prepend", "prepend": "\u2581"},
    replace("String", " ", "\u2581"),
    replace("String", "a.", ""),
    replace("Regex", r"\s+|e\p{M}", "_"),
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Strip", "strip_left": False, "strip_right": True},
    normalizer_sequence(),
    normalizer_sequence(
        {"type": "NFKD"},
        normalizer_sequence({"type": "Lowercase"}, replace("Regex", r"\p{M}+", "")),
        {"type": "NFC"},
        {"type": "Prepend", "prepend": "\u2581"},
        replace("String", " ", "\u2581"),
    ),
]

PRE_TOKENIZERS = [
    byte_level(True, True),
    byte_level(False, True),
    sequence(digits(True), byte_level(False, True)),
    sequence(digits(False), byte_level(True, False)),
    sequence(split(LLAMA_3), byte_level()),
    sequence(split(O200K), byte_level()),
    sequence(split(TEKKEN), byte_level()),
    sequence(split(CL100K), byte_level()),
    DEEPSEEK_LLM,
    sequence(
        split(r"\p{N}{1,3}"),
        split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"),
        split(DEEPSEEK_3),
        byte_level(),
    ),
    sequence(
        split("[\r\n]"),
        split(r"\s?\p{L}+"),
        split(r"\s?\p{P}+"),
        split(CHINESE),
        digits(True),
        byte_level(),
    ),
    *(
        metaspace(scheme, s)
        for scheme in ("always", "first", "never")
        for s in (False, True)
    ),
    *(
        split(pattern, behavior, invert, kind)
        for behavior in (
            "Removed",
            "Isolated",
            "MergedWithPrevious",
            "MergedWithNext",
            "Contiguous",
        )
        for invert in (False, True)
        for kind, pattern in (("String", " "), ("Regex", r"\s"))
    ),
    # The language of expressions.
    *map(
        split,
        [
            "a+?b|a{2,}|b{1,2}|.",
            "(a|ab)(c|bcd)|(?:x|y)+z",
            r"^.+$|^a|\s+$|b$",
            r"[^a-c\s\d]|[\-\]\\x]+|\S\D",
            r"\P{L}+|\p{^Lu}|\p{Nd}{2}",
            "a*+b|[ab]?+c|(?=a)\\p{L}+|(?i:aB[c-])",
            r"\u0041|\x{42}+|[\u00e9\n]+",
            r"(?:a|a)+b|(?:(?:a|b)+c)+d|a+(?!b)",
            "(?i:sk)|'(?i:[sdmt]|ll)",
        ],
    ),
]

ALPHABET = [
    *"abcdABCDzZ'sStTdDmMlLrReEvVkK0079\u00b2\u00bd \t\n\r.,-_(#/$]\\xy",
    *"\u00e9\u00b5\u017f\u212a\u0130\u01c5\u00df\u2019\u00a0\u3000\u2028\u0085\u200b\u001c\u0000",
    *"\u0301\u0327\u0345\u0334\u20d2\u0323\u1100\u1161\u11a8\uac00\uac01\u0958\u212b\u1e9b\ufb01\uff21",
    *"日本語한글עבריتعربيᚠ\u1c89\U000323b0\U0001f600\u2167\u0663\U0001d7d9\u2581\U00011de3\U00016ff5",
    "\r\n",
    "  ",
    "'ll",
    "'RE",
    "'\u017f",
    "ab",
    "e\u0301",
    "o\u0323\u0307",
]


def texts():
    rng = random.Random(7)
    out = [
        "",
        " ",
        "a",
        "\n",
        "  a  ",
        "aaab" * 40,
        " " * 300 + "x",
        "ab" * 200,
        "\u0301" * 50,
    ]
    for _ in range(600):
        out.append("".join(rng.choices(ALPHABET, k=rng.randrange(1, 40))))
    for _ in range(200):
        points = (rng.randrange(0x110000) for _ in range(30))
        out.append("".join(chr(c) for c in points if not 0xD800 <= c < 0xE000))
    # Every character of the basic plane, so that every table is gone through.
    for start in range(0, 0x20000, 0x80):
        points = range(start, start + 0x80)
        out.append("".join(chr(c) for c in points if not 0xD800 <= c < 0xE000))
    return out


def tokenizer(**parts):
    model = {"type": "BPE", "vocab": {"a": 0}, "merges": []}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "model": model, **parts}))


def judge(asked, answers):
    assert len(answers["normalized"]) == len(asked["normalizers"])
    for step, given in zip(asked["normalizers"], answers["normalized"]):
        normalizer = tokenizer(normalizer=step).normalizer
        for text, answer in zip(asked["texts"], given, strict=True):
            expected = normalizer.normalize_str(text) if normalizer else text
            assert answer == expected, (step, text, answer, expected)
    for step, given in zip(asked["pre_tokenizers"], answers["pieces"], strict=True):
        pre_tokenizer = tokenizer(pre_tokenizer=step).pre_tokenizer
        for text, answer in zip(asked["texts"], given, strict=True):
            expected = [piece for piece, _ in pre_tokenizer.pre_tokenize_str(text)]
            assert answer == expected, (step, text, answer, expected)
    print(len(asked["texts"]), "texts")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        asked = {
            "normalizers": NORMALIZERS,
            "pre_tokenizers": PRE_TOKENIZERS,
            "texts": texts(),
        }
        Path(sys.argv[2]).write_text(json.dumps(asked))
    else:
        judge(*(json.loads(Path(path).read_text()) for path in sys.argv[2:]))
