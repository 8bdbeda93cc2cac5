"""Submodels as transformers loads them, against the full model with the cut neurons silenced.

usage: bridge_check.py ROOT

Every folder of ROOT is a case: `full` (a stock Llama), `submodel` (as exported) and case.json with
`widths` and `gate`. Prints one line per case; exits with 1 if any disagrees.
"""

import json
import math

import torch
from bridges import load, trouble_with
from cases import judge
from transformers import LlamaConfig, LlamaForCausalLM


def silenced(directory, widths, gate):
    """The reference: stock code, with down's columns past the width set to zero."""
    model = load(directory)
    assert type(model) is LlamaForCausalLM, type(model)
    for layer, width in zip(model.model.layers, widths):
        mlp = layer.mlp
        mlp.down_proj.weight.data[:, width:] = 0
        if gate == "act(gate*up)":
            mlp.forward = lambda x, mlp=mlp: mlp.down_proj(
                mlp.act_fn(mlp.gate_proj(x) * mlp.up_proj(x))
            )
    return model


def widths_of(model):
    return [layer.mlp.down_proj.in_features for layer in model.model.layers]


def bound_of(config, widths):
    """Equal products, summed in another order: as in export/probe.cpp, logits_tolerance."""
    heads = config.num_attention_heads * config.head_dim
    longest = max(config.hidden_size, heads, *widths)
    return 2**-24 * math.sqrt(longest) * (2 * config.num_hidden_layers + 1)


@torch.no_grad()
def check(case):
    facts = json.loads((case / "case.json").read_text())
    widths, gate = facts["widths"], facts["gate"]
    native = len(set(widths)) == 1 and gate == "act(gate)*up"
    reference = silenced(case / "full", widths, gate)
    tokens = torch.arange(40).reshape(2, 20) * 7 % reference.config.vocab_size
    return trouble_with(
        case / "submodel",
        widths,
        LlamaForCausalLM,
        native,
        widths_of,
        tokens,
        reference(tokens).logits,
        bound_of(reference.config, widths),
    )


def needs_the_bridge():
    """Whether transformers' own Llama still loads no per_layer_config. When it does, layers that
    differ need no bridge, and `export` should write that key without being asked."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "vocab_size": 50}
    layers = {"num_hidden_layers": 2, "num_attention_heads": 4}
    try:
        config = LlamaConfig(
            **sizes, **layers, per_layer_config={"0": {"intermediate_size": 8}}
        )
        return widths_of(LlamaForCausalLM(config)) != [8, 32]
    except RuntimeError as error:
        return "intermediate_size" in str(error)


if __name__ == "__main__":
    assert needs_the_bridge(), needs_the_bridge.__doc__
    judge(check)
