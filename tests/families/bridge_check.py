"""Submodels as transformers loads them, against the full model with the cut neurons silenced.

usage: bridge_check.py ROOT

Every folder of ROOT is a case: `full` (a stock Llama), `submodel` (as exported) and case.json with
`widths` and `gate`. Prints one line per case; exits with 1 if any disagrees.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM
from transformers.utils import logging


def load(directory, **options):
    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, **options
    ).eval()


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


@torch.no_grad()
def check(case):
    facts = json.loads((case / "case.json").read_text())
    widths, gate = facts["widths"], facts["gate"]
    native = len(set(widths)) == 1 and gate == "act(gate)*up"
    reference = silenced(case / "full", widths, gate)
    submodel = load(case / "submodel", trust_remote_code=not native)
    if native != (type(submodel) is LlamaForCausalLM):
        return f"loaded as {type(submodel).__name__}"
    found = [layer.mlp.up_proj.out_features for layer in submodel.model.layers]
    if found != widths:
        return f"has widths {found}"

    tokens = torch.arange(40).reshape(2, 20) * 7 % submodel.config.vocab_size
    logits, expected = submodel(tokens).logits, reference(tokens).logits
    # Equal products, summed in another order: f32 rounding, grown through three small layers.
    bound = 1e-5 * expected.abs().max().item()
    worst = (logits - expected).abs().max().item()
    if not worst <= bound:
        return f"logits differ by {worst}, more than {bound}"

    prompt = tokens[:1, :5]
    options = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    cached = submodel.generate(prompt, use_cache=True, **options)
    plain = submodel.generate(prompt, use_cache=False, **options)
    if cached.tolist() != plain.tolist():
        return "generates otherwise with a cache than without"

    with tempfile.TemporaryDirectory() as again:
        submodel.save_pretrained(again)
        reloaded = load(again, trust_remote_code=not native)
        if not torch.equal(reloaded(tokens).logits, logits):
            return "computes otherwise when saved by transformers and loaded again"
    config = AutoConfig.from_pretrained(case / "submodel", trust_remote_code=not native)
    fresh = AutoModelForCausalLM.from_config(config, trust_remote_code=not native)
    if [layer.mlp.up_proj.out_features for layer in fresh.model.layers] != widths:
        return "from_config makes other widths"
    return None


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    failed = 0
    for case in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        trouble = check(case)
        print(f"{case.name}: {trouble or 'agrees'}", flush=True)
        failed += trouble is not None
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
