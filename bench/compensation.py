"""What `nest --compensate` gains, and what it costs.

usage: compensation.py [--model data/reference] [--scores iterative,magnitude] [--calibrate 8192]
                       [--tokens 8192] [--threads 1]

Shuffles the neurons of the model's layers, which leaves its full width as it is, and forgets its
granularities. Then nests it by each score of importance, without and with --compensate, on the
search part of its data, and scores the uniform submodels of a quarter, a half and three quarters of
the neurons on the confirm part. Differences are paired, sequence by sequence. Processor seconds and
peak memory are those of the command that scores all of these widths and the full one together.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[1]
MIXNMATCH = ROOT / "build/release/bin/mixnmatch"
PARTS = (0.25, 0.5, 0.75, 1)


def shuffle(model, out):
    """Writes the model with its neurons in a random order; returns its full width and layers."""
    config = json.loads((model / "config.json").read_text())
    config.pop("matformer_granularities", None)
    tensors = load_file(model / "model.safetensors")
    order = torch.from_numpy(
        np.random.default_rng(1).permutation(config["intermediate_size"])
    )
    for name in tensors:
        if ".mlp.gate_proj." in name or ".mlp.up_proj." in name:
            tensors[name] = tensors[name][order]
        elif name.endswith(".mlp.down_proj.weight"):
            tensors[name] = tensors[name][:, order].contiguous()
    out.mkdir()
    (out / "config.json").write_text(json.dumps(config))
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (model / name).exists():
            shutil.copy(model / name, out)
    return config["intermediate_size"], config["num_hidden_layers"]


def scores_of(directory, data, widths, arguments):
    """Losses of the sequences by widths, processor seconds and MiB."""
    with tempfile.TemporaryDirectory() as scratch:
        db = Path(scratch) / "results.db"
        command = [MIXNMATCH, "eval", directory, "--data", data, "--db", db]
        command += ["--max-tokens", str(arguments.tokens)]
        command += ["--threads", str(arguments.threads)]
        for text in widths:
            command += ["--widths", text]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status:
            raise SystemExit(f"eval ended with {status}")
        store = sqlite3.connect(db)
        rows = store.execute(
            "select widths, f32 from record join example_scores on record.id = record "
            "where metric = 'loss'"
        )
        losses = {text: np.frombuffer(blob, np.float32) for text, blob in rows}
        store.close()
    return losses, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def mean_text(values):
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.4f} ± {error:.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "data/reference")
    parser.add_argument("--scores", default="iterative,magnitude")
    parser.add_argument("--calibrate", type=int, default=8192)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    search, confirm = (
        arguments.model / f"{part}.bin" for part in ("search", "confirm")
    )
    with tempfile.TemporaryDirectory() as scratch:
        ordinary = Path(scratch) / "ordinary"
        full, layers = shuffle(arguments.model, ordinary)
        widths = [f"{int(part * full)}x{layers}" for part in PARTS]
        for score in arguments.scores.split(","):
            found = []
            for more in ([], ["--compensate"]):
                out = Path(scratch) / (score + "".join(more))
                command = [MIXNMATCH, "nest", ordinary, "--score", score, "--out", out]
                command += ["--threads", str(arguments.threads), *more]
                if more or score != "magnitude":
                    command += ["--data", search]
                    command += ["--max-tokens", str(arguments.calibrate)]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                found.append(scores_of(out, confirm, widths, arguments))
            (alone, *cost), (with_means, *cost_with_means) = found
            print(f"{score}: widths, loss, with --compensate, difference")
            for text in widths:
                print(
                    f"  {text}: {mean_text(alone[text])}, {mean_text(with_means[text])}, "
                    f"{mean_text(with_means[text] - alone[text])}"
                )
            for name, (seconds, memory) in (
                ("without", cost),
                ("with", cost_with_means),
            ):
                print(f"  {name}: {seconds:.2f} s of processors, {memory:.0f} MiB")


if __name__ == "__main__":
    main()
