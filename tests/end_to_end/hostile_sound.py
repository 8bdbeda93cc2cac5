"""The small sound set of files that hostile_fuzz.py damages.

All but token files and notes are made by the program's own commands.
"""

import json
import os
import pathlib
import random
import shutil
import sqlite3
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(
    os.environ.get("MIXNMATCH", ROOT / "build/release/bin/mixnmatch")
)
DATA = ROOT / "data"

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "float32",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 256,
    "max_position_embeddings": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "eos_token_id": 0,
    "matformer_granularities": [8, 16, 32],
}
MAMBA2 = {
    "d_model": 32,
    "n_layer": 2,
    "vocab_size": 256,
    "ssm_cfg": {"layer": "MatMamba2", "d_state": 8},
    "rms_norm": True,
    "residual_in_fp32": True,
    "tie_embeddings": True,
}
GEMMA3N = {
    "architectures": ["Gemma3nForCausalLM"],
    "model_type": "gemma3n_text",
    "dtype": "float32",
    "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
    "altup_num_inputs": 3,
    "head_dim": 4,
    "hidden_size": 16,
    "hidden_size_per_layer_input": 4,
    "intermediate_size": [32, 32, 32, 32],
    "laurel_rank": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "matformer_granularities": [8, 16, 32],
    "max_position_embeddings": 64,
    "mixnmatch_may_skip": [2],
    "num_attention_heads": 4,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "num_kv_shared_layers": 2,
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 500.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
    },
    "sliding_window": 8,
    "vocab_size": 256,
    "vocab_size_per_layer_input": 250,
}


def make(*arguments):
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        sys.exit(f"hostile_fuzz: {' '.join(map(str, arguments))}: {done.stderr}")


def checkpoint(sound, config, name):
    """A small checkpoint with random weights, a tokenizer and tokens."""
    (sound / f"{name}.json").write_text(json.dumps(config))
    make("random", sound / f"{name}.json", "--out", sound / name)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DATA / "reference" / file, sound / name / file)
    (sound / name / "generation_config.json").write_text('{"eos_token_id": [0, 1]}')
    return sound / name


def npy(dtype, values, size):
    head = (
        f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({len(values)},), }}"
    )
    head = head.ljust(117) + "\n"
    body = b"".join(v.to_bytes(size, "little") for v in values)
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + body


def shard(magic, version, values, size):
    head = struct.pack("<256i", magic, version, len(values), *[0] * 253)
    return head + b"".join(v.to_bytes(size, "little") for v in values)


def make_sound(sound, parts):
    """What the cases damage; only the program's own commands make it."""
    generator = random.Random(0)
    tokens = generator.choices(range(32, 127), k=16 * 8 + 1)
    (sound / "search.bin").write_bytes(bytes(tokens))
    (sound / "confirm.bin").write_bytes(
        bytes(generator.choices(range(32, 127), k=16 * 8 + 1))
    )
    (sound / "u16.bin").write_bytes(shard(20240520, 1, tokens, 2))
    (sound / "u32.bin").write_bytes(shard(20240801, 7, tokens, 4))
    (sound / "tokens.npy").write_bytes(npy("|u1", tokens, 1))
    (sound / "wide.npy").write_bytes(npy("<i8", tokens, 8))
    llama = checkpoint(sound, LLAMA, "llama")
    checkpoint(sound, MAMBA2, "mamba2")
    checkpoint(sound, GEMMA3N, "gemma3n")
    if "index" in parts:
        make(
            "export",
            llama,
            "--widths",
            "32",
            "--out",
            sound / "sharded",
            "--shard-size",
            "8000",
            "--no-check",
        )
    if "artifact" in parts:
        for kind in ("huggingface", "gguf", "onnx"):
            target = sound / f"as-{kind}"
            make(
                "export",
                llama,
                "--widths",
                "16,32",
                "--out",
                target,
                "--format",
                kind,
                "--threads",
                1,
            )
            note_answer(target)
    if "database" in parts:
        search = [
            "search",
            llama,
            "--db",
            sound / "results.db",
            "--data",
            sound / "search.bin",
        ]
        search += ["--confirm", sound / "confirm.bin", "--context", 16, "--threads", 1]
        make(*search, "--strategy", "random", "--max-evaluations", 6, "--budget", "1M")
        database = sqlite3.connect(sound / "results.db")
        database.execute("pragma journal_mode = delete")
        database.close()


def note_answer(target):
    """verified.json as scripts/verify writes it."""
    head = (target / "probe.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", head[:8])
    probe = json.loads(head[8 : 8 + length])["__metadata__"]
    answer = {
        "artifact": probe["artifact"].strip(),
        "runtime": "transformers",
        "version": "1",
    }
    answer.update(
        agrees=True, worst=1e-6, tolerance=1e-3, machine="x86_64", created="2026"
    )
    (target / "verified.json").write_text(json.dumps([answer]))
