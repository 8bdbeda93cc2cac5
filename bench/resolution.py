"""Images of growing size: a vision transformer against MatMamba-Vision.

usage: resolution.py [--sizes 224,384,512,768,1024] [--layers 4] [--hidden 384] [--threads 1]
                     [--svg docs/resolution.svg]

Random weights of both families with patches of 16 pixels and positions of images of 224, which
`--image-size` resizes to the others. `mixnmatch latency` times one image. Prints the time of a layer
in the middle, of which a model has many, and of the whole model, images a second, and the peak
memory of the process. Draws images a second and memory over the size, and where the two families'
speeds cross.
"""

import argparse
import json
import math
import os
import subprocess
import tempfile
from pathlib import Path

MIXNMATCH = Path(__file__).parents[1] / "build/release/bin/mixnmatch"
PATCH, LEARNED = 16, 224  # pixels


def configs(layers, hidden):
    vit = {
        "model_type": "vit",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "intermediate_size": 4 * hidden,
        "image_size": LEARNED,
        "patch_size": PATCH,
        "num_labels": 1000,
        "matformer_granularities": [4 * hidden],
    }
    mamba = {
        "d_model": hidden,
        "n_layer": layers,
        "d_intermediate": 0,
        "n_classes": 1000,
        "image_size": LEARNED,
        "patch_size": PATCH,
        "ssm_cfg": {},
        "matformer_granularities": [hidden],
    }
    return {"vit": vit, "mamba2_vision": mamba}


def measure(config, size, threads):
    """Milliseconds of a middle layer and of the whole model, and MiB."""
    with tempfile.TemporaryDirectory() as scratch:
        sizes, model = Path(scratch) / "config.json", Path(scratch) / "model"
        sizes.write_text(json.dumps(config))
        command = [MIXNMATCH, "random", sizes, "--out", model, "--dtype", "f32"]
        subprocess.run(command, check=True, capture_output=True)
        command = [MIXNMATCH, "latency", model, "--batch", "1", "--repeats", "5"]
        command += ["--checks", "1", "--threads", str(threads), "--json"]
        command += ["--image-size", str(size)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        out = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
        if status:
            raise SystemExit(f"latency ended with {status}")
    times = {part["layer"]: part["seconds"] for part in out["parts"]}
    return 1e3 * times[1], 1e3 * out["checks"][0]["seconds"], usage.ru_maxrss / 1024


COLOURS = {"vit": "#c0532f", "mamba2_vision": "#4a6fa5"}
# Layers of MatMamba-Vision that have as many weights as one of the ViT's, at the same width.
EQUAL_WEIGHTS = 1.75


def crossing(sizes, slower, faster):
    """The size at which the first series falls below the second, by lines between logarithms."""
    gaps = [math.log(a / b) for a, b in zip(slower, faster, strict=True)]
    for i in range(1, len(sizes)):
        if gaps[i - 1] > 0 >= gaps[i]:
            share = gaps[i - 1] / (gaps[i - 1] - gaps[i])
            low, high = math.log(sizes[i - 1]), math.log(sizes[i])
            return math.exp(low + share * (high - low))
    return None


def ticks(low, high):
    """Round numbers between the two logarithms, at least three if there are."""
    for factors in ((1, 2, 5), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)):
        found = []
        for power in range(
            math.floor(low / math.log(10)), math.ceil(high / math.log(10))
        ):
            found += [10**power * factor for factor in factors]
        found = [tick for tick in found if low <= math.log(tick) <= high]
        if len(found) > 2:
            break
    return found


