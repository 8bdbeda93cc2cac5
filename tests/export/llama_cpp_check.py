"""GGUF exports of the bundled models, and of every variant that GGUF holds, as llama.cpp computes them.

With a cache in f32, for each format:
  logits   the probe's, within its tolerance (scripts/verify)
  loss     mean over all sequences of the confirm tokens, against `mixnmatch eval` of the weights
           that the file holds, which the gguf package decodes
  text     f32: what is generated greedily, token for token that of `mixnmatch generate`
Small random models of every variant: the logits.

In f32, llama.cpp computes all of this in f32: silu, softmax and the scan's decay by an exp that is
off by 2 units in the last place at most (ggml/src/ggml-cpu/vec.h, ggml_v_expf), sums of norms and of
softmax in double, products in f32. Tables of f16 it has for gelu alone (llama_cpp_architectures.py). Its
default cache is f16; here it is f32. It rounds what it multiplies a matrix with to the matrix' type.

What the loss may differ by. A token's loss is logsumexp(z) - z_target, so an error e of the logits
changes it by g.e + (variance of e under the model's own probabilities) / 2 + ..., g being the
probabilities minus the target's one: sum |g| <= 2, |g| <= sqrt(2).
  - f32 sums in another order move a logit by at most t, the probe's tolerance: at most 2 t.
  - Rounded operands (f16, bf16, q8_0) move it by errors that are drawn anew with every token, of
    standard deviation s at most. Their first-order part averages out over the N tokens: at most five
    standard errors, 5 sqrt(2) s / sqrt(N). Their second-order part does not: s^2 / 2.
The probe holds t + 2 * (largest of its logits' errors) as operand_tolerance, and the largest of so
many draws is three standard deviations or more: s <= (operand_tolerance - t) / 6.

What the logits of loud weights may differ by. The probe's tolerance takes a branch to hand on an
error no larger than it is given (export/probe.cpp). Weights of a spread of 0.3, 2.4 / sqrt(64), hand on
more: there our own f32 logits, transformers' and llama.cpp's lie equally far from those in f64, and up
to twice the tolerance from each other. So how much the model at hand passes on is measured, as the
probe does for rounded operands: in f64, by how far its logits move when every weight gets an
independent error. One f32 sum of n terms errs by u sqrt(n / 6) of its size in the mean square, u being
2^-24 (export/probe.cpp); weights w (1 + a r), r uniform in [-1, 1], move it by a / sqrt(3). So
a = u sqrt(n / 2) for a product of n columns. Attention's own two products are of fewer terms, and err
by less than q, k and v, their operands, do here. Two draws of equal spread differ in their largest by
less than a factor of 2 (kOperandMargin there). transformers' f64 keeps norms and angles in f32: one
rounding of each, where a sum has n.

Usage: scripts/llama-cpp [--json FILE]
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import mamba2_names
import numpy as np
import torch
import verify
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.activations import GELUTanh
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
MIXNMATCH = ROOT / "build/release/bin/mixnmatch"
DATA = ROOT / "data"
CONFIRM = DATA / "reference/confirm.bin"
CONTEXT = 256
FORMATS = ["f32", "f16", "bf16", "q8_0"]
# 48 is no granularity: untrained widths are as good.
BUNDLED = [
    ("reference", "256x8", FORMATS),
    ("reference", "64x2,128x2,256x2,512x2", FORMATS),
    ("matmamba", "64x8", FORMATS),
    *(("matmamba", f"{width}x8", ["f32"]) for width in (16, 32, 48, 128)),
]
PROMPT, GENERATED = 24, 200


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


def gguf_name(name, architecture, layers):
    """By the gguf package's map, which lacks some of Mamba-2's."""
    if architecture == "mamba2":
        return mamba2_names.gguf_name(name)
    kinds = {"llama": gguf.MODEL_ARCH.LLAMA, "deci": gguf.MODEL_ARCH.DECI}
    names = gguf.get_tensor_name_map(kinds[architecture], layers)
    return names.get_name(name, try_suffixes=(".weight", ".bias"))


def stored_weights(gguf_directory, full, out):
    """A checkpoint of what the GGUF file holds, in f32: names, order, functions and blocks undone by
    the gguf package and this function. `full` is a f32 Hugging Face export of the same widths."""
    config = json.loads((full / "config.json").read_text())
    reader = gguf.GGUFReader(gguf_directory / "model.gguf")
    architecture = reader.fields["general.architecture"].contents()
    held = {tensor.name: tensor for tensor in reader.tensors}
    heads = {
        ".q_proj.": config.get("num_attention_heads"),
        ".k_proj.": config.get("num_key_value_heads"),
    }
    weights = {}
    for name, like in load_file(full / "model.safetensors").items():
        tensor = held[gguf_name(name, architecture, config["num_hidden_layers"])]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(
            np.float32
        )
        values = values.reshape(like.shape)
        for part, count in heads.items():
            if part in name:  # neighbours become halves of their head
                pairs = values.reshape(count, -1, 2, *like.shape[1:])
                values = pairs.swapaxes(1, 2).reshape(like.shape)
        if name.endswith(".A_log"):
            values = np.log(-values.astype(np.float64)).astype(np.float32)
        weights[name] = np.ascontiguousarray(values)
    out.mkdir()
    for file in full.iterdir():
        if file.suffix in (".json", ".py"):
            (out / file.name).write_bytes(file.read_bytes())
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    return out


def verified(directory):
    """What scripts/verify found, in a process of its own: a fork of this one, whose llama.cpp or torch has
    run, would wait for threads that it does not have."""
    subprocess.run([ROOT / "scripts/verify", "llama.cpp", directory], check=False)
    return json.loads((directory / "verified.json").read_text())[-1]


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


def generates_the_same(directory, model, widths):
    """Greedily, from four places of the confirm tokens."""
    text = CONFIRM.read_bytes()
    theirs = llama(directory, PROMPT + GENERATED)
    for start in (0, 1000, 5000, 9000):
        prompt = list(text[start : start + PROMPT])
        read = theirs.tokenize(bytes(prompt), add_bos=False, special=False)
        if read != prompt:
            return f"reads {bytes(prompt)!r} as {read}"
        expected = json.loads(
            mixnmatch(
                *("generate", model, "--widths", widths, "--ignore-end", "--json"),
                *("--tokens", ",".join(map(str, prompt))),
                *("--max-new-tokens", GENERATED),
            )
        )["tokens"]
        theirs.reset()
        theirs.eval(prompt)
        found = []
        while len(found) < len(expected):
            found.append(int(np.argmax(theirs.scores[theirs.n_tokens - 1])))
            if len(found) < len(expected):
                theirs.eval(found[-1:])
        if found != expected or len(found) != GENERATED:
            at = next(i for i, (a, b) in enumerate(zip(found, expected)) if a != b)
            return f"generates otherwise from token {at} after {start}"
    return None


def limit(directory, tokens):
    probe = verify.read_probe(directory)
    spread = (probe.operand_tolerance - probe.tolerance) / 6
    return (
        2 * probe.tolerance
        + 5 * math.sqrt(2) * spread / math.sqrt(tokens)
        + spread**2 / 2
    )


def bundled(place):
    rows, sound = [], True
    for case, (name, widths, formats) in enumerate(BUNDLED):
        model = DATA / name
        full = export(model, widths, "huggingface", "f32", place / f"full-{case}")
        for dtype in formats:
            out = export(model, widths, "gguf", dtype, place / f"{dtype}-{case}")
            found = verified(out)
            theirs, tokens = their_loss(out)
            held = stored_weights(out, full, place / f"held-{dtype}-{case}")
            text = generates_the_same(out, model, widths) if dtype == "f32" else None
            row = {
                "model": name,
                "widths": widths,
                "dtype": dtype,
                "logits": found["worst"],
                "logits_limit": found["tolerance"],
                "loss": theirs,
                "perplexity": math.exp(theirs),
                "difference": theirs - own_loss(held, widths),
                "loss_limit": limit(out, tokens),
                "text": text,
            }
            sound &= found["agrees"] and text is None
            sound &= abs(row["difference"]) <= row["loss_limit"]
            rows.append(row)
    return rows, sound


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 256,
    "matformer_granularities": [32, 64, 128, 256],
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "vocab_size": 256,
    "dtype": "float32",
}
LLAMA_WIDTHS = ["64x3", "32,256,128"]
LLAMA_VARIANTS = {
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
# 1 / sqrt(hidden_size), which the probe's tolerance is for, and what amplifies.
QUIET, LOUD = 0.125, 0.3

MAMBA2_BASE = {
    "architectures": ["Mamba2ForCausalLM"],
    "model_type": "mamba2",
    "hidden_size": 64,
    "head_dim": 8,
    "num_heads": 16,
    "expand": 2,
    "state_size": 16,
    "n_groups": 1,
    "conv_kernel": 4,
    "chunk_size": 16,
    "matformer_granularities": [8, 16, 32, 64],
    "num_hidden_layers": 3,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": False,
    "use_bias": False,
    "use_conv_bias": True,
    "vocab_size": 256,
    "dtype": "float32",
}
MAMBA2_VARIANTS = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "no_conv_bias": {"use_conv_bias": False},
    "conv_of_2": {"conv_kernel": 2},
    "odd_state": {"state_size": 23},
    "large_heads": {
        "head_dim": 32,
        "num_heads": 4,
        "matformer_granularities": [16, 32, 64],
    },
    "expand_1": {
        "expand": 1,
        "num_heads": 8,
        "matformer_granularities": [8, 32],
    },
    "groups": {"n_groups": 2, "matformer_granularities": [64]},
}


def widths_of(config):
    """The full width, and where narrower ones are a model the narrowest, half of it, an untrained."""
    full, step = config["expand"] * config["hidden_size"] // 2, config["head_dim"] // 2
    if config["n_groups"] > 1:
        return [full]
    return sorted(
        {full, full // 2, config["matformer_granularities"][0], full // 2 + step}
    )


def random_checkpoint(place, config):
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))
    source = place / "model"
    mixnmatch("random", place / "config.json", "--out", source)
    weights = load_file(source / "model.safetensors")
    random = np.random.default_rng(1)
    for vector in weights.values():  # norms and biases that do something
        if vector.ndim == 1:
            vector += random.normal(0, 0.3, vector.shape).astype(np.float32)
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    return source


def loud_agrees(directory, full, tokens):
    """Against f64, within what this very model makes of f32's rounding: see above."""
    model = AutoModelForCausalLM.from_pretrained(
        full, dtype=torch.float64, trust_remote_code=True
    ).eval()

    @torch.inference_mode()
    def logits():
        return model(torch.tensor([tokens])).logits[0].numpy()

    exact, moved = logits(), 0
    products = [one for one in model.modules() if isinstance(one, torch.nn.Linear)]
    gelus = [
        one for one in model.modules() if isinstance(one, (GELUTanh, torch.nn.GELU))
    ]
    for seed in range(3):
        draw = torch.Generator().manual_seed(seed)

        def perturbed(one, inputs, _, draw=draw):
            r = (
                2 * torch.rand(one.weight.shape, generator=draw, dtype=torch.float64)
                - 1
            )
            size = 2**-24 * math.sqrt(one.in_features / 2)
            return torch.nn.functional.linear(
                inputs[0], one.weight * (1 + size * r), one.bias
            )

        def rounded(x, draw=draw):
            r = 2 * torch.rand(x.shape, generator=draw, dtype=torch.float64) - 1
            return x * (1 + 2**-11 * r)

        hooks = [one.register_forward_hook(perturbed) for one in products]
        for one in gelus:  # llama.cpp has a table of them in f16
            hooks.append(one.register_forward_pre_hook(lambda _, x: rounded(x[0])))
            hooks.append(one.register_forward_hook(lambda _, x, y: rounded(y)))
        moved = max(moved, np.abs(logits() - exact).max())
        for hook in hooks:
            hook.remove()
    worst = np.abs(verify.run_llama_cpp(directory, tokens) - exact).max()
    agrees = worst <= 2 * moved
    print(
        f"{directory}: llama.cpp {'agrees' if agrees else 'DISAGREES'} with f64: worst difference"
        f" {worst:.3g}, what f32 explains here {2 * moved:.3g}"
    )
    return agrees


