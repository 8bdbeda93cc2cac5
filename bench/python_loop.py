"""mixnmatch against the loop that a careful Python user would write, in one run.

The loop keeps one transformers model in memory, swaps each layer's MLP weights for views of their
first rows and columns, and takes the mean loss over the same tokens or images: same threads, f32,
PyTorch's fused attention, inference mode, the best of several batch sizes. It is timed on an even
sample of the set; both sides must give the same losses before anything is timed. The loop runs before
and after mixnmatch, so that a drift of the machine's speed meets both; that is a pair, and ratios are
medians of pairs.

    scripts/setup test && scripts/build
    .venv/bin/python bench/python_loop.py data/reference data/reference/search.bin
    .venv/bin/python bench/python_loop.py data/vit data/vit/search --tokens 1088
    .venv/bin/python bench/vit_b16.py    # of ViT-B/16's shape
"""

import argparse
import functools
import itertools
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoModelForImageClassification

TOLERANCE = 2e-5  # nats: f32 sums of 8 layers in another order; a wrong slice moves a loss by 1e-2


class Loop:
    """A model, as a function from inputs to logits; for each layer the parameters that a width
    cuts, with the axis; and the examples."""

    def __init__(self, model, cut, inputs, targets):
        self.model = model
        self.cut = [
            [(parameter, parameter.data, axis) for parameter, axis in layer]
            for layer in cut
        ]
        self.inputs, self.targets = inputs, targets

    def set_widths(self, widths):
        for layer, width in zip(self.cut, widths, strict=True):
            for parameter, whole, axis in layer:
                parameter.data = whole.narrow(axis, 0, width)

    @torch.inference_mode()
    def loss(self, widths, batch):
        self.set_widths(widths)
        total = 0.0
        for inputs, targets in zip(
            self.inputs.split(batch), self.targets.split(batch), strict=True
        ):
            logits = self.model(inputs).logits
            total += functional.cross_entropy(
                logits.flatten(0, -2), targets.flatten(), reduction="sum"
            ).item()
        return total / self.targets.numel()

    def seconds(self, sample, batch):
        """Of one submodel, on average, with the losses of all."""
        start = time.perf_counter()
        losses = [self.loss(widths, batch) for widths in sample]
        return (time.perf_counter() - start) / len(sample), losses

    def best_batch(self, widths):
        sizes = [1 << i for i in range(7) if 1 << i <= len(self.inputs)]
        sizes = sorted({*sizes, len(self.inputs)})

        def least(size):
            return min(self.seconds([widths], size)[0] for _ in range(3))

        self.loss(widths, 1)  # warm-up
        return min(sizes, key=least), sizes


def language_loop(directory, data, count, context):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    cut = [
        [(mlp.gate_proj.weight, 0), (mlp.up_proj.weight, 0), (mlp.down_proj.weight, 1)]
        for mlp in (layer.mlp for layer in model.model.layers)
    ]
    raw = np.fromfile(data, dtype=np.uint8)[: count * context + 1].astype(np.int64)
    inputs, targets = (
        torch.from_numpy(part).view(count, context) for part in (raw[:-1], raw[1:])
    )
    return Loop(functools.partial(model, use_cache=False), cut, inputs, targets)


def image_loop(directory, data, count):
    model = AutoModelForImageClassification.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    cut = [
        [(mlp.fc1.weight, 0), (mlp.fc1.bias, 0), (mlp.fc2.weight, 1)]
        for mlp in (layer.mlp for layer in model.vit.layers)
    ]
    rules = json.loads(Path(directory, "preprocessor_config.json").read_text())
    pixels = np.load(Path(data, "images.npy"), mmap_mode="r")[:count]
    pixels = pixels.reshape(*pixels.shape[:3], -1).astype(np.float32)
    pixels = pixels * rules["rescale_factor"] - np.float32(rules["image_mean"])
    pixels = np.moveaxis(pixels / np.float32(rules["image_std"]), 3, 1)
    labels = np.load(Path(data, "labels.npy"))[:count].astype(np.int64)
    inputs = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))
    return Loop(model, cut, inputs, torch.from_numpy(labels))


