"""What it costs to attend to an ancestor's keys and values in place: the attention of several nodes of
a plan to what one ancestor gave, with Gemma 3n E4B's heads, against one call with a copy for each
node (families/gemma3n/attention_fold.h, for_nodes). With one sequence in place is one call on
views. With more it takes a call for each node or each sequence, whichever are fewer.

usage: held_keys.py [--rounds 25]

The two ways take turns: processor time of one thread, the shortest of all rounds. The bits are
equal, or it fails. A step on the CPU has about 1,024 rows.
"""

import argparse
import time

import torch

HEADS, KV_HEADS, HEAD_DIM = 8, 2, 256  # E4B's
STEPS = [
    (4, 1, 256),
    (8, 1, 128),
    (16, 1, 64),
    (64, 1, 16),
    (4, 2, 128),
    (4, 4, 64),
    (8, 8, 16),
]


def attend(queries, keys, values):
    mixed = torch.nn.functional.scaled_dot_product_attention(
        queries.transpose(1, 2),
        keys.transpose(1, 2),
        values.transpose(1, 2),
        is_causal=True,
        scale=1.0,
        enable_gqa=True,
    )
    return mixed.transpose(1, 2).reshape(-1, HEADS * HEAD_DIM)


def copied(queries, keys, values):
    nodes = queries.shape[0]
    repeated = [torch.cat([held] * nodes) for held in (keys, values)]
    return attend(queries.flatten(0, 1), *repeated)


def in_place(queries, keys, values):
    nodes, sequences, tokens = queries.shape[:3]
    if nodes <= sequences:
        return torch.cat([attend(node, keys, values) for node in queries])
    parts = [
        attend(
            queries[:, s],
            keys[s : s + 1].expand(nodes, -1, -1, -1),
            values[s : s + 1].expand(nodes, -1, -1, -1),
        ).view(nodes, 1, tokens, -1)
        for s in range(sequences)
    ]
    joined = parts[0] if sequences == 1 else torch.cat(parts, 1)
    return joined.view(-1, HEADS * HEAD_DIM)


def seconds(work, *arguments):
    start = time.thread_time()
    result = work(*arguments)
    return time.thread_time() - start, result


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for nodes, sequences, tokens in STEPS:
        queries = torch.randn(nodes, sequences, tokens, HEADS, HEAD_DIM)
        held = [torch.randn(sequences, tokens, KV_HEADS, HEAD_DIM) for _ in range(2)]
        before = after = float("inf")
        for _ in range(rounds):
            took, expected = seconds(copied, queries, *held)
            before = min(before, 1e3 * took)
            took, found = seconds(in_place, queries, *held)
            after = min(after, 1e3 * took)
            assert torch.equal(found, expected), "the two ways differ"
        mib = 2 * nodes * held[0].numel() * 4 / 2**20
        print(
            f"{nodes} nodes, {sequences} x {tokens} tokens: {mib:.1f} MiB copied, {before:.2f} ms; "
            f"in place {after:.2f} ms, {after / before:.3f} of the time",
            flush=True,
        )


if __name__ == "__main__":
    main()
