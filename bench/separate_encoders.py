"""Adaptive retrieval with submodels, beside models of the same size that were trained alone.

usage: separate_encoders.py MODEL SUBMODEL=SEPARATE... --queries SET --database SET
       separate_encoders.py data/glyphs/vit 8x6=out/glyphs/separate-8-2000/model ...

SUBMODEL is a submodel of the nested MODEL. SEPARATE is a model of which the same widths were trained
and nothing else (`mixnmatch train --widths`). `mixnmatch features` encodes the images, `mixnmatch
retrieve` searches the database. A row says who encoded the queries and who the database:

full, full          the full nested model encodes both
submodel, full      adaptive retrieval
separate, full      the separate model's queries as they are, in the database of the full nested model
separate mapped     the same, after the linear map that fits the separate model's vectors of the
                    database to the full model's best (least squares): what a user could do afterwards
submodel, submodel  the submodel encodes both
separate, separate  the separate model encodes both

Each has the 1-NN accuracy, what it is less than that of "full, full", paired by queries, and the mAP@10;
after the rows of a size come the differences between them.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np


def mean(values):
    return f"{values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}"


class Encoders:
    """Vectors of queries and of the database by many encoders, as files in a scratch directory."""

    def __init__(self, arguments, scratch):
        self.arguments, self.scratch = arguments, Path(scratch)

    def mixnmatch(self, *arguments):
        command = [self.arguments.program, *arguments, "--threads", "1"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)

    def encode(self, name, model, *widths):
        for side in ("queries", "database"):
            data = getattr(self.arguments, side)
            out = self.scratch / f"{name}-{side}"
            self.mixnmatch("features", model, "--data", data, *widths, "--out", out)

    def vectors(self, name, side):
        return np.load(self.scratch / f"{name}-{side}-X.npy")

    def fit_map(self, name, to):
        """Makes `NAME mapped`: vectors of the queries in the space of the encoder `to`."""

        def with_one(x):
            return np.concatenate([x, np.ones((len(x), 1), x.dtype)], 1)

        known = with_one(self.vectors(name, "database"))
        matrix, *_ = np.linalg.lstsq(known, self.vectors(to, "database"), rcond=None)
        queries = with_one(self.vectors(name, "queries")) @ matrix
        stem = self.scratch / f"{name} mapped-queries"
        np.save(f"{stem}-X.npy", queries.astype(np.float32))
        np.save(f"{stem}-y.npy", np.load(self.scratch / f"{name}-queries-y.npy"))

    def search(self, queries, database):
        """Of each query whether the nearest item is of its class, and its average precision."""
        found = self.scratch / f"{queries}-{database}.csv"
        stem, other = (
            self.scratch / f"{queries}-queries",
            self.scratch / f"{database}-database",
        )
        self.mixnmatch("retrieve", stem, "--database", other, "--shortlist", found)
        items = np.loadtxt(found, delimiter=",", dtype=np.int64)
        hits = np.load(f"{other}-y.npy")[items] == np.load(f"{stem}-y.npy")[:, None]
        precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
        return hits[:, 0].astype(float), (precision * hits).mean(1)


def show(title, nearest, precision, full):
    less = "" if full is None else mean(full - nearest)
    print(f"{title:34} {mean(nearest):15} {less:15} {mean(precision)}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("sizes", nargs="+", metavar="SUBMODEL=SEPARATE")
    parser.add_argument("--queries", default="data/glyphs/confirm")
    parser.add_argument("--database", default="data/glyphs/search")
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        encoders = Encoders(arguments, scratch)
        print(f"{'queries, database':34} {'1-NN':15} {'less':15} mAP@10")
        encoders.encode("full", arguments.model)
        full, precision = encoders.search("full", "full")
        show("full, full", full, precision, None)
        for size in arguments.sizes:
            widths, separate = size.split("=", 1)
            sub, own = f"submodel {widths}", f"separate {widths}"
            encoders.encode(sub, arguments.model, "--widths", widths)
            encoders.encode(own, separate, "--widths", widths)
            encoders.fit_map(own, "full")
            nearest = {}
            for row in (
                (sub, "full"),
                (own, "full"),
                (f"{own} mapped", "full"),
                (sub, sub),
                (own, own),
            ):
                nearest[row], precision = encoders.search(*row)
                title = f"{row[0]}, {'full' if row[1] == 'full' else 'the same'}"
                show(title, nearest[row], precision, full)
            adaptive = nearest.pop((sub, "full"))
            for row, other in nearest.items():
                print(
                    f"adaptive {widths} less {', '.join(row)}: {mean(adaptive - other)}"
                )


if __name__ == "__main__":
    main()
