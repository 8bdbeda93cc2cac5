"""GGUF exports of the bundled model, and of every variant that GGUF holds, as llama.cpp computes them.

For each format and for uniform and mixed widths, with a cache in f32:
  logits   the probe's, within its tolerance (scripts/verify)
  loss     mean over all sequences of the confirm tokens, against `mixnmatch eval` of the weights
           that the file holds, which the gguf package decodes
  text     f32: what is generated greedily, token for token that of transformers

What the loss may differ by. A token's loss is logsumexp(z) - z_target, so an error e of the logits
changes it by g.e + (variance of e under the model's own probabilities) / 2 + ..., g being the
probabilities minus the target's one: sum |g| <= 2, |g| <= sqrt(2).
  - f32 sums in another order move a logit by at most t, the probe's tolerance: at most 2 t.
  - Rounded operands (f16, bf16, q8_0) move it by errors that are drawn anew with every token, of
    standard deviation s at most. Their first-order part averages out over the N tokens: at most five
    standard errors, 5 sqrt(2) s / sqrt(N). Their second-order part does not: s^2 / 2.
The probe holds t + 2 * (largest of its logits' errors) as operand_tolerance, and the largest of so
many draws is three standard deviations or more: s <= (operand_tolerance - t) / 6.

Usage: scripts/llama-cpp [--json FILE]
"""

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
MIXNMATCH = ROOT / "build/release/bin/mixnmatch"
MODEL = ROOT / "data/reference"
CONFIRM = MODEL / "confirm.bin"
CONTEXT = 256
FORMATS = ["f32", "f16", "bf16", "q8_0"]
WIDTHS = ["256x8", "64x2,128x2,256x2,512x2"]
PROMPT, GENERATED = 24, 200

spec = importlib.util.spec_from_file_location("verify", ROOT / "scripts/verify.py")
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)


def mixnmatch(*arguments):
    done = subprocess.run(
        [MIXNMATCH, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"mixnmatch {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def export(source, widths, kind, dtype, out):
    mixnmatch(
        "export",
        source,
        "--widths",
        widths,
        "--format",
        kind,
        "--dtype",
        dtype,
        "--out",
        out,
    )
    return out


def stored_weights(gguf_directory, full, out):
    """A checkpoint of what the GGUF file holds, in f32: names, order and blocks undone by the gguf
    package and this function. `full` is a f32 Hugging Face export of the same widths."""
    config = json.loads((full / "config.json").read_text())
    reader = gguf.GGUFReader(gguf_directory / "model.gguf")
    architecture = reader.fields["general.architecture"].contents()
    kinds = {"llama": gguf.MODEL_ARCH.LLAMA, "deci": gguf.MODEL_ARCH.DECI}
    names = gguf.get_tensor_name_map(kinds[architecture], config["num_hidden_layers"])
    held = {tensor.name: tensor for tensor in reader.tensors}
    heads = {
        ".q_proj.": config["num_attention_heads"],
        ".k_proj.": config["num_key_value_heads"],
    }
    weights = {}
    for name, like in load_file(full / "model.safetensors").items():
        tensor = held[names.get_name(name, try_suffixes=(".weight", ".bias"))]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(
            np.float32
        )
        values = values.reshape(like.shape)
        for part, count in heads.items():
            if part in name:  # neighbours become halves of their head
                pairs = values.reshape(count, -1, 2, *like.shape[1:])
                values = pairs.swapaxes(1, 2).reshape(like.shape)
        weights[name] = np.ascontiguousarray(values)
    out.mkdir()
    for file in full.iterdir():
        if file.suffix in (".json", ".py"):
            (out / file.name).write_bytes(file.read_bytes())
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def own_loss(directory, widths):
    rows = json.loads(
        mixnmatch("eval", directory, "--widths", widths, "--data", CONFIRM, "--json")
    )
    rows = rows["results"] if isinstance(rows, dict) else rows
    return rows[0]["loss"]


def llama(directory, context):
    return llama_cpp.Llama(
        str(directory / "model.gguf"),
        n_ctx=context,
        n_batch=context,
        n_gpu_layers=0,
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        verbose=False,
    )


def their_loss(directory):
    tokens = np.fromfile(CONFIRM, np.uint8).astype(np.int64)
    count = (len(tokens) - 1) // CONTEXT
    model, total = llama(directory, CONTEXT), 0.0
    for i in range(count):
        part = tokens[i * CONTEXT : i * CONTEXT + CONTEXT + 1]
        model.reset()
        model.eval(part[:-1].tolist())
        logits = np.array(model.scores[:CONTEXT], np.float64)
        most = logits.max(axis=1)
        total += (np.log(np.exp(logits - most[:, None]).sum(axis=1)) + most).sum()
        total -= logits[np.arange(CONTEXT), part[1:]].sum()
    return total / (count * CONTEXT), count * CONTEXT


def generates_the_same(directory, full):
    """Greedily, from four places of the confirm tokens."""
    ours = AutoModelForCausalLM.from_pretrained(
        full, dtype=torch.float32, trust_remote_code=True
    ).eval()
    text = CONFIRM.read_bytes()
    theirs = llama(directory, PROMPT + GENERATED)
    for start in (0, 1000, 5000, 9000):
        prompt = list(text[start : start + PROMPT])
        read = theirs.tokenize(bytes(prompt), add_bos=False, special=False)
        if read != prompt:
            return f"reads {bytes(prompt)!r} as {read}"
        expected = ours.generate(
            torch.tensor([prompt]),
            max_new_tokens=GENERATED,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )[0, PROMPT:].tolist()
        theirs.reset()
        theirs.eval(prompt)
        found = []
        while len(found) < len(expected):
            found.append(int(np.argmax(theirs.scores[theirs.n_tokens - 1])))
            if len(found) < len(expected):
                theirs.eval(found[-1:])
        if found != expected:
            at = next(i for i, (a, b) in enumerate(zip(found, expected)) if a != b)
            return f"generates otherwise from token {at} after {start}"
    return None


def bound(directory, tokens):
    probe = verify.Probe(directory)
    spread = (probe.operand_tolerance - probe.tolerance) / 6
    return (
        2 * probe.tolerance
        + 5 * math.sqrt(2) * spread / math.sqrt(tokens)
        + spread**2 / 2
    )


def bundled(place):
    rows, sound = [], True
    for widths in WIDTHS:
        full = export(MODEL, widths, "huggingface", "f32", place / f"full-{len(rows)}")
        for dtype in FORMATS:
            out = export(MODEL, widths, "gguf", dtype, place / f"{dtype}-{len(rows)}")
            found = verify.verify("llama.cpp", out)
            theirs, tokens = their_loss(out)
            ours = own_loss(
                stored_weights(out, full, place / f"held-{len(rows)}"), widths
            )
            row = {
                "widths": widths,
                "dtype": dtype,
                "logits": found["worst"],
                "logits_bound": found["tolerance"],
                "loss": theirs,
                "perplexity": math.exp(theirs),
                "difference": theirs - ours,
                "loss_bound": bound(out, tokens),
                "text": generates_the_same(out, full) if dtype == "f32" else None,
            }
            sound &= found["agrees"] and row["text"] is None
            sound &= abs(row["difference"]) <= row["loss_bound"]
            rows.append(row)
    return rows, sound


VARIANTS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "gqa": {"num_key_value_heads": 2},
    "head_dim": {"head_dim": 32},
    "attention_bias": {"attention_bias": True},
    "mlp_bias": {"mlp_bias": True},
    "llama3": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        }
    },
}


