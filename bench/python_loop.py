"""mixnmatch against the loop that a careful Python user would write, in one run.

The loop keeps one transformers model in memory, swaps each layer's MLP weights for views of their
first rows and columns, and takes the mean loss over the same tokens: same threads, f32, the best of
three batch sizes. It is timed on an even sample of the set; both sides must give the same losses
before anything is printed. The loop runs before and after mixnmatch, so that a drift of the
machine's speed meets both.

    scripts/setup test && scripts/build
    .venv/bin/python bench/python_loop.py data/reference data/reference/search.bin
"""

import argparse
import itertools
import json
import subprocess
import time
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

TOLERANCE = 2e-5  # nats: f32 sums of 8 layers in another order; a wrong slice moves a loss by 1e-2


class Loop:
    def __init__(self, directory, data, tokens, context):
        self.model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=torch.float32
        )
        self.model.eval()
        self.full = [
            [
                m.weight.data
                for m in (layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
            ]
            for layer in self.model.model.layers
        ]
        raw = np.fromfile(data, dtype=np.uint8)[: tokens + 1].astype(np.int64)
        count = tokens // context
        self.inputs = torch.from_numpy(raw[: count * context]).view(count, context)
        self.targets = torch.from_numpy(raw[1 : count * context + 1]).view(
            count, context
        )

    def set_widths(self, widths):
        for layer, (gate, up, down), width in zip(
            self.model.model.layers, self.full, widths, strict=True
        ):
            layer.mlp.gate_proj.weight.data = gate[:width]
            layer.mlp.up_proj.weight.data = up[:width]
            layer.mlp.down_proj.weight.data = down[:, :width]

    @torch.inference_mode()
    def loss(self, widths, batch):
        self.set_widths(widths)
        total = 0.0
        for inputs, targets in zip(
            self.inputs.split(batch), self.targets.split(batch), strict=True
        ):
            logits = self.model(inputs, use_cache=False).logits
            total += functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), reduction="sum"
            ).item()
        return total / self.targets.numel()

    def seconds(self, sample, batch):
        start = time.perf_counter()
        losses = [self.loss(widths, batch) for widths in sample]
        return (time.perf_counter() - start) / len(sample), losses


class Comparison(NamedTuple):
    name: str
    sample: int
    each: float  # seconds of a submodel in the loop
    ours: dict  # a row of `mixnmatch bench`
    worst: float  # difference of a loss

    def whole(self):
        """Seconds of the whole set in the loop."""
        return self.each * self.ours["submodels"]

    def gain(self):
        return self.whole() / self.ours["shared_seconds"]

    def alone(self):
        """How many times faster one submodel alone is."""
        return self.whole() / self.ours["one_by_one_seconds"]


def text(widths):
    return ",".join(map(str, widths))


def even_sample(candidates, count):
    count = min(count, len(candidates))
    return [
        candidates[i * (len(candidates) - 1) // max(1, count - 1)] for i in range(count)
    ]


def compare(program, model, data, sets, tokens=1024, context=256, sample=24, threads=0):
    """Yields a Comparison for each set."""
    if threads:
        torch.set_num_threads(threads)
    threads = torch.get_num_threads()
    with open(f"{model}/config.json") as file:
        config = json.load(file)
    levels, layers = config["matformer_granularities"], config["num_hidden_layers"]
    candidates = {
        "uniform": [(w,) * layers for w in levels],
        "monotone": list(itertools.combinations_with_replacement(levels, layers)),
        "grid": list(itertools.product(levels, repeat=layers)),
    }
    common = [model, "--data", data, "--max-tokens", str(tokens)]
    common += ["--context", str(context), "--threads", str(threads)]

    def mixnmatch(command, *options):
        arguments = [program, command, *common, *options, "--json"]
        out = subprocess.run(arguments, check=True, stdout=subprocess.PIPE)
        return json.loads(out.stdout)

    loop = Loop(model, data, tokens, context)
    full = candidates["uniform"][-1:]
    loop.seconds(full, 1)  # warm-up
    batches = sorted({1, 2, max(1, tokens // context)})
    batch = min(batches, key=lambda size: loop.seconds(full * 5, size)[0])
    print(
        f"loop: batches of {batch} sequences are the fastest of {batches}, {threads} threads"
    )

    for name in sets:
        some = even_sample(candidates[name], sample)
        before, losses = loop.seconds(some, batch)
        scored = mixnmatch("eval", *(a for w in some for a in ("--widths", text(w))))
        worst = max(abs(a - b["loss"]) for a, b in zip(losses, scored, strict=True))
        if not worst <= TOLERANCE:
            raise SystemExit(f"{name}: losses differ by {worst:.2e}: nothing was timed")
        ours = mixnmatch("bench", "--set", name, "--sample", "16")[0]
        after, _ = loop.seconds(some, batch)
        yield Comparison(name, len(some), (before + after) / 2, ours, worst)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--sample", type=int, default=24)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--sets", default="uniform,monotone,grid")
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    args = parser.parse_args()
    for one in compare(
        args.program,
        args.model,
        args.data,
        args.sets.split(","),
        tokens=args.tokens,
        context=args.context,
        sample=args.sample,
        threads=args.threads,
    ):
        count = one.ours["submodels"]
        alone = one.ours["one_by_one_seconds"] / count
        print(
            f"{one.name}: {count} submodels, loop {one.whole():.2f} s (sample of {one.sample}), "
            f"shared {one.ours['shared_seconds']:.2f} s: {one.gain():.2f} times faster; "
            f"one alone {alone * 1e3:.1f} ms, loop {one.each * 1e3:.1f} ms: "
            f"{one.alone():.2f} times; losses agree to {one.worst:.1e}"
        )


if __name__ == "__main__":
    main()
