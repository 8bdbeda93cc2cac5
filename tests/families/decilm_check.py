"""The ffn_mult of widths, by the rule that DeciLM's readers follow.

usage: decilm_check.py TABLE: lines of `hidden_size width ffn_mult`.

The rule, as the published readers state it: the configuration class keeps six decimals of ffn_mult;
the size is two thirds of it times the hidden size, cut to a whole number, and the FFN has the next
multiple of 256. Here in exact fractions and, as the readers have it, in floating point.
"""

import sys
from fractions import Fraction
from math import ceil, floor


def exactly(ffn_mult, hidden_size):
    size = floor(Fraction(2, 3) * Fraction(ffn_mult) * hidden_size)
    return ceil(Fraction(size, 256)) * 256


def as_readers_do(ffn_mult, hidden_size):
    kept = round(ffn_mult, 6)
    size = int(2 * kept * hidden_size / 3)
    return size if size % 256 == 0 else size + 256 - size % 256


def main():
    wrong = lines = 0
    with open(sys.argv[1]) as table:
        for line in table:
            hidden_size, width, ffn_mult = line.split()
            lines += 1
            for rule in (exactly, as_readers_do):
                found = rule(float(ffn_mult), int(hidden_size))
                if found != int(width):
                    wrong += 1
                    print(f"{line.strip()}: {rule.__name__} gives {found}")
    print(f"{lines} lines, {wrong} wrong")
    sys.exit(1 if wrong or not lines else 0)


if __name__ == "__main__":
    main()
