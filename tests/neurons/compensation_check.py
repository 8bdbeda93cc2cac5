"""Compensated checkpoints and their submodels against transformers, in double precision.

usage: compensation_check.py ROOT CONTEXT

ROOT/tokens.bin has one token per byte. Every other entry of ROOT is a case with `nested`, a
compensated checkpoint, and two submodels of it, `uniform` and `mixed`. Exits with 1 if any
disagrees.
"""

import pathlib
import sys

import torch
from cases import judge
from neurons_check import activations, down_of, layers_of, sequences
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

# Sums of f32 activations, and biases in f32, against double precision.
MEANS = 1e-5
LOGITS = 1e-5


def load(directory, auto):
    model, info = auto.from_pretrained(
        directory,
        dtype=torch.float64,
        trust_remote_code=True,
        output_loading_info=True,
    )
    strange = [key for key in ("missing_keys", "unexpected_keys") if info[key]]
    if strange:
        raise ValueError(f"{directory.name} has {strange}")
    return model.eval()


def widths_of(model):
    return [down_of(layer.mlp).in_features for layer in layers_of(model)]


def logits_with_means(nested, means, widths, inputs):
    """Of the full model, with the means in the place of what the widths leave out."""

    def replace(mean, width):
        def hook(_, args):
            rows = args[0].clone()
            rows[..., width:] = mean[width:]
            return (rows,)

        return hook

    hooks = [
        down_of(layer.mlp).register_forward_pre_hook(replace(mean, width))
        for layer, mean, width in zip(layers_of(nested), means, widths, strict=True)
    ]
    with torch.no_grad():
        logits = nested(inputs).logits
    for hook in hooks:
        hook.remove()
    return logits


def trouble_with(case, auto, inputs, read_of=lambda model: None):
    """`read_of`: how many tokens of a sequence are read after the last layer; None: all."""
    nested = load(case / "nested", auto)
    stored = load_file(case / "nested" / "compensation.safetensors")
    seen = activations(nested, inputs)
    seen[-1] = seen[-1][:, : read_of(nested)]
    means = []
    for number, a in enumerate(seen):
        (name,) = (n for n in stored if f".{number}." in n and n.endswith("input_mean"))
        means.append(stored[name].double())
        off = float((a.mean((0, 1)) - means[-1]).abs().max())
        if not off <= MEANS * float(a.abs().max()):
            return f"{name} is off by {off}"
    for name in ("uniform", "mixed"):
        submodel = load(case / name, auto)
        expected = logits_with_means(nested, means, widths_of(submodel), inputs)
        with torch.no_grad():
            off = float((submodel(inputs).logits - expected).abs().max())
        if not off <= LOGITS * float(expected.abs().max()):
            return f"a logit of {name} is off by {off}"
    return None


def main():
    root, context = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    inputs, _ = sequences(root, context)
    judge(lambda case: trouble_with(case, AutoModelForCausalLM, inputs))


if __name__ == "__main__":
    main()
