"""How long an exact search takes: random features, by `mixnmatch retrieve` and by NumPy.

usage: retrieval.py [--queries 10000] [--items 60000] [--dimension 64] [--threads 1]

Prints the seconds of both, and of how many queries the nearest item is the same.
"""

import argparse
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

MIXNMATCH = Path(__file__).parents[1] / "build/release/bin/mixnmatch"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--queries", type=int, default=10000)
    parser.add_argument("--items", type=int, default=60000)
    parser.add_argument("--dimension", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    # Before NumPy is loaded.
    os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)
    import numpy as np

    random = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as scratch:
        arrays = {}
        for name in ("queries", "items"):
            count = getattr(arguments, name)
            vectors = random.standard_normal((count, arguments.dimension))
            arrays[name] = vectors.astype(np.float32)
            np.save(f"{scratch}/{name}-X.npy", arrays[name])
            np.save(f"{scratch}/{name}-y.npy", np.arange(count) % 100)
        command = [MIXNMATCH, "retrieve", f"{scratch}/queries"]
        command += [
            "--database",
            f"{scratch}/items",
            "--threads",
            str(arguments.threads),
        ]
        command += ["--shortlist", f"{scratch}/found.csv"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        ours = float(re.search(r"([0-9.]+) s\n", done.stderr).group(1))
        found = np.loadtxt(f"{scratch}/found.csv", delimiter=",", dtype=np.int64)

    start = time.perf_counter()
    items = arrays["items"] / np.linalg.norm(arrays["items"], axis=1, keepdims=True)
    nearest = np.concatenate(
        [
            (arrays["queries"][begin : begin + 500] @ items.T).argmax(1)
            for begin in range(0, arguments.queries, 500)
        ]
    )
    theirs = time.perf_counter() - start
    same = (nearest == found[:, 0]).mean()
    print(f"{arguments.queries} queries, {arguments.items} x {arguments.dimension}:")
    print(f"mixnmatch retrieve, the 10 nearest  {ours:.2f} s")
    print(
        f"NumPy, the nearest                  {theirs:.2f} s, {100 * same:.2f} % the same"
    )


if __name__ == "__main__":
    main()
