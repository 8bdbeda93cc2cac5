"""Whether every architecture of family llama is as fast per FLOP as Llama, at 4 layers of d 2,048.

For each, a checkpoint of random weights is made of a config. It is timed in turns with Llama's, so
that what else the machine does hits both: evaluation (`mixnmatch bench` of the whole model, 512
tokens), reading a prompt of 256 tokens, and generating 24 tokens after it (`mixnmatch generate`). The
best of ROUNDS rounds counts. A rate is FLOP/s, of the FLOPs that `mixnmatch inspect` states for a
token; the table has each rate over Llama's.

Usage: .venv/bin/python bench/architectures.py [MODEL_TYPE...]   (takes 2.1 GB of disk in build/)
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MIXNMATCH = ROOT / "build/release/bin/mixnmatch"
ROUNDS, WITHIN = 5, 0.9
CONTEXT, PROMPT, NEW = 256, 256, 24
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
    "vocab_size": 512,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
GEMMA = {"query_pre_attn_scalar": 64, "sliding_window": 128}
# What a model of that model_type has besides: the class's stem first.
KINDS = {
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral, window": ("Mistral", {"sliding_window": 128}),
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
    "smollm3": ("SmolLM3", {}),
    "olmo2": ("Olmo2", {}),
    "olmo3": ("Olmo3", {"sliding_window": 128}),
    "exaone4": ("Exaone4", {"sliding_window": 128}),
    "seed_oss": ("SeedOss", {}),
    "gemma": ("Gemma", {"hidden_act": "gelu_pytorch_tanh"}),
    "gemma2": ("Gemma2", GEMMA),
    "gemma3_text": ("Gemma3", GEMMA | {"sliding_window_pattern": 2}),
}
MEASURES = ("evaluation", "prompt", "generation")


def mixnmatch(*arguments):
    done = subprocess.run(
        [MIXNMATCH, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"mixnmatch {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def checkpoint(place, kind, stem, more):
    model_type = kind.split(",")[0]
    config = BASE | {"model_type": model_type, "architectures": [f"{stem}ForCausalLM"]}
    folder = place / kind.replace(", ", "-")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config | more))
    mixnmatch("random", folder / "config.json", "--out", folder / "model")
    return folder / "model"


def flops_per_token(model, data):
    """Of the products alone, and with attention in a context of CONTEXT."""
    scores = mixnmatch(
        *("eval", model, "--data", data, "--token-format", "u16", "--json"),
        *("--context", CONTEXT, "--max-tokens", CONTEXT, "--threads", 1),
    )
    return json.loads(scores)[0]["flops"]


def rates(model, data, flops):
    bench = mixnmatch(
        *("bench", model, "--data", data, "--token-format", "u16", "--json"),
        *("--context", CONTEXT, "--max-tokens", 2 * CONTEXT, "--threads", 1),
        *("--set", "uniform", "--sample", 1),
    )
    tokens = ",".join(str(i * 7 % BASE["vocab_size"]) for i in range(PROMPT))
    speed = json.loads(
        mixnmatch(
            *("generate", model, "--tokens", tokens, "--json", "--ignore-end"),
            *("--max-new-tokens", NEW, "--threads", 1),
        )
    )
    return (
        json.loads(bench)[0]["rate"],
        speed["prefill_tokens_per_second"] * flops,
        speed["decode_tokens_per_second"] * flops,
    )


def main():
    wanted = sys.argv[1:] or list(KINDS)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        place = Path(folder)
        data = place / "tokens.bin"
        data.write_bytes(
            b"".join(
                (i * 11 % BASE["vocab_size"]).to_bytes(2, "little")
                for i in range(2 * CONTEXT + 1)
            )
        )
        llama = checkpoint(place, "llama", "Llama", {})
        own = flops_per_token(llama, data)
        print(f"Llama: {own / 1e6:.0f} MFLOP a token")
        print("| model_type | MFLOP a token | " + " | ".join(MEASURES) + " |")
        print("|---|---|---|---|---|")
        slow = []
        for kind in wanted:
            model = checkpoint(place, kind, *KINDS[kind])
            flops = flops_per_token(model, data)
            theirs, ours = [0] * 3, [0] * 3
            for _ in range(ROUNDS):
                theirs = list(map(max, theirs, rates(llama, data, own)))
                ours = list(map(max, ours, rates(model, data, flops)))
            ratios = [b / a for a, b in zip(theirs, ours)]
            row = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| `{kind}` | {flops / 1e6:.0f} | {row} |", flush=True)
            slow += [
                f"{kind}: {what} at {ratio:.2f}"
                for what, ratio in zip(MEASURES, ratios)
                if ratio < WITHIN
            ]
            shutil.rmtree(model.parent)
    if slow:
        sys.exit("slower per FLOP than Llama by more than a tenth: " + "; ".join(slow))


if __name__ == "__main__":
    main()
