"""ViT-B/16's shape, with random weights, on images of noise: the share of a square product's FLOP/s
that `mixnmatch bench` reaches, and both of its ways beside a loop over a Hugging Face ViT.

    scripts/setup test && scripts/build
    .venv/bin/python bench/vit_b16.py [--layers 4] [--images 8] [--pairs 5] [--threads 1]
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SHAPE = ROOT / "data/shapes/vit-b16.json"
RULES = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 224, "width": 224},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
POSITIONS = (224 // 16) ** 2 + 1


def make(program, layers, images, directory):
    """A model of the first so many layers, and a set of so many images."""
    model, data = directory / "model", directory / "images"
    if not model.exists():
        directory.mkdir(parents=True, exist_ok=True)
        command = [program, "random", SHAPE, "--layers", str(layers), "--dtype", "f32"]
        subprocess.run([*command, "--out", model], check=True, capture_output=True)
        (model / "preprocessor_config.json").write_text(json.dumps(RULES))
        data.mkdir()
        random = np.random.default_rng(1)
        pixels = random.integers(0, 256, (images, 224, 224, 3), dtype=np.uint8)
        np.save(data / "images.npy", pixels)
        np.save(data / "labels.npy", random.integers(0, 1000, images))
    return model, data


def main():
    import python_loop  # needs PyTorch and transformers

    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--sample", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sets", default="uniform,monotone")
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model, data = make(args.program, args.layers, args.images, Path(scratch))
        for one in python_loop.compare(
            args.program,
            model,
            data,
            args.sets.split(","),
            tokens=args.images * POSITIONS,
            sample=args.sample,
            threads=args.threads,
            pairs=args.pairs,
        ):
            print("\n".join(one.lines()), flush=True)


if __name__ == "__main__":
    main()
