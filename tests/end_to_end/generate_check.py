"""What `mixnmatch generate` says, against transformers' greedy generation of the exported submodel.

usage: generate_check.py CASES: a JSON list of {"directory", "answer"}, the answer as `generate
--json` prints it. Token for token; where two tokens are as likely as rounding can tell apart, either
is right, and the rest follows from the one that was taken.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging


@torch.no_grad()
def check(directory, answer):
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, trust_remote_code=True
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    prompt, tokens = answer["prompt_tokens"], answer["tokens"]
    assert tokenizer.decode(tokens, skip_special_tokens=True) == answer["text"]
    theirs = model.generate(
        torch.tensor([prompt]),
        max_new_tokens=len(tokens),
        do_sample=False,
        pad_token_id=0,
    )[0, len(prompt) :].tolist()
    logits = model(torch.tensor([prompt + tokens[:-1]])).logits[0, len(prompt) - 1 :]
    # Both logits may be off by the probe's tolerance, which grows with their scale.
    with safe_open(Path(directory) / "probe.safetensors", "pt") as probe:
        scale = (logits.abs().max() / probe.get_tensor("logits").abs().max()).item()
        tolerance = 2 * float(probe.metadata()["tolerance"]) * max(1, scale)
    gaps = logits.max(1).values - logits[torch.arange(len(tokens)), tokens]
    assert gaps.max() <= tolerance, (gaps.max(), tolerance)
    assert theirs == tokens or gaps.max() > 0, (theirs, tokens)
    return f"{len(tokens)} tokens, {int((gaps > 0).sum())} of them tied"


def main():
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for case in json.loads(Path(sys.argv[1]).read_text()):
        print(case["directory"], check(**case))


if __name__ == "__main__":
    main()
