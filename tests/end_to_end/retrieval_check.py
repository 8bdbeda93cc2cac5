"""A shortlist against a comparison of all pairs in NumPy.

usage: retrieval_check.py QUERIES DATABASE SHORTLIST

QUERIES and DATABASE are names of features, NAME-X.npy and NAME-y.npy. Exits with 1 if the shortlist,
by cosine, is another.
"""

import sys

import numpy as np


def unit(name):
    vectors = np.load(name + "-X.npy").astype(np.float64)
    if len(np.load(name + "-y.npy")) != len(vectors):
        sys.exit(f"{name} has not a class for each vector")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def main():
    queries, database = unit(sys.argv[1]), unit(sys.argv[2])
    shortlist = np.loadtxt(sys.argv[3], delimiter=",", dtype=np.int64)
    nearness = queries @ database.T
    best = -np.sort(-nearness, axis=1)[:, : shortlist.shape[1]]
    found = np.take_along_axis(nearness, shortlist, axis=1)
    # Vectors are rounded to f32 once they have unit length.
    worst = np.abs(best - found).max()
    if not worst < 2**-20:
        sys.exit(f"the shortlist is off by {worst}")


if __name__ == "__main__":
    main()
