"""The loss and the gradient of a step of healing against transformers.

usage: healing_check.py ROOT

ROOT has one.bin (one sequence and its last target, a token per byte), the checkpoints first/model
and teacher/model, and cases.json. Exits with 1 if any case disagrees.
"""

import json
import pathlib
import sys

import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import AutoModelForCausalLM

TOLERANCE = 2e-5  # relative: sums in f32, in two orders


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()


def step(root, case, tokens):
    """Loss and norm of the gradient of the submodel, as the definition has them."""
    model = load(root / "first" / "model")
    with torch.no_grad():
        words = load(root / case["teacher"] / "model")(tokens[None, :-1]).logits[0]
    for layer, width in zip(model.model.layers, case["widths"]):
        mask = torch.zeros(layer.mlp.down_proj.weight.shape[1])
        mask[:width] = 1
        layer.mlp.down_proj.register_forward_pre_hook(
            lambda _, args, mask=mask: (args[0] * mask,)
        )
    logits = model(tokens[None, :-1]).logits[0]
    loss = cross_entropy(logits, tokens[1:])
    t = case["temperature"]
    distance = kl_div(
        log_softmax(logits / t, 1),
        log_softmax(words / t, 1),
        reduction="sum",
        log_target=True,
    )
    distance = distance * t * t / len(logits)
    ((1 - case["distil"]) * loss + case["distil"] * distance).backward()
    squares = [float(p.grad.square().sum()) for p in model.parameters()]
    return float(loss), sum(squares) ** 0.5


def main():
    root = pathlib.Path(sys.argv[1])
    tokens = torch.tensor(list((root / "one.bin").read_bytes()))
    failed = False
    for case in json.loads((root / "cases.json").read_text()):
        loss, norm = step(root, case, tokens)
        off = max(
            abs(case["loss"] - loss) / loss, abs(case["gradient_norm"] - norm) / norm
        )
        print(case, loss, norm, off, flush=True)
        failed |= not off <= TOLERANCE
    sys.exit(failed)


if __name__ == "__main__":
    main()
