"""Scores of importance and nested checkpoints against transformers, in double precision.

usage: neurons_check.py ROOT CONTEXT

ROOT/tokens.bin has one token per byte. Every other entry of ROOT is a case with `ordinary` and
`nested`, both checkpoints, and scores.json: score -> layers -> neurons. Exits with 1 if any
disagrees.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from cases import judge
from transformers import AutoModelForCausalLM

# Sums of f32 products and activations against double precision, relative to the largest score.
TOLERANCE = 2e-5
# Of logits. transformers rounds what a norm gives to f32, whatever the type of the model.
LOGITS = 2e-6


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64).eval()


def sequences(root, context):
    tokens = np.frombuffer((root / "tokens.bin").read_bytes(), np.uint8).astype(
        np.int64
    )
    count = (len(tokens) - 1) // context
    starts = range(0, count * context, context)
    inputs = torch.tensor(np.stack([tokens[s : s + context] for s in starts]))
    targets = torch.tensor(np.stack([tokens[s + 1 : s + context + 1] for s in starts]))
    return inputs, targets


def layers_of(model):
    base = model.base_model
    return base.layers if hasattr(base, "layers") else base.encoder.layer


def parts_of(mlp):
    """The modules of gate and up, and which half of its rows each has."""
    if hasattr(mlp, "fc1"):
        return [(mlp.fc1, None)]
    if hasattr(mlp, "gate_up_proj"):
        return [(mlp.gate_up_proj, half) for half in (0, 1)]
    return [(mlp.gate_proj, None), (mlp.up_proj, None)]


def down_of(mlp):
    return mlp.fc2 if hasattr(mlp, "fc2") else mlp.down_proj


def half_of(tensor, half):
    return tensor if half is None else tensor.chunk(2)[half]


def activations(model, inputs):
    """What each layer's down matrix reads: [sequences, tokens, neurons]."""
    seen = []
    hooks = [
        down_of(layer.mlp).register_forward_pre_hook(
            lambda _, args: seen.append(args[0])
        )
        for layer in layers_of(model)
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    return seen


def magnitude(mlp):
    rows = [half_of(module.weight, half) for module, half in parts_of(mlp)]
    return sum(w.amax(1) + w.amin(1).abs() for w in rows)


def taylor(model, inputs, targets):
    model.zero_grad()
    logits = model(inputs).logits
    torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), targets.flatten()
    ).backward()
    scores = []
    for layer in layers_of(model):
        down = down_of(layer.mlp).weight
        score = (down.grad * down).abs().sum(0)
        for module, half in parts_of(layer.mlp):
            score = score + half_of(
                (module.weight.grad * module.weight).abs(), half
            ).sum(1)
            if module.bias is not None:
                score = score + half_of((module.bias.grad * module.bias).abs(), half)
        scores.append(score.detach())
    return scores


def greedy_trouble(places, a, weight):
    """Whether removing in this order leaves out, at each step, what costs least."""
    rows = a.flatten(0, 1)
    order = np.argsort(places)
    change = torch.zeros(rows.shape[0], weight.shape[0], dtype=torch.float64)
    left = set(range(len(order)))
    scale = float((rows @ weight.T).square().sum())
    for step, chosen in enumerate(order):
        costs = {
            c: float((change + rows[:, c, None] * weight[:, c]).square().sum())
            for c in left
        }
        least = min(costs.values())
        if costs[chosen] - least > TOLERANCE * scale:
            return f"step {step} removes {chosen} at {costs[chosen]}, {least} was to be had"
        change += rows[:, chosen, None] * weight[:, chosen]
        left.remove(chosen)
    return ""


def expected_scores(model, inputs, targets, seen, down):
    with torch.no_grad():
        scores = {
            "magnitude": [magnitude(layer.mlp) for layer in layers_of(model)],
            "l2": [a.abs().mean(1).square().sum(0).sqrt() for a in seen],
            "channel": [
                w.norm(dim=0) * a.abs().mean((0, 1)) for a, w in zip(seen, down)
            ],
            "wanda": [
                w.abs().mean(0) * a.flatten(0, 1).norm(dim=0)
                for a, w in zip(seen, down)
            ],
        }
    scores["taylor"] = taylor(model, inputs, targets)
    return scores


def trouble_with(case, model, nested, inputs, targets, read=None):
    """`read`: how many tokens of a sequence are read after the last layer; None: all."""
    scores = json.loads((case / "scores.json").read_text())
    seen = activations(model, inputs)
    seen[-1] = seen[-1][:, :read]
    down = [down_of(layer.mlp).weight.detach() for layer in layers_of(model)]
    for name, layers in expected_scores(model, inputs, targets, seen, down).items():
        for number, layer in enumerate(layers):
            found = np.array(scores[name][number])
            off = np.abs(found - layer.detach().numpy()).max()
            if not off <= TOLERANCE * np.abs(found).max():
                return f"{name} of layer {number}: {off} off, of {np.abs(found).max()}"
    for number, (a, w) in enumerate(zip(seen, down)):
        if trouble := greedy_trouble(scores["iterative"][number], a, w):
            return f"iterative, layer {number}: {trouble}"
    return trouble_with_nested(model, nested, inputs)


def trouble_with_nested(model, nested, inputs):
    stated = nested.config.matformer_granularities
    full = down_of(layers_of(nested)[0].mlp).in_features
    if stated != [full // 4, full // 2, full * 3 // 4, full]:
        return f"the config names {stated}"
    pairs = list(zip(model.parameters(), nested.parameters(), strict=True))
    if all(torch.equal(a, b) for a, b in pairs):
        return "the neurons lie as they did"
    with torch.no_grad():
        before, after = model(inputs).logits, nested(inputs).logits
    off = float((before - after).abs().max())
    if not off <= LOGITS * float(before.abs().max()):
        return f"a logit of the nested checkpoint is off by {off}"
    return None


def main():
    root, context = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    inputs, targets = sequences(root, context)
    judge(
        lambda case: trouble_with(
            case, load(case / "ordinary"), load(case / "nested"), inputs, targets
        )
    )


if __name__ == "__main__":
    main()
