"""Every architecture and tokenizer that GGUF holds, as llama.cpp computes it.

Architectures: small random models with weights of a spread of 0.3, against transformers in f64 of the
Hugging Face export of the same widths. llama_cpp_check.py derives what they may differ by. Besides,
llama.cpp takes GeLU from a table of f16, so that its argument and its value are rounded to f16: both
get an independent error of up to 2^-11 of their size.

Gemma 3n, of the shape that llama.cpp has in its code: it clips gates by their deviation as of a sample,
so transformers is made to. Submodels of one width, without some layers, and mixed ones that are padded
to one width, as their probes say and against f64.

Tokenizers: those that tests/text/tokenizer_check.py trains, of every kind that a GGUF file may carry,
on its hostile texts, against the tokenizers package.

Usage: scripts/llama-cpp; or this file alone, with part of a case's name as an argument.
"""

import importlib.util
import json
import logging
import os
import sys
import tempfile
from pathlib import Path

import llama_cpp
import llama_cpp_check as common
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from transformers.models.gemma3n import modeling_gemma3n
from transformers.utils import logging as transformers_logging

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location(
    "text_check", ROOT / "tests/text/tokenizer_check.py"
)
text_check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(text_check)
LOUD = 0.3
BASE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "matformer_granularities": [32, 64, 128],
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "tie_word_embeddings": False,
    "vocab_size": 256,
    "dtype": "float32",
    "initializer_range": LOUD,
}
LINEAR = {"rope_scaling": {"type": "linear", "factor": 4.0}}
YARN = {
    "rope_scaling": {
        "type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 64,
    }
}
LLAMA3 = {
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
}


def longrope(original):
    """llama.cpp takes the long divisors where it is opened for more positions than the original ones,
    256 at least; the probe has more than 16 tokens and fewer than 256."""
    return {
        "max_position_embeddings": 4 * original,
        "original_max_position_embeddings": original,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + i / 16 for i in range(8)],
            "long_factor": [1.0 + i for i in range(8)],
        },
    }


GRANITE = {
    "attention_multiplier": 0.0625,
    "embedding_multiplier": 12.0,
    "logits_scaling": 6.0,
    "residual_multiplier": 0.22,
    "tie_word_embeddings": True,
}
GEMMA = {
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 16,
    "sliding_window": 12,
    "tie_word_embeddings": True,
}
LOCAL = {"rope_local_base_freq": 20.0, "num_hidden_layers": 7}
# Name: the class's stem, model_type, and what differs from BASE.
ARCHITECTURES = {
    "llama_linear": ("Llama", "llama", LINEAR),
    "llama_yarn": ("Llama", "llama", YARN),
    "llama_longrope_short": ("Llama", "llama", longrope(256)),
    "llama_longrope_long": ("Llama", "llama", longrope(16)),
    "mistral": ("Mistral", "mistral", {"sliding_window": None, "head_dim": 32}),
    "mistral_window": ("Mistral", "mistral", {"sliding_window": 100}),
    "ministral": ("Ministral", "ministral", {"sliding_window": 100}),
    "yi": ("Yi", "Yi", {}),
    "internlm2": ("InternLM2", "internlm2", {"bias": True}),
    "internlm3": ("InternLM3", "internlm3", {"bias": True, "qkv_bias": True}),
    "qwen2": ("Qwen2", "qwen2", {}),
    "qwen3": ("Qwen3", "qwen3", {"head_dim": 32}),
    "qwen3_yarn": ("Qwen3", "qwen3", YARN | {"head_dim": 16}),
    "phi3": ("Phi3", "phi3", {"sliding_window": None}),
    "phi3_longrope_short": (
        *("Phi3", "phi3"),
        longrope(256) | {"sliding_window": None},
    ),
    "phi3_longrope_long": ("Phi3", "phi3", longrope(16) | {"sliding_window": None}),
    "phi3_partial": ("Phi3", "phi3", {"partial_rotary_factor": 0.75}),
    "granite": ("Granite", "granite", GRANITE),
    "granite_bias": (
        *("Granite", "granite"),
        GRANITE | {"attention_bias": True, "mlp_bias": True},
    ),
    "minicpm": (
        *("MiniCPM", "minicpm"),
        {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16},
    ),
    "smollm3": ("SmolLM3", "smollm3", {}),
    "olmo2": ("Olmo2", "olmo2", {}),
    "olmo3": (
        *("Olmo3", "olmo3"),
        YARN | {"sliding_window": 12, "rope_theta": 500000.0},
    ),
    "exaone4": ("Exaone4", "exaone4", LLAMA3 | {"sliding_window": None}),
    "seed_oss": ("SeedOss", "seed_oss", {"head_dim": 32}),
    "glm": ("Glm", "glm", {"head_dim": 32}),
    "glm4": ("Glm4", "glm4", {"head_dim": 32}),
    "ernie": ("Ernie4_5", "ernie4_5", {"head_dim": 16}),
    "gemma": (
        *("Gemma", "gemma"),
        {"head_dim": 16, "hidden_act": "gelu", "tie_word_embeddings": True},
    ),
    "gemma2": ("Gemma2", "gemma2", GEMMA),
    "gemma3": ("Gemma3", "gemma3_text", GEMMA | LOCAL),
    "gemma3_linear": ("Gemma3", "gemma3_text", GEMMA | LOCAL | LINEAR),
}
WITHOUT_MIXED = "llama.cpp has them for Llama's arithmetic alone"


