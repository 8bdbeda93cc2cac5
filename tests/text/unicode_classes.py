"""Writes text/unicode_classes.inc, or with a path checks that file.

The classes are those of the tokenizers package, whose answers text/splits.h must give: each code
point is put to its regular expressions.
"""

import pathlib
import sys

from tokenizers import Regex, pre_tokenizers

SEPARATOR = "\x01"  # of no class
BLOCK = 0x1000


def members(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    for start in range(0, 0x110000, BLOCK):
        points = [c for c in range(start, start + BLOCK) if not 0xD800 <= c < 0xE000]
        text = SEPARATOR + SEPARATOR.join(map(chr, points)) + SEPARATOR
        # What does not match stays together with the separators around it.
        for piece, _ in split.pre_tokenize_str(text) if points else []:
            if len(piece) == 1 and piece != SEPARATOR:
                yield ord(piece)


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def main():
    rows = []
    for kind, pattern in (("Letter", r"\p{L}"), ("Number", r"\p{N}"), ("Space", r"\s")):
        rows += [(a, b, kind) for a, b in ranges(members(pattern))]
    text = "".join(
        f"MNM_RANGE(0x{a:04x}, 0x{b:04x}, {k})\n" for a, b, k in sorted(rows)
    )
    if len(sys.argv) > 1:
        assert pathlib.Path(sys.argv[1]).read_text() == text, "other classes"
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