def llama_variants(place):
    sound = True
    for name, changes in LLAMA_VARIANTS.items():
        for spread in (QUIET, LOUD):
            label = f"llama-{name}-{spread}"
            config = {**LLAMA, "initializer_range": spread, **changes}
            source = random_checkpoint(place / label, config)
            for widths in LLAMA_WIDTHS:
                out = export(source, widths, "gguf", "f32", place / f"{label}-{widths}")
                if spread == QUIET:
                    sound &= verified(out)["agrees"]
                    continue
                full = export(
                    source, widths, "huggingface", "f32", place / f"{label}-{widths}-hf"
                )
                tokens = verify.read_probe(out).tokens
                sound &= loud_agrees(out, full, tokens)
    return sound


def mamba2_variants(place):
    sound = True
    for name, changes in MAMBA2_VARIANTS.items():
        config = {**MAMBA2_BASE, **changes}
        source = random_checkpoint(place / f"mamba2-{name}", config)
        for width in widths_of(config):
            out = export(
                source, f"{width}x3", "gguf", "f32", place / f"mamba2-{name}-{width}"
            )
            sound &= verified(out)["agrees"]
    return sound


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="the rows as JSON, into this file")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        place = Path(folder)
        sound = llama_variants(place)
        sound &= mamba2_variants(place)
        rows, agree = bundled(place)
    print(
        "| model | widths | weights | logits off by | limit | perplexity | loss off by | limit |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['model']} | {row['widths']} | {row['dtype']} | {row['logits']:.2g}"
            f" | {row['logits_limit']:.2g} | {row['perplexity']:.4f} | {row['difference']:+.1e}"
            f" | {row['loss_limit']:.1e} |"
        )
        if row["text"]:
            print(f"{row['widths']} {row['dtype']}: {row['text']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if sound and agree else 1


if __name__ == "__main__":
    sys.exit(main())