def architectures(place, wanted):
    sound = True
    for name, (stem, kind, more) in ARCHITECTURES.items():
        if wanted not in name:
            continue
        config = BASE | {"architectures": [f"{stem}ForCausalLM"], "model_type": kind}
        config |= more
        source = common.random_checkpoint(place / name, config)
        layers = config["num_hidden_layers"]
        for widths in (f"64x{layers}", f"32,128,96x{layers - 2}"):
            label = f"{name}-{widths}"
            try:
                out = common.export(source, widths, "gguf", "f32", place / label)
            except SystemExit as refused:
                assert WITHOUT_MIXED in str(refused), refused
                continue
            full = common.export(
                source, widths, "huggingface", "f32", place / f"{label}-hf"
            )
            tokens = common.verify.read_probe(out).tokens
            sound &= common.loud_agrees(out, full, tokens)
    return sound


# Twenty layers with keys and values of their own, ten of them with clipped gates, and five after them.
GEMMA3N = {
    "architectures": ["Gemma3nForCausalLM"],
    "model_type": "gemma3n_text",
    "activation_sparsity_pattern": [0.95] * 10 + [0.0] * 15,
    "head_dim": 16,
    "hidden_size": 64,
    "hidden_size_per_layer_input": 256,
    "initializer_range": 0.125,
    "intermediate_size": 1024,
    "laurel_rank": 64,
    "matformer_granularities": [256, 512, 1024],
    "max_position_embeddings": 256,
    "mixnmatch_may_skip": [20, 21, 22, 23, 24],
    "num_attention_heads": 4,
    "num_hidden_layers": 25,
    "num_key_value_heads": 2,
    "num_kv_shared_layers": 5,
    "rms_norm_eps": 1e-6,
    "sliding_window": 12,
    "vocab_size": 256,
    "vocab_size_per_layer_input": 250,
    "dtype": "float32",
}
# Rounding to q8_0 moves this model by as much as its logits are: that llama.cpp loads it is all that is
# asked.
GEMMA3N_WIDTHS = [
    ("1024x25", [], ["f32", "f16", "q8_0"]),
    ("256x20,-,256,-x2,256", [], ["f32"]),
    ("256x3,1024x2,512x5,64x10,-,1024x4", ["--pad-to-uniform"], ["f32"]),
]


