"""The baseline that a language model of bytes must beat: interpolated Witten-Bell n-grams.

P_k(w | h) = (c(hw) + t(h) * P_{k-1}(w | h')) / (c(h) + t(h)), where c counts occurrences, t(h) the
distinct bytes seen after h, h' drops h's first byte, and P_0 is uniform over 256. An unseen h backs
off entirely. Bell, Cleary and Witten, "Text Compression" (1990), method C with interpolation.
"""

import argparse

import numpy as np


def codes(data, n):
    """Every n-gram of `data` as an integer: [len(data) - n + 1] uint64, n <= 8."""
    out = np.zeros(len(data) - n + 1, dtype=np.uint64)
    for i in range(n):
        out = (out << np.uint64(8)) | data[i : len(data) - n + 1 + i].astype(np.uint64)
    return out


def lookup(keys, values, wanted):
    """values[j] where keys[j] == wanted[i], else 0. `keys` is sorted."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0).astype(np.float64)


def losses(train, held_out, max_order):
    """Yields (order, nats per byte of held_out[1:]) for orders 1 to max_order."""
    p = np.full(len(held_out), 1 / 256)
    for order in range(1, max_order + 1):
        grams, counts = np.unique(codes(train, order), return_counts=True)
        wanted = codes(held_out, order)  # ends at positions order - 1, order, ...
        if order == 1:
            total, distinct = float(counts.sum()), float(len(grams))
            total, distinct = (
                np.full(len(wanted), total),
                np.full(len(wanted), distinct),
            )
        else:
            contexts, first = np.unique(grams >> np.uint64(8), return_index=True)
            total = lookup(
                contexts, np.add.reduceat(counts, first), wanted >> np.uint64(8)
            )
            kinds = np.diff(np.append(first, len(grams)))
            distinct = lookup(contexts, kinds, wanted >> np.uint64(8))
        seen = total > 0
        here = p[order - 1 :]
        mixed = lookup(grams, counts, wanted) + distinct * here
        p[order - 1 :] = np.where(seen, mixed / np.maximum(total + distinct, 1), here)
        yield order, float(-np.log(p[1:]).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("held_out")
    parser.add_argument("--max-order", type=int, default=8, choices=range(1, 9))
    args = parser.parse_args()
    train = np.fromfile(args.train, dtype=np.uint8)
    held_out = np.fromfile(args.held_out, dtype=np.uint8)
    for order, loss in losses(train, held_out, args.max_order):
        print(f"order {order}: {loss:.4f} nats per byte")


if __name__ == "__main__":
    main()
