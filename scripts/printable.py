"""Makes text from outside fit for a terminal, as report/escape.h does."""

import re
from pathlib import Path


def unprintable():
    """The ranges of characters that the program shows as escapes, too."""
    table = Path(__file__).resolve().parent.parent / "report/unprintable.inc"
    ranges = re.findall(r"\{0x(\w+), 0x(\w+)\}", table.read_text())
    return re.compile("[" + "".join(f"\\U{a:>08}-\\U{b:>08}" for a, b in ranges) + "]")


UNPRINTABLE = unprintable()


def shown(text):
    """What came from outside, without what steers a terminal or cannot be seen."""
    return UNPRINTABLE.sub(lambda match: ascii(match[0])[1:-1], str(text))
