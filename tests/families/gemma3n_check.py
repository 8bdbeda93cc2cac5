"""Tiny Gemma 3ns, and their submodels, in transformers.

usage: gemma3n_check.py ROOT

Every folder of ROOT is a case: `full` (a checkpoint), and numbered folders, each a sliced submodel
with `logits.json` (our own, in f64, of TOKENS) and case.json: its widths, 0 where a layer is
skipped, and how far our f32 is from our f64. transformers takes norms in f32 whatever the dtype, so
that its logits have noise of the same origin, for which MARGIN is allowed. ONNX Runtime computes
the graph as it is written: its rewriting moves one badly conditioned token of `wide_window` by
2e-5 instead of 2e-6, and is not judged here. `sample.json` holds the logits of the function that
llama.cpp computes: it clips gates by their deviation as of a sample. `bf16.json` holds our logits in
bf16, of the whole sequence and token by token. Their error, against the logits in f64 of the weights
that bf16 rounded, may be TIMES that of transformers in bf16. On a processor without instructions for
bf16 we compute in f32, and are held to the error of f32. Exits with 1 if any disagrees.
"""

import copy
import json
import logging

import numpy as np
import torch
from cases import judge
from gemma3n_sample import clipped_as_a_sample
from onnx_sessions import AS_WRITTEN, session_of
from transformers import Gemma3nForCausalLM

MARGIN = 16
FLOOR = 2e-5  # relative: where our two types happen to agree
TIMES = 2  # two roundings of one computation, in another order


def tokens_of(config):
    return ((torch.arange(24) * 7 + 45) % config.vocab_size).reshape(1, 24)


def load(folder, dtype=torch.float64):
    model, info = Gemma3nForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        attn_implementation="sdpa",
        output_loading_info=True,
    )
    wrong = {key: value for key, value in info.items() if value}
    assert not wrong, wrong
    return model.eval()


class Skipped(torch.nn.Module):
    def forward(self, hidden_states, *_, **__):
        return hidden_states


def cut_in_place(full, widths):
    """A copy of the full model with its FFNs cut, and with layers that hand on what they get."""
    model = copy.deepcopy(full)
    for i, width in enumerate(widths):
        if not width:
            model.model.layers[i] = Skipped()
            continue
        mlp = model.model.layers[i].mlp
        mlp.gate_proj.weight.data = mlp.gate_proj.weight.data[:width]
        mlp.up_proj.weight.data = mlp.up_proj.weight.data[:width]
        mlp.down_proj.weight.data = mlp.down_proj.weight.data[:, :width]
    return model


def by_tokens(model, tokens):
    past, rows = None, []
    for at in range(tokens.shape[1]):
        out = model(tokens[:, at : at + 1], past_key_values=past, use_cache=True)
        past = out.past_key_values
        rows.append(out.logits)
    return torch.cat(rows, 1)


def onnx_logits(folder, tokens):
    """Of the whole sequence, and token by token through the decoder with its cache."""
    scorer = session_of(folder / "scorer.onnx", AS_WRITTEN)
    yield "onnx", scorer.run(["logits"], {"input_ids": tokens.numpy()})[0]
    decoder = session_of(folder / "model.onnx", AS_WRITTEN)
    outputs = [output.name for output in decoder.get_outputs()]
    past = {
        i.name: np.zeros([1, i.shape[1], 0, i.shape[3]], np.float32)
        for i in decoder.get_inputs()
        if i.name.startswith("past_key_values")
    }
    genai = json.loads((folder / "genai_config.json").read_text())
    layers = genai["model"]["decoder"]["num_hidden_layers"]
    assert len(past) == 2 * layers, "genai_config.json counts other caches"
    rows = []
    for at in range(tokens.shape[1]):
        given = {
            "input_ids": tokens[:, at : at + 1].numpy(),
            "attention_mask": np.ones([1, at + 1], np.int64),
            "position_ids": np.array([[at]]),
        }
        made = dict(zip(outputs, decoder.run(outputs, past | given)))
        rows.append(made["logits"])
        past = {name: made[name.replace("past_key_values", "present")] for name in past}
    yield "onnx, token by token", np.concatenate(rows, axis=1)


def bf16_trouble(folder, tokens, noise):
    exact = load(folder)
    for weight in exact.parameters():
        weight.data = weight.data.bfloat16().double()
    truth = exact(tokens, use_cache=False).logits
    narrow = load(folder, torch.bfloat16)
    theirs = {
        "scoring": narrow(tokens, use_cache=False).logits,
        "decoding": by_tokens(narrow, tokens),
    }
    ours = json.loads((folder / "bf16.json").read_text())
    in_f32 = ours.pop("in_f32")
    assert ours.keys() == theirs.keys()

    def error(logits):  # root mean square, relative
        return (logits - truth).norm() / truth.norm()

    found = {
        way: (
            error(torch.tensor(ours[way]).double().view_as(truth)),
            error(theirs[way].double()),
        )
        for way in theirs
    }
    print(
        f"{folder.parent.name}, bf16:",
        *(
            f"{way} {own:.1e} (transformers {their:.1e})"
            for way, (own, their) in found.items()
        ),
    )
    for way, (own, their) in found.items():
        bound = min(TIMES * their, noise) if in_f32 else TIMES * their
        if not own <= bound:
            return f"{folder.name}, {way} in bf16: an error of {own}, more than {bound}; that of transformers is {their}"
    return None


@torch.no_grad()
def check(case):
    full = load(case / "full")
    for folder in sorted(case.iterdir()):
        if folder.name == "full":
            continue
        facts = json.loads((folder / "case.json").read_text())
        sliced = load(folder)
        tokens = tokens_of(sliced.config)
        ours = np.array(json.loads((folder / "logits.json").read_text()))
        judges = {
            "cut in place": cut_in_place(full, facts["widths"])(tokens).logits,
            "sliced": sliced(tokens, use_cache=False).logits,
        }
        if (folder / "onnx").exists():  # of two submodels: these take time
            judges["token by token"] = by_tokens(sliced, tokens)
            judges |= {
                name: torch.from_numpy(logits)
                for name, logits in onnx_logits(folder / "onnx", tokens)
            }
        bound = max(MARGIN * facts["noise"], FLOOR)
        answers = {name: (logits, ours) for name, logits in judges.items()}
        if (folder / "sample.json").exists():
            sample = np.array(json.loads((folder / "sample.json").read_text()))
            with clipped_as_a_sample():
                answers["as of a sample"] = (
                    sliced(tokens, use_cache=False).logits,
                    sample,
                )
            clips = any(sliced.config.activation_sparsity_pattern)
            assert clips == bool(np.any(sample != ours)), "which deviation is taken"
        for name, (logits, found) in answers.items():
            expected = logits.double().numpy().ravel()
            worst = np.abs(found - expected).max() / np.abs(expected).max()
            if not worst <= bound:
                return f"{folder.name} {facts['widths']}, {name}: logits differ by {worst}, more than {bound}"
        if not torch.equal(judges["cut in place"], judges["sliced"]):
            return f"{folder.name}: sliced and cut in place differ"
        if (folder / "bf16.json").exists():
            trouble = bf16_trouble(folder, tokens, bound)
            if trouble:
                return trouble
    return None


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    judge(check)
