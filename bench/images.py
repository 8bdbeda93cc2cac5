"""How fast `mixnmatch images` makes a set, beside a Pillow loop in as many processes as it uses
threads, on the same photographs and without Pillow's `draft`.

usage: images.py [--images 600] [--threads 1] [--pairs 5]

The photographs are made: smooth noise of 500 x 375 pixels, as JPEG of quality 90. Both decode them,
resize the shorter side to 256 (bilinear) and crop 224. The pixels must be equal before anything is
timed. Printed is the median of the pairs' ratios, with the least and the most.
"""

import argparse
import multiprocessing
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

MIXNMATCH = Path(__file__).parents[1] / "build/release/bin/mixnmatch"
SHORTER, CROP = 256, 224


def make(folder, count):
    random = np.random.default_rng(1)
    for i in range(count):
        place = folder / f"class{i % 4}" / f"{i:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        photograph = Image.fromarray(small).resize((500, 375), Image.BICUBIC)
        grain = random.integers(-12, 13, (375, 500, 3))
        pixels = np.clip(np.asarray(photograph) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place, quality=90)


def decode(path):
    """As torchvision's Resize and CenterCrop."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    if width <= height:
        size = SHORTER, int(SHORTER * height / width)
    else:
        size = int(SHORTER * width / height), SHORTER
    image = image.resize(size, Image.BILINEAR)
    left, top = round((size[0] - CROP) / 2), round((size[1] - CROP) / 2)
    return np.asarray(image.crop((left, top, left + CROP, top + CROP)))


def theirs(paths, processes):
    out = np.empty((len(paths), CROP, CROP, 3), np.uint8)
    begin = time.perf_counter()
    if processes == 1:
        for i, path in enumerate(paths):
            out[i] = decode(path)
    else:
        with multiprocessing.Pool(processes) as pool:
            for i, pixels in enumerate(pool.imap(decode, paths, chunksize=16)):
                out[i] = pixels
    return time.perf_counter() - begin, out


def ours(folder, target, threads):
    command = [MIXNMATCH, "images", folder, "--out", target, "--resize", str(SHORTER)]
    command += ["--crop", str(CROP), "--threads", str(threads), "--force"]
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin, np.load(target / "images.npy")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, target = Path(scratch) / "photographs", Path(scratch) / "set"
        make(folder, arguments.images)
        paths = sorted(folder.glob("*/*.jpg"))
        if not np.array_equal(ours(folder, target, 1)[1], theirs(paths, 1)[1]):
            raise SystemExit("the pixels differ: nothing is timed")
        pairs = [
            (
                ours(folder, target, arguments.threads)[0],
                theirs(paths, arguments.threads)[0],
            )
            for _ in range(arguments.pairs)
        ]
    ratios = [pillow / mine for mine, pillow in pairs]
    print(
        f"{arguments.images} photographs, {arguments.threads} threads: "
        f"{arguments.images / statistics.median(mine for mine, _ in pairs):.0f} a second, "
        f"Pillow {arguments.images / statistics.median(p for _, p in pairs):.0f}; "
        f"{statistics.median(ratios):.2f} times as fast "
        f"({min(ratios):.2f} to {max(ratios):.2f}), starting and writing included"
    )


if __name__ == "__main__":
    main()
