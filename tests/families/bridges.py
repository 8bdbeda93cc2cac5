"""What transformers must do with an exported submodel, whichever class loads it."""

import tempfile

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()


def load(directory, **options):
    return AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, **options
    ).eval()


@torch.no_grad()
def trouble_with(directory, widths, stock, native, widths_of, tokens, expected, bound):
    """What is wrong with the submodel in `directory`; None where nothing is.

    `native`: the class `stock` must load it; else a bridge must, which is remote code.
    `widths_of(model)`: its layers' widths. `expected`: logits of `tokens`, within `bound` of their
    largest.
    """
    trust = {"trust_remote_code": not native}
    submodel = load(directory, **trust)
    if native != (type(submodel) is stock):
        return f"loaded as {type(submodel).__name__}"
    if widths_of(submodel) != widths:
        return f"has widths {widths_of(submodel)}"

    logits = submodel(tokens).logits
    bound *= expected.abs().max().item()
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
        if not torch.equal(load(again, **trust)(tokens).logits, logits):
            return "computes otherwise when saved by transformers and loaded again"
    config = AutoConfig.from_pretrained(directory, **trust)
    fresh = AutoModelForCausalLM.from_config(config, **trust)
    return None if widths_of(fresh) == widths else "from_config makes other widths"
