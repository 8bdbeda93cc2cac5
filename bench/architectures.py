"""Whether every architecture of family llama is as fast per FLOP as Llama, at 4 layers of d 2,048.

For each, a checkpoint of random weights is made of a config, and timed in turns with Llama's by
bench/architectures.cpp: scoring a sequence of 256 tokens, reading a prompt of 128, and generating 8
tokens after it. The table has each rate (FLOP/s of one thread) over Llama's: the median of all pairs of
turns, with the least and the largest.

Usage: .venv/bin/python bench/architectures.py [--rounds N] [NAME...]   (takes 2 GB of disk in build/)
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MIXNMATCH = ROOT / "build/release/bin/mixnmatch"
BENCH = ROOT / "build/release/bin/architectures"
WITHIN = 0.9
BASE = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 4,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "vocab_size": 256,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}
GEMMA = {"query_pre_attn_scalar": 64, "sliding_window": 128}
# What a model of that model_type has besides: the class's stem first.
KINDS = {
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral, window": ("Mistral", {"sliding_window": 128}),
    "ministral": ("Ministral", {"sliding_window": 128}),
    "cwm": ("Cwm", {"sliding_window": 128, "rope_scaling": LLAMA3}),
    "Yi": ("Yi", {}),
    "internlm2": ("InternLM2", {"bias": False}),
    "internlm3": ("InternLM3", {}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {}),
    "phi3": ("Phi3", {"sliding_window": None}),
    "granite": (
        "Granite",
        {
            "attention_multiplier": 0.0156,
            "embedding_multiplier": 12.0,
            "logits_scaling": 8.0,
            "residual_multiplier": 0.22,
        },
    ),
    "minicpm": (
        "MiniCPM",
        {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256},
    ),
    "smollm3": ("SmolLM3", {}),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", {"sliding_window": 128}),
    "exaone4": ("Exaone4", {"sliding_window": 128}),
    "seed_oss": ("SeedOss", {}),
    "glm": ("Glm", {}),
    "glm4": ("Glm4", {}),
    "ernie4_5": ("Ernie4_5", {}),
    "helium": ("Helium", {}),
    "gemma": ("Gemma", {"hidden_act": "gelu_pytorch_tanh"}),
    "gemma2": ("Gemma2", GEMMA),
    "gemma3_text": ("Gemma3", GEMMA | {"sliding_window_pattern": 2}),
}
MEASURES = ("evaluation", "prompt", "generation")


def run(*command):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def checkpoint(place, kind, stem, more):
    model_type = kind.split(",")[0]
    config = BASE | {"model_type": model_type, "architectures": [f"{stem}ForCausalLM"]}
    folder = place / kind.replace(", ", "-")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config | more))
    run(MIXNMATCH, "random", folder / "config.json", "--out", folder / "model")
    return folder / "model"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("kinds", nargs="*", default=list(KINDS), metavar="NAME")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        place = Path(folder)
        data = place / "tokens.bin"
        data.write_bytes(bytes(i * 11 % 256 for i in range(257)))
        llama = checkpoint(place / "base", "llama", "Llama", {})
        print("| `model_type` | MFLOP a token | " + " | ".join(MEASURES) + " |")
        print("|---|---|---|---|---|")
        slow = []
        for kind in wanted.kinds:
            model = checkpoint(place, kind, *KINDS[kind])
            found = json.loads(run(BENCH, llama, model, data, wanted.rounds))
            cells = []
            for what in MEASURES:
                ratio = found[what]
                cells.append(
                    "{median:.3f} ({least:.3f} to {largest:.3f})".format(**ratio)
                )
                if ratio["median"] < WITHIN:
                    slow.append(f"{kind}: {what} at {ratio['median']:.3f}")
            rates = ", ".join(f"{found[m]['base_rate'] / 1e9:.1f}" for m in MEASURES)
            print(
                f"| `{kind}` | {found['flops'] / 1e6:.0f} | " + " | ".join(cells) + " |"
            )
            print(f"{kind}: Llama at {rates} GFLOP/s", file=sys.stderr, flush=True)
            shutil.rmtree(model.parent)
    if slow:
        sys.exit("slower per FLOP than Llama by more than a tenth: " + "; ".join(slow))


if __name__ == "__main__":
    main()
