"""Submodels without some layers, in other people's runtimes, against the full model without them.

usage: skipped_layers_check.py ROOT

Every folder of ROOT is a case: `full` (a stock model), an export per format, and case.json with
`widths`, 0 where a layer is skipped. Prints one line per case; exits with 1 if any disagrees.
"""

import json

import bridge_check
import gguf
import mamba2_bridge_check
import numpy as np
import torch
from bridges import load, trouble_with
from cases import judge
from onnx_sessions import session_of
from transformers import LlamaForCausalLM, Mamba2ForCausalLM

TOKENS = torch.arange(40).reshape(2, 20) * 7


def llama_logits(directory, widths, tokens):
    """Stock code, with the layers taken out and down's columns past the width set to zero."""
    model = bridge_check.silenced(directory, widths, "act(gate)*up")
    kept = [layer for layer, width in zip(model.model.layers, widths) if width]
    model.model.layers = torch.nn.ModuleList(kept)
    model.config.num_hidden_layers = len(kept)
    return model(tokens, use_cache=False).logits


def onnx_trouble(directory, layers, tokens, expected, bound):
    scorer = session_of(directory / "scorer.onnx")
    (logits,) = scorer.run(["logits"], {"input_ids": tokens.numpy()})
    worst = np.abs(logits - expected.numpy()).max()
    if not worst <= bound * expected.abs().max().item():
        return f"onnx: logits differ by {worst}"
    if (directory / "model.onnx").exists():
        decoder = session_of(directory / "model.onnx")
        caches = [i.name for i in decoder.get_inputs() if "past_key" in i.name]
        wanted = [
            f"past_key_values.{i}.{part}"
            for i in range(layers)
            for part in ("key", "value")
        ]
        if sorted(caches) != sorted(wanted):
            return f"onnx: the decoder has the caches {caches}"
        genai = json.loads((directory / "genai_config.json").read_text())
        if genai["model"]["decoder"]["num_hidden_layers"] != layers:
            return "onnx: genai_config.json counts other layers"
    return None


def gguf_trouble(directory, kept):
    reader = gguf.GGUFReader(directory / "model.gguf")
    name = reader.fields["general.architecture"].contents()
    if reader.fields[f"{name}.block_count"].contents() != len(kept):
        return "gguf: block_count counts other layers"
    blocks = {t.name.split(".")[1] for t in reader.tensors if t.name.startswith("blk.")}
    if blocks != {str(i) for i in range(len(kept))}:
        return f"gguf: its blocks are {sorted(blocks)}"
    sizes = reader.fields[f"{name}.feed_forward_length"].contents()
    if name == "deci" and sizes != kept:
        return f"gguf: its layers have the sizes {sizes}"
    return None


@torch.no_grad()
def check(case):
    widths = json.loads((case / "case.json").read_text())["widths"]
    kept = [width for width in widths if width]
    full = load(case / "full")
    tokens = TOKENS % full.config.vocab_size
    uniform = len(set(kept)) == 1
    if type(full) is LlamaForCausalLM:
        expected = llama_logits(case / "full", widths, tokens)
        bound = bridge_check.bound_of(full.config, kept)
        stock, widths_of, native = LlamaForCausalLM, bridge_check.widths_of, uniform
    else:
        expected = mamba2_bridge_check.reference(full, tokens, widths)
        config = full.config
        length = config.hidden_size + config.conv_kernel + 20 + config.state_size
        bound = 2**-24 * sum(length + 2 * width for width in kept)
        stock, widths_of = Mamba2ForCausalLM, mamba2_bridge_check.widths_of
        native = uniform and 2 * kept[0] % config.hidden_size == 0
    for layout in ("huggingface", "decilm"):
        if not (case / layout).exists():
            continue
        trouble = trouble_with(
            case / layout,
            kept,
            stock,
            native and layout == "huggingface",
            widths_of,
            tokens,
            expected,
            bound,
        )
        if trouble:
            return f"{layout}: {trouble}"
        config = json.loads((case / layout / "config.json").read_text())
        if config["num_hidden_layers"] != len(kept):
            return f"{layout}: num_hidden_layers is {config['num_hidden_layers']}"
    if (case / "onnx").exists():
        trouble = onnx_trouble(case / "onnx", len(kept), tokens, expected, bound)
        if trouble:
            return trouble
    return gguf_trouble(case / "gguf", kept) if (case / "gguf").exists() else None


if __name__ == "__main__":
    judge(check)