class Comparison(NamedTuple):
    name: str
    sample: int
    pairs: list  # (seconds of a submodel in the loop, a row of `mixnmatch bench`)
    worst: float  # difference of a loss

    @property
    def ours(self):
        return self.pairs[0][1]

    def ratios(self, what):
        """Seconds of the whole set in the loop, over such a figure of ours, of each pair."""
        return [each * ours["submodels"] / ours[what] for each, ours in self.pairs]

    def gain(self):
        return statistics.median(self.ratios("shared_seconds"))

    def alone(self):
        """How many times faster one submodel alone is."""
        return statistics.median(self.ratios("one_by_one_seconds"))

    def lines(self):
        """The figures, to be read."""
        first, ours = self.pairs[0]
        pairs = f"median of {len(self.pairs)} pairs"
        yield (
            f"{self.name}: {ours['submodels']} submodels, the loop timed on {self.sample}; "
            f"losses agree to {self.worst:.1e}"
        )
        for title, value, what in (
            ("shared", self.gain(), "shared_seconds"),
            ("one alone", self.alone(), "one_by_one_seconds"),
        ):
            one = ours[what] / ours["submodels"]
            yield (
                f"  {title}: {value:.2f} times as fast ({pairs}, {min(self.ratios(what)):.2f} to "
                f"{max(self.ratios(what)):.2f}); in the first {one * 1e3:.1f} ms a submodel, "
                f"loop {first * 1e3:.1f} ms"
            )
        shares = [row["of_peak"] for _, row in self.pairs]
        yield (
            f"  FLOP/s of a square product's: {statistics.median(shares):.3f} ({pairs}, "
            f"{min(shares):.3f} to {max(shares):.3f})"
        )


def text(widths):
    return ",".join(map(str, widths))


def even_sample(candidates, count):
    count = min(count, len(candidates))
    return [
        candidates[i * (len(candidates) - 1) // max(1, count - 1)] for i in range(count)
    ]


def sets_of(config):
    levels, layers = config["matformer_granularities"], config["num_hidden_layers"]
    return {
        "uniform": lambda: [(w,) * layers for w in levels],
        "monotone": lambda: list(
            itertools.combinations_with_replacement(levels, layers)
        ),
        "grid": lambda: list(itertools.product(levels, repeat=layers)),
    }


def compare(
    program,
    model,
    data,
    sets,
    tokens=1024,
    context=256,
    sample=24,
    threads=0,
    pairs=1,
):
    """Yields a Comparison for each set. An image counts as one token for each of its positions."""
    if threads:
        torch.set_num_threads(threads)
    threads = torch.get_num_threads()
    config = json.loads(Path(model, "config.json").read_text())
    candidates = sets_of(config)
    common = [model, "--data", data, "--threads", threads]
    if "image_size" in config:
        context = (config["image_size"] // config["patch_size"]) ** 2 + 1
        loop = image_loop(model, data, tokens // context)
    else:
        common += ["--context", context]
        loop = language_loop(model, data, tokens // context, context)
    common += ["--max-tokens", tokens // context * context]

    def mixnmatch(command, *options):
        arguments = [program, command, *common, *options, "--json"]
        out = subprocess.run(
            list(map(str, arguments)), check=True, stdout=subprocess.PIPE
        )
        return json.loads(out.stdout)

    batch, batches = loop.best_batch(candidates["uniform"]()[-1])
    print(
        f"loop: batches of {batch} are the fastest of {batches}, {threads} threads",
        flush=True,
    )

    for name in sets:
        some = even_sample(candidates[name](), sample)
        before, losses = loop.seconds(some, batch)
        scored = mixnmatch("eval", *(a for w in some for a in ("--widths", text(w))))
        worst = max(abs(a - b["loss"]) for a, b in zip(losses, scored, strict=True))
        if not worst <= TOLERANCE:
            raise SystemExit(f"{name}: losses differ by {worst:.2e}: nothing was timed")
        taken = []
        for _ in range(pairs):
            ours = mixnmatch("bench", "--set", name, "--sample", min(16, sample))[0]
            after, _ = loop.seconds(some, batch)
            taken.append(((before + after) / 2, ours))
            before = after
        yield Comparison(name, len(some), taken, worst)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--sample", type=int, default=24)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=3)
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
        pairs=args.pairs,
    ):
        print("\n".join(one.lines()), flush=True)


if __name__ == "__main__":
    main()
