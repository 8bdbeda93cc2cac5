"""Images of growing size: a vision transformer against MatMamba-Vision.

usage: resolution.py [--sizes 224,384,512,768,1024] [--layers 4] [--hidden 384] [--threads 1]

Random weights of both families with patches of 16 pixels, at each size as a model of its own, so
that positions need no resizing. `mixnmatch latency` times one image. Prints the time of a layer in
the middle, of which a model has many, and of the whole model, and the peak memory of the process.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

MIXNMATCH = Path(__file__).parents[1] / "build/release/bin/mixnmatch"
PATCH = 16


def configs(size, layers, hidden):
    vit = {
        "model_type": "vit",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "intermediate_size": 4 * hidden,
        "image_size": size,
        "patch_size": PATCH,
        "num_labels": 1000,
        "matformer_granularities": [4 * hidden],
    }
    mamba = {
        "d_model": hidden,
        "n_layer": layers,
        "d_intermediate": 0,
        "n_classes": 1000,
        "image_size": size,
        "patch_size": PATCH,
        "ssm_cfg": {},
        "matformer_granularities": [hidden],
    }
    return {"vit": vit, "mamba2_vision": mamba}


def measure(config, threads):
    """Milliseconds of a middle layer and of the whole model, and MiB."""
    with tempfile.TemporaryDirectory() as scratch:
        sizes, model = Path(scratch) / "config.json", Path(scratch) / "model"
        sizes.write_text(json.dumps(config))
        command = [MIXNMATCH, "random", sizes, "--out", model, "--dtype", "f32"]
        subprocess.run(command, check=True, capture_output=True)
        command = [MIXNMATCH, "latency", model, "--batch", "1", "--repeats", "5"]
        command += ["--checks", "1", "--threads", str(threads), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        out = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status:
            raise SystemExit(f"latency ended with {status}")
    times = {part["layer"]: part["seconds"] for part in out["parts"]}
    return 1e3 * times[1], 1e3 * out["checks"][0]["seconds"], usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="224,384,512,768,1024")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.layers < 3:
        parser.error("--layers: without a layer in the middle there is nothing to time")
    print("pixels  tokens  family         layer, ms  model, ms  peak, MiB")
    for size in map(int, arguments.sizes.split(",")):
        tokens = (size // PATCH) ** 2 + 1
        models = configs(size, arguments.layers, arguments.hidden)
        for family, config in models.items():
            layer, whole, memory = measure(config, arguments.threads)
            print(
                f"{size:6}  {tokens:6}  {family:13}  {layer:9.2f}  {whole:9.1f}  {memory:9.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
