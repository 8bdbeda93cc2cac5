"""Mamba-2 submodels as transformers loads them, against the full model's own weights, cut here.

usage: mamba2_bridge_check.py ROOT

Every folder of ROOT is a case: `full` (a stock Mamba2), `submodel` (as exported) and case.json with
`widths` and `native`. The reference runs the full model's weights at those widths, one token after
the other, in double. Prints one line per case; exits with 1 if any disagrees.
"""

import json

import torch
from bridges import load, trouble_with
from cases import judge
from torch.nn import functional
from transformers import Mamba2ForCausalLM


def normalised(x, weight, eps, groups=1):
    parts = x.unflatten(-1, (groups, -1))
    parts = parts / (parts.square().mean(-1, keepdim=True) + eps).sqrt()
    return parts.flatten(-2) * weight


def mixed(x, weights, width, config):
    """One block's mixer at `width`: the recurrence as it is written down, [tokens, hidden]."""
    size, groups, states = config.head_dim, config.n_groups, config.state_size
    full, kept, heads = weights["norm.weight"].numel(), 2 * width, 2 * width // size
    shared = 2 * groups * states
    rows = torch.cat(
        [
            torch.arange(kept),
            full + torch.arange(kept),
            2 * full + torch.arange(shared),
            2 * full + shared + torch.arange(heads),
        ]
    )
    zero = torch.zeros(1, dtype=x.dtype)
    projected = x @ weights["in_proj.weight"][rows].T
    if "in_proj.bias" in weights:
        projected = projected + weights["in_proj.bias"][rows]
    z, inputs, dt = projected.split([kept, kept + shared, heads], -1)
    channels = torch.cat([torch.arange(kept), full + torch.arange(shared)])
    kernel = weights["conv1d.weight"][channels, 0]
    past = torch.cat([zero.expand(kernel.shape[1] - 1, inputs.shape[1]), inputs])
    inputs = sum(
        past[k : k + len(x)] * kernel[:, k] for k in range(kernel.shape[1])
    ) + (weights["conv1d.bias"][channels] if "conv1d.bias" in weights else zero)
    inputs = functional.silu(inputs)
    values, b, c = inputs.split([kept, shared // 2, shared // 2], -1)
    dt = functional.softplus(dt + weights["dt_bias"][:heads])
    dt = dt.clamp(*config.time_step_limit)
    decay = torch.exp(-torch.exp(weights["A_log"][:heads]) * dt)
    state = torch.zeros(heads, size, states, dtype=x.dtype)
    group = torch.arange(heads) // (heads // groups)
    out = []
    for t in range(len(x)):
        v = values[t].reshape(heads, size)
        b_t, c_t = b[t].reshape(groups, -1)[group], c[t].reshape(groups, -1)[group]
        state = state * decay[t][:, None, None]
        state = state + (dt[t][:, None] * v)[:, :, None] * b_t[:, None, :]
        y = (state * c_t[:, None, :]).sum(-1) + weights["D"][:heads, None] * v
        out.append(y.flatten())
    gated = torch.stack(out) * functional.silu(z)
    gated = normalised(
        gated, weights["norm.weight"][:kept], config.layer_norm_epsilon, groups
    )
    result = gated @ weights["out_proj.weight"][:, :kept].T
    return result + weights.get("out_proj.bias", zero)


def reference(model, tokens, widths):
    config = model.config
    weights = {name: value.double() for name, value in model.state_dict().items()}
    logits = []
    for sequence in tokens:
        x = weights["backbone.embeddings.weight"][sequence]
        for i, width in enumerate(widths):
            if not width:  # the layer is left out
                continue
            prefix = f"backbone.layers.{i}."
            layer = {
                name.removeprefix(prefix): value
                for name, value in weights.items()
                if name.startswith(prefix)
            }
            mixer = {
                name.removeprefix("mixer."): value
                for name, value in layer.items()
                if name.startswith("mixer.")
            }
            x = x + mixed(
                normalised(x, layer["norm.weight"], config.layer_norm_epsilon),
                mixer,
                width,
                config,
            )
        x = normalised(x, weights["backbone.norm_f.weight"], config.layer_norm_epsilon)
        logits.append(x @ weights["lm_head.weight"].T)
    return torch.stack(logits)


def widths_of(model):
    return [block.mixer.norm.weight.numel() // 2 for block in model.backbone.layers]


def check(case):
    facts = json.loads((case / "case.json").read_text())
    widths = facts["widths"]
    full = load(case / "full")
    tokens = torch.arange(42).reshape(2, 21) * 7 % full.config.vocab_size

    # f32 against double: per layer, products over hidden, the convolution, tokens and states, and
    # the inner size, each off by its length times 2^-24 of its terms.
    config = full.config
    length = config.hidden_size + config.conv_kernel + 21 + config.state_size
    bound = 2**-24 * sum(length + 2 * width for width in widths)
    return trouble_with(
        case / "submodel",
        widths,
        Mamba2ForCausalLM,
        facts["native"],
        widths_of,
        tokens,
        reference(full, tokens, widths),
        bound,
    )


if __name__ == "__main__":
    judge(check)
