"""What `mixnmatch generate --adaptive` gains over fixed submodels of the same cost: the loss over the
FLOPs of a token for several margins, beside the line of fixed submodels, and the share of tokens that
are computed wide. Prints the table of docs/measurements.md, and draws docs/adaptive.svg.

    scripts/build adaptive
    python3 bench/adaptive.py
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Members of the front of data/reference, and the widest.
FIXED = [
    "64x8",
    "128,64x4,128x3",
    "128,64x3,256x4",
    "256,64,128x2,256x4",
    "256x8",
    "512x8",
]
COLOURS = {"adaptive": "#3b6fb6", "fixed": "#c0532f"}


def measured(options):
    command = [ROOT / "build/release/bin/adaptive", options.model, options.data]
    command += [
        options.sequences,
        options.context,
        options.narrow,
        options.wide,
        *options.fixed,
    ]
    done = subprocess.run(
        map(str, command), check=True, stdout=subprocess.PIPE, text=True
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [r for r in rows if "margin" in r], [r for r in rows if "widths" in r]


def table(adaptive, fixed):
    print(
        "| | tokens computed wide | MFLOPs a token | loss less that of the widest, paired |"
    )
    print("|---|---|---|---|")
    for row in adaptive + fixed:
        name = (
            f"margin {row['margin']}" if "margin" in row else f"fixed, {row['widths']}"
        )
        share = f"{row['wide_share']:.3f}" if "margin" in row else ""
        print(
            f"| {name} | {share} | {row['flops'] / 1e6:.2f} | "
            f"{row['more_than_wide']:+.4f} ± {row['standard_error']:.4f} |"
        )


def panel(left, title, below, points, x_range, y_range):
    """`points`: name -> [(x, y, label)]."""
    (x0, x1), (y0, y1) = x_range, y_range

    def place(x, y):
        return left + 50 + 290 * (x - x0) / (x1 - x0), 250 - 200 * (y - y0) / (y1 - y0)

    out = [
        f'<text x="{left + 195}" y="24" text-anchor="middle" font-weight="bold">{title}</text>',
        f'<path d="M{left + 50} 40V250H{left + 345}" fill="none" stroke="#555"/>',
        f'<text x="{left + 195}" y="286" text-anchor="middle">{below}</text>',
    ]
    for i in range(5):
        x, y = x0 + (x1 - x0) * i / 4, y0 + (y1 - y0) * i / 4
        out.append(
            f'<text x="{place(x, y0)[0]:.0f}" y="267" text-anchor="middle">{x:.3g}</text>'
            f'<text x="{left + 45}" y="{place(x0, y)[1] + 4:.0f}" text-anchor="end">{y:.3f}</text>'
        )
    for name, list_of in points.items():
        at = [place(x, y) for x, y, _ in list_of]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in at)
        colour = COLOURS[name]
        out.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        for (a, b), (_, _, label) in zip(at, list_of, strict=True):
            out.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>')
            if label:
                out.append(
                    f'<text x="{a + 5:.1f}" y="{b - 5:.1f}" font-size="10">{label}</text>'
                )
    return out


def picture(adaptive, fixed):
    labelled = {0, 0.2, 0.5, 0.8, 1}
    losses = {
        "adaptive": [
            (
                r["flops"] / 1e6,
                r["loss"],
                r["margin"] if r["margin"] in labelled else "",
            )
            for r in adaptive
        ],
        "fixed": [(r["flops"] / 1e6, r["loss"], "") for r in fixed],
    }
    every = [point for points in losses.values() for point in points]
    flops, loss = [p[0] for p in every], [p[1] for p in every]
    body = panel(
        0,
        "Loss, nats per token",
        "MFLOPs of a token; numbers: margins",
        losses,
        (0, max(flops)),
        (min(loss), max(loss)),
    )
    shares = {"adaptive": [(r["margin"], r["wide_share"], "") for r in adaptive]}
    body += panel(
        380, "Share of tokens computed wide", "margin", shares, (0, 1), (0, 1)
    )
    for i, (name, colour) in enumerate(COLOURS.items()):
        words = {"adaptive": "as wide as a token needs", "fixed": "fixed submodels"}[
            name
        ]
        body.append(
            f'<rect x="{60 + 190 * i}" y="302" width="14" height="4" fill="{colour}"/>'
            f'<text x="{80 + 190 * i}" y="308">{words}</text>'
        )
    # The picture without its charts: whatever draws is code, and code here holds no address.
    frame = pathlib.Path(__file__).with_name("adaptive_frame.svg").read_text()
    return frame.replace("</svg>", "\n".join(body) + "\n</svg>")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="data/reference")
    parser.add_argument("--data", default="data/reference/confirm.bin")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--narrow", default="64")
    parser.add_argument("--wide", default="512")
    parser.add_argument("--fixed", nargs="*", default=FIXED)
    parser.add_argument("--svg", type=pathlib.Path, default=ROOT / "docs/adaptive.svg")
    options = parser.parse_args()
    adaptive, fixed = measured(options)
    table(adaptive, fixed)
    options.svg.write_text(picture(adaptive, fixed))


if __name__ == "__main__":
    main()