def calm_checkpoint(place):
    """Norms that do something. Scores are not divided by a root here, so those of heads keep them small."""
    source = common.random_checkpoint(place, GEMMA3N)
    file = source / "model.safetensors"
    weights, random = load_file(file), np.random.default_rng(2)
    for name, vector in weights.items():
        if vector.ndim == 1:
            centre = 0.4 if ".q_norm." in name or ".k_norm." in name else 1
            vector[:] = centre * (1 + random.normal(0, 0.1, vector.shape))
    save_file(weights, file, metadata={"format": "pt"})
    return source


def clipped_as_a_sample(mlp, gates):
    share = torch.tensor(mlp.activation_sparsity, dtype=torch.float32)
    quantile = torch.distributions.normal.Normal(0, 1).icdf(share).to(gates.dtype)
    deviation = gates.std(-1, keepdim=True, unbiased=True)
    return torch.relu(gates - gates.mean(-1, keepdim=True) - deviation * quantile)


def gemma3n(place, wanted):
    if wanted not in "gemma3n":
        return True
    source, sound = calm_checkpoint(place / "gemma3n"), True
    own = modeling_gemma3n.Gemma3nTextMLP._gaussian_topk
    for case, (widths, pad, dtypes) in enumerate(GEMMA3N_WIDTHS):
        full = place / f"gemma3n-{case}-hf"
        common.mixnmatch(
            *("export", source, "--widths", widths, *pad, "--no-check", "--out", full)
        )
        for dtype in dtypes:
            out = place / f"gemma3n-{case}-{dtype}"
            said = common.mixnmatch(
                *("export", source, "--widths", widths, *pad, "--out", out),
                *("--format", "gguf", "--dtype", dtype, "--threads", 1),
            )
            print(*(line for line in said.splitlines() if "moved" in line), sep="\n")
            if dtype == "q8_0":
                tokens = common.verify.read_probe(out).tokens
                sound &= bool(
                    np.isfinite(common.verify.run_llama_cpp(out, tokens)).all()
                )
            else:
                sound &= common.verified(out)["agrees"]
        f32 = place / f"gemma3n-{case}-f32"
        tokens = common.verify.read_probe(f32).tokens
        modeling_gemma3n.Gemma3nTextMLP._gaussian_topk = clipped_as_a_sample
        sound &= common.loud_agrees(f32, full, tokens)
        modeling_gemma3n.Gemma3nTextMLP._gaussian_topk = own
    return sound


def tokenizers(place, wanted):
    corpus = place / "corpus.txt"
    corpus.write_text(Path(os.__file__).with_name("argparse.py").read_text())
    made = place / "tokenizers"
    made.mkdir()
    text_check.make(made, corpus, ROOT / "data/reference")
    sound = True
    for folder in sorted(path for path in made.iterdir() if path.is_dir()):
        if wanted not in folder.name:
            continue
        facts = json.loads((made / f"{folder.name}.texts").read_text())
        config = BASE | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
        config |= {"vocab_size": facts["vocabulary"], "num_hidden_layers": 1}
        source = common.random_checkpoint(place / f"of-{folder.name}", config)
        (source / "tokenizer.json").write_bytes(
            (folder / "tokenizer.json").read_bytes()
        )
        try:
            out = common.export(
                source, "64x1", "gguf", "f32", place / f"{folder.name}-gguf"
            )
        except SystemExit as refused:
            print(f"{folder.name}: not held:", str(refused).split(": ", 3)[-1].strip())
            continue
        theirs = llama_cpp.Llama(
            str(out / "model.gguf"), vocab_only=True, verbose=False
        )
        ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
        wrong = []
        for text in facts["texts"]:
            found = theirs.tokenize(text.encode(), add_bos=False, special=True)
            if found != ours.encode(text, add_special_tokens=False).ids:
                wrong.append(text)
        print(f"{folder.name}: {len(facts['texts'])} texts, {len(wrong)} otherwise")
        for text in sorted(wrong, key=len)[:3]:
            print("  ", repr(text[:80]))
        sound &= not wrong
    return sound


def main():
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        place = Path(folder)
        sound = architectures(place, wanted)
        sound &= gemma3n(place, wanted)
        sound &= tokenizers(place, wanted)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
