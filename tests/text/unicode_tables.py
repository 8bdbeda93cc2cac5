"""Writes one of text/unicode_*.inc, or with a path checks that file.

usage: unicode_tables.py classes|decompositions|combining|lowercase [FILE]

The answers of text/ must be those of the tokenizers package, whose parts know different editions of
Unicode: what a code point is, and what becomes of it, is asked of the package itself. Python's
unicodedata gives the combining classes, of which the package tells no more than whether it has one.
"""

import pathlib
import sys
import textwrap
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

SEPARATOR = "\x01"  # of no class that is asked for
BLOCK = 0x1000
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xD7A4)  # computed, not listed
CLASSES = {
    "Upper": r"\p{Lu}",
    "Lower": r"\p{Ll}",
    "Title": r"\p{Lt}",
    "Modifier": r"\p{Lm}",
    "OtherLetter": r"\p{Lo}",
    "Mark": r"\p{M}",
    "Digit": r"\p{Nd}",
    "LetterNumber": r"\p{Nl}",
    "OtherNumber": r"\p{No}",
    "Connector": r"\p{Pc}",
    "Punctuation": r"[\p{Pd}\p{Ps}\p{Pe}\p{Pi}\p{Pf}\p{Po}]",
    "Symbol": r"\p{S}",
    "Separator": r"\p{Z}",
    "ControlSpace": r"[\x09-\x0d\u0085]",
}


def members(pattern, points):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK]
        text = SEPARATOR + SEPARATOR.join(map(chr, block)) + SEPARATOR
        # What does not match stays together with the separators around it.
        for piece, _ in split.pre_tokenize_str(text):
            if len(piece) == 1 and piece != SEPARATOR:
                yield ord(piece)


def classes():
    """{first, last, class}; Cased: upper and lower case by turns, upper first."""
    known = list(members(f"[{''.join(CLASSES.values())}]", POINTS))
    kind_of = {}
    for kind, pattern in CLASSES.items():
        kind_of |= dict.fromkeys(members(pattern, known), kind)
    rows, c = [], 0
    while c < 0x110000:
        kind, end = kind_of.get(c), c + 1
        pair = ("Upper", "Lower")
        while kind_of.get(end) == pair[(end - c) % 2]:
            end += 1
        if kind == "Upper" and end - c > 2:
            kind = "Cased"
        else:
            end = c + 1
            while end < 0x110000 and kind_of.get(end) == kind:
                end += 1
        if kind:
            rows.append(f"{{{c:#x}, {end - 1:#x}, k{kind}}}")
        c = end
    return rows


def normalized(normalizer, texts):
    """Of each by itself: what is of no class keeps them apart."""
    whole = normalizer.normalize_str(SEPARATOR.join(texts))
    return whole.split(SEPARATOR)


def letters():
    return [chr(c) for c in POINTS if chr(c) != SEPARATOR]


def decompositions():
    """Code point, what its decomposition is, and all of it, but for Hangul's syllables: '=' what
    composes again, '~' canonical only, ':' compatible."""
    canonical = normalized(normalizers.NFD(), letters())
    compatible = normalized(normalizers.NFKD(), letters())
    composed = normalized(normalizers.NFC(), letters())
    rows = []
    for letter, nfd, nfkd, nfc in zip(letters(), canonical, compatible, composed):
        if ord(letter) in HANGUL:
            continue
        if nfd != letter:
            rows.append((letter, "=" if nfc == letter else "~", nfd))
        if nfkd != nfd:
            rows.append((letter, ":", nfkd))
    return [
        f"{ord(letter):x}{kind}{'+'.join(f'{ord(d):x}' for d in to)}"
        for letter, kind, to in rows
    ]


def combining():
    """{first, last, combining class}"""
    nfd = normalizers.NFD()
    # U+0345 has the highest class, U+0334 the lowest: one of them changes places with it.
    high = [f"a\u0345{letter}" for letter in letters()]
    low = [f"a{letter}\u0334" for letter in letters()]
    rows = []
    for letter, alone, a, b, before, after in zip(
        letters(),
        normalized(nfd, letters()),
        high,
        low,
        normalized(nfd, high),
        normalized(nfd, low),
    ):
        c, kind = ord(letter), unicodedata.combining(letter)
        if alone != letter:
            continue
        known = before != a or after != b or c in (0x334, 0x345)
        assert kind or not known, f"U+{c:04X} combines, says the package"
        if known and rows and rows[-1][1:] == [c - 1, kind]:
            rows[-1][1] = c
        elif known:
            rows.append([c, c, kind])
    return [f"{{{a:#x}, {b:#x}, {k}}}" for a, b, k in rows]


def lowercase():
    """{first, last, step, what to add}: every step-th of them; U+0130 alone becomes two."""
    rows = []
    for letter, to in zip(letters(), normalized(normalizers.Lowercase(), letters())):
        c = ord(letter)
        if to == letter:
            continue
        if len(to) > 1:
            assert (c, to) == (0x130, "i\u0307")
            continue
        add = ord(to) - c
        if rows and rows[-1][3] == add:
            first, last, step, _ = rows[-1]
            if c - last == step or (first == last and c - last <= 2):
                rows[-1][1:3] = [c, c - last]
                continue
        rows.append([c, c, 1, add])
    return [f"{{{a:#x}, {b:#x}, {step}, {add}}}" for a, b, step, add in rows]


def main():
    rows = {f.__name__: f for f in (classes, decompositions, combining, lowercase)}[
        sys.argv[1]
    ]()
    if sys.argv[1] == "decompositions":
        lines = textwrap.wrap(" ".join(rows), 97, break_on_hyphens=False)
        text = "".join(f'"{line} "\n' for line in lines)
    else:  # no break inside of a row
        text = ", ".join(row.replace(" ", "\x02") for row in rows) + ","
        text = textwrap.fill(text, 100, break_on_hyphens=False)
        text = text.replace("\x02", " ") + "\n"
    if len(sys.argv) > 2:
        assert pathlib.Path(sys.argv[2]).read_text() == text, "another table"
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
