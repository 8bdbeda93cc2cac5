"""How evaluation scales with the length of a sequence: the state-space model beside the transformer,
both of the bundled models' shapes with random weights (no weight changes the time), on the same
tokens, one thread, their four uniform submodels in one shared pass, the faster of two. Peak memory is
that of an evaluation, less what the shortest one takes. Draws docs/lengths.svg.

    scripts/setup test && scripts/build mixnmatch
    .venv/bin/python bench/lengths.py
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

MODELS = {"MatMamba": "data/matmamba", "transformer": "data/reference"}
LENGTHS = [512, 1024, 2048, 4096, 8192, 16384]


def longest(config):
    """The config with room for the longest sequence, if it limits them at all."""
    if "max_position_embeddings" in config:
        config = config | {"max_position_embeddings": LENGTHS[-1]}
    return config


def tokens_per_second(program, model, data, context):
    command = [program, "bench", model, "--data", data, "--set", "uniform", "--json"]
    command += ["--context", str(context), "--max-tokens", str(LENGTHS[-1])]
    command += ["--sample", "2", "--threads", "1"]
    rows = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    )
    return LENGTHS[-1] / rows[0]["shared_seconds"]


def peak_bytes(program, model, data, context):
    """Of an evaluation of one sequence, by the four uniform submodels."""
    command = [program, "eval", model, "--data", data, "--threads", "1"]
    command += ["--context", str(context), "--max-tokens", str(context), "--json"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} failed")
    return usage.ru_maxrss * 1024


def measure(program, data, directory):
    results = {}
    for name, source in MODELS.items():
        config = longest(json.loads(pathlib.Path(source, "config.json").read_text()))
        shape = directory / f"{name}.json"
        shape.write_text(json.dumps(config))
        model = directory / name
        subprocess.run(
            [program, "random", shape, "--out", model],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rates = [
            max(tokens_per_second(program, model, data, n) for _ in range(2))
            for n in LENGTHS
        ]
        peaks = [peak_bytes(program, model, data, n) for n in LENGTHS]
        results[name] = {"rate": rates, "bytes": [p - peaks[0] for p in peaks]}
        print(f"{'tokens':>8}  {'tokens/s':>9}  {'ms/sequence':>11}  MiB more   {name}")
        for n, rate, peak in zip(LENGTHS, rates, results[name]["bytes"], strict=True):
            print(
                f"{n:>8}  {rate:>9.0f}  {1e3 * n / rate:>11.1f}  {peak / 2**20:>8.1f}"
            )
    return results


def round_step(top):
    """The largest of 1, 2 and 5 times a power of ten that goes at least four times into top."""
    power = 10 ** math.floor(math.log10(top / 4))
    return max(k * power for k in (1, 2, 5) if k * power <= top / 4)


def chart(left, title, unit, series, colours):
    """One panel: value against tokens, both axes from zero."""
    top = max(max(values) for values in series.values()) * 1.05
    x = {n: left + 55 + 300 * n / LENGTHS[-1] for n in LENGTHS}
    out = [
        f'<text x="{left + 205}" y="24" text-anchor="middle" font-weight="bold">{title}</text>',
        f'<path d="M{left + 55} 40V270H{left + 355}" fill="none" stroke="#555"/>',
    ]
    step = round_step(top)
    for i in range(math.floor(top / step) + 1):
        y = 270 - 230 * i * step / top
        out.append(
            f'<text x="{left + 50}" y="{y + 4:.0f}" text-anchor="end">{i * step:,g}</text>'
        )
    for n in LENGTHS[2:]:
        out.append(f'<text x="{x[n]:.0f}" y="288" text-anchor="middle">{n}</text>')
    out.append(
        f'<text x="{left + 205}" y="306" text-anchor="middle">tokens of a sequence; {unit}</text>'
    )
    for name, values in series.items():
        points = [
            (x[n], 270 - 230 * v / top) for n, v in zip(LENGTHS, values, strict=True)
        ]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(
            f'<polyline points="{line}" fill="none" stroke="{colours[name]}" stroke-width="2"/>'
        )
        out += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colours[name]}"/>'
            for a, b in points
        ]
    return out


def draw(results):
    colours = dict(zip(MODELS, ["#c0532f", "#4a6fa5"], strict=True))
    rate = {name: found["rate"] for name, found in results.items()}
    time = {
        name: [n / r for n, r in zip(LENGTHS, found["rate"], strict=True)]
        for name, found in results.items()
    }
    memory = {
        name: [b / 2**20 for b in found["bytes"]] for name, found in results.items()
    }
    # The picture without its charts: whatever draws is code, and code here holds no address.
    frame = pathlib.Path(__file__).with_name("lengths_frame.svg").read_text()
    panels = [
        ("Throughput of four submodels", "tokens a second", rate),
        ("Time, the same", "seconds", time),
        ("Peak memory, the same", "MiB more than 512 take", memory),
    ]
    body = []
    for i, (title, unit, series) in enumerate(panels):
        body += chart(5 + 390 * i, title, unit, series, colours)
    for i, (name, colour) in enumerate(colours.items()):
        body.append(
            f'<rect x="{450 + 150 * i}" y="322" width="14" height="4" fill="{colour}"/>'
        )
        body.append(f'<text x="{470 + 150 * i}" y="329">{name}</text>')
    charts = "".join(f"  {element}\n" for element in body)
    return frame.replace("</svg>", f"{charts}</svg>")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    parser.add_argument("--data", default="data/reference/confirm.bin")
    parser.add_argument("--svg", default="docs/lengths.svg")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        results = measure(arguments.program, arguments.data, pathlib.Path(directory))
    pathlib.Path(arguments.svg).write_text(draw(results))
    print(arguments.svg)


if __name__ == "__main__":
    main()