def variants(place):
    """Small random checkpoints: what the bundled model has not."""
    sound = True
    for name, changes in VARIANTS.items():
        config = {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": 64,
            "intermediate_size": 256,
            "matformer_granularities": [32, 64, 128, 256],
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 128,
            # 1 / sqrt(hidden_size): the tolerance takes a branch to hand on an error no larger than
            # it is given, and wider weights (0.3) amplify it: 5.2e-5 where 4.3e-5 were allowed.
            "initializer_range": 0.125,
            "rms_norm_eps": 1e-5,
            "vocab_size": 256,
            "dtype": "float32",
            **changes,
        }
        (place / f"{name}.json").write_text(json.dumps(config))
        source = place / name
        mixnmatch("random", place / f"{name}.json", "--out", source)
        weights, random = (
            load_file(source / "model.safetensors"),
            np.random.default_rng(1),
        )
        for vector in weights.values():  # norms and biases that do something
            if vector.ndim == 1:
                vector += random.normal(0, 0.3, vector.shape).astype(np.float32)
        save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
        for widths in ("64x3", "32,256,128"):
            out = export(source, widths, "gguf", "f32", place / f"{name}-{widths}")
            sound &= verify.verify("llama.cpp", out)["agrees"]
    return sound


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="the rows as JSON, into this file")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as place:
        sound = variants(Path(place))
        rows, agree = bundled(Path(place))
    print(
        "| widths | weights | logits off by | bound | perplexity | loss off by | bound |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['widths']} | {row['dtype']} | {row['logits']:.2g} | {row['logits_bound']:.2g}"
            f" | {row['perplexity']:.4f} | {row['difference']:+.1e} | {row['loss_bound']:.1e} |"
        )
        if row["text"]:
            print(f"{row['widths']} {row['dtype']}: {row['text']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if sound and agree else 1


if __name__ == "__main__":
    sys.exit(main())