def panel(left, title, unit, sizes, series, crossings):
    """Series over the size, both axes logarithmic; crossings are marked by a line and their text."""
    values = [value for line in series.values() for value in line[1]]
    low, high = math.log(min(values)) - 0.1, math.log(max(values)) + 0.1
    first, last = math.log(sizes[0]), math.log(sizes[-1])

    def x(size):
        return left + 60 + 390 * (math.log(size) - first) / (last - first)

    def y(value):
        return 280 - 240 * (math.log(value) - low) / (high - low)

    out = [
        f'<text x="{left + 255}" y="24" text-anchor="middle" font-weight="bold">{title}</text>',
        f'<path d="M{left + 60} 40V280H{left + 450}" fill="none" stroke="#555"/>',
        f'<text x="{left + 255}" y="314" text-anchor="middle">pixels a side</text>',
        f'<text x="{left + 4}" y="36">{unit}</text>',
    ]
    for tick in ticks(low, high):
        at = y(tick)
        out.append(
            f'<text x="{left + 55}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
        out.append(f'<path d="M{left + 60} {at:.1f}H{left + 450}" stroke="#ddd"/>')
    for size in sizes:
        out.append(
            f'<text x="{x(size):.0f}" y="296" text-anchor="middle">{size}</text>'
        )
    for dash, line in series.values():
        colour, stroke = dash
        points = " ".join(
            f"{x(s):.1f},{y(v):.1f}" for s, v in zip(sizes, line, strict=True)
        )
        out.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{stroke}/>'
        )
    for i, (size, text) in enumerate(crossings):
        out.append(
            f'<path d="M{x(size):.1f} 40V280" stroke="#888" stroke-dasharray="2 3"/>'
        )
        out.append(f'<text x="{x(size) + 4:.1f}" y="{54 + 16 * i}">{text}</text>')
    return out


def draw(sizes, results):
    """results: {family: [(ms of a layer, ms of the model, MiB)] by size}."""
    plain = {family: (colour, "") for family, colour in COLOURS.items()}
    speed = {
        family: (plain[family], [1e3 / whole for _, whole, _ in found])
        for family, found in results.items()
    }
    dashed = (COLOURS["mamba2_vision"], ' stroke-dasharray="5 4"')
    heavier = [rate / EQUAL_WEIGHTS for rate in speed["mamba2_vision"][1]]
    memory = {
        f: (plain[f], [mib for _, _, mib in found]) for f, found in results.items()
    }
    crossings = []
    for rates, what in (
        (speed["mamba2_vision"][1], "equal layers"),
        (heavier, "equal weights"),
    ):
        at = crossing(sizes, speed["vit"][1], rates)
        if at:
            crossings.append((at, f"{what}: {at:.0f}"))
            print(f"{what} cross at {at:.0f} pixels")
    speeds = speed | {"as many weights": (dashed, heavier)}
    body = panel(
        5, "Throughput of one image", "images a second", sizes, speeds, crossings
    )
    body += panel(495, "Peak memory", "MiB", sizes, memory, [])
    names = {"vit": "ViT", "mamba2_vision": "MatMamba-Vision"}
    for i, (family, colour) in enumerate(COLOURS.items()):
        body.append(
            f'<rect x="{60 + 90 * i}" y="332" width="14" height="4" fill="{colour}"/>'
        )
        body.append(f'<text x="{80 + 90 * i}" y="339">{names[family]}</text>')
    body.append(
        '<text x="290" y="339">dashed: with 1.75 times the layers, so as many weights</text>'
    )
    # The picture without its charts: whatever draws is code, and code here holds no address.
    frame = Path(__file__).with_name("resolution_frame.svg").read_text()
    charts = "".join(f"  {element}\n" for element in body)
    return frame.replace("</svg>", f"{charts}</svg>")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", default="224,384,512,768,1024")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--svg", type=Path, default="docs/resolution.svg")
    arguments = parser.parse_args()
    if arguments.layers < 3:
        parser.error("--layers: without a layer in the middle there is nothing to time")
    print("pixels  tokens  family         layer, ms  model, ms  images/s  peak, MiB")
    sizes = [int(size) for size in arguments.sizes.split(",")]
    results = {family: [] for family in COLOURS}
    models = configs(arguments.layers, arguments.hidden)
    for size in sizes:
        tokens = (size // PATCH) ** 2 + 1
        for family, config in models.items():
            layer, whole, memory = measure(config, size, arguments.threads)
            results[family].append((layer, whole, memory))
            print(
                f"{size:6}  {tokens:6}  {family:13}  {layer:9.2f}  {whole:9.1f}"
                f"  {1e3 / whole:8.2f}  {memory:9.0f}",
                flush=True,
            )
    if len(sizes) > 1:
        arguments.svg.write_text(draw(sizes, results))
        print(arguments.svg)


if __name__ == "__main__":
    main()
