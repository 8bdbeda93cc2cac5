"""ONNX scorers of Mamba-2 submodels in ONNX Runtime, against the recurrence in double.

usage: mamba2_onnx_check.py ROOT

Every folder of ROOT is a case: `full` (a stock Mamba2), `onnx` (the export) and case.json with
`widths` and `dtype`. Lengths below the convolution's, odd ones, and around the border of a chunk.
Prints one line per case; exits with 1 if any disagrees.
"""

import json

import numpy as np
import torch
from bridges import load
from cases import judge
from mamba2_bridge_check import reference
from onnx_sessions import session_of

ROUNDOFF = {"f32": 2**-24, "f16": 2**-11, "bf16": 2**-24}
STORED = {"f32": torch.float, "f16": torch.half, "bf16": torch.bfloat16}


@torch.no_grad()
def check(case):
    facts = json.loads((case / "case.json").read_text())
    widths, dtype = facts["widths"], facts["dtype"]
    full = load(case / "full")
    for value in full.state_dict().values():  # what the export stores
        value.copy_(value.to(STORED[dtype]))
    scorer = session_of(case / "onnx/scorer.onnx")
    config = full.config
    for shape in [(1, 1), (2, 3), (1, 63), (1, 64), (2, 65), (1, 131)]:
        count = shape[0] * shape[1]
        tokens = torch.arange(count).reshape(shape) * 7919 % config.vocab_size
        expected = reference(full, tokens, widths).numpy()
        (logits,) = scorer.run(["logits"], {"input_ids": tokens.numpy()})
        if logits.dtype != np.float32 or logits.shape != expected.shape:
            return f"gives {logits.dtype} {logits.shape}"
        # Per layer, products over hidden, the convolution, tokens and states, and the inner size,
        # each off by its length times the roundoff of its terms; bf16 is only stored.
        length = config.hidden_size + config.conv_kernel + shape[1] + config.state_size
        roundoff = ROUNDOFF[dtype]
        bound = roundoff * sum(length + 2 * width for width in widths)
        bound *= np.abs(expected).max()
        worst = np.abs(logits - expected).max()
        if not worst <= bound:
            return f"logits of {shape} differ by {worst}, more than {bound}"
    return None


if __name__ == "__main__":
    judge(check)
