"""Some images of a set, as a set of their own.

usage: image_part.py SET FIRST COUNT OUT

OUT gets images FIRST, FIRST + 1, ... of SET, their labels as uint8, and the names of the classes.
"""

import shutil
import sys
from pathlib import Path

import numpy as np


def main():
    whole, out = Path(sys.argv[1]), Path(sys.argv[4])
    first, count = int(sys.argv[2]), int(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    for name in ("images", "labels"):
        array = np.load(whole / f"{name}.npy", mmap_mode="r")[first : first + count]
        if len(array) < count or array.min() < 0 or array.max() > 255:
            sys.exit(f"{whole}/{name}.npy has no {count} bytes from {first} on")
        np.save(out / f"{name}.npy", array.astype(np.uint8))
    shutil.copy(whole / "classes.json", out)


if __name__ == "__main__":
    main()
