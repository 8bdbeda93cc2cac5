"""scripts/nested_table.py DB --data NAME --uniform WIDTHS: how submodels of a nested checkpoint scored.

One row for each way to make a submodel: the neurons as they were, sorted by each score of
importance, mixed widths that a search chose, and these after healing. One column for each size:
--uniform names its uniform submodel, "1275,1024,754", and a mixed submodel stands in the column of
the size that is nearest to its own. The first table has the losses less that of the full width, the
second the losses less that of the uniform submodel sorted by the default score. Differences are
paired, sequence by sequence, ± one standard error. scripts/smollm2 and bench/shuffled.py fill such a
store.

scripts/nested_table.py DB --data NAME --won-back WIDTH --at-least NATS: how much better the sorted
uniform submodel is than the unsorted one; fails if that is less.

scripts/nested_table.py DB --widths-of EXPORT: the widths of an export that the store knows.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sqlite3

import numpy as np

DEFAULT = "iterative"  # of nest --score
# The directory's name says what was done with the neurons; elsewhere it is the score's.
UNSORTED = {"model": "as published", "reference": "as trained", "shuffled": "shuffled"}
MIXED, HEALED = "best mixed of the search", "the same after healing"


def sorted_by(score):
    return f"sorted by `{score}`"


@dataclasses.dataclass
class Scored:
    kind: str  # of the model, and whether its widths are mixed
    width: int  # of every layer; 0: mixed
    params: int
    losses: np.ndarray  # [sequences]


def kind_of(name, config, width):
    if "trained" in json.loads(config).get("mixnmatch", {}):
        return HEALED
    return UNSORTED.get(name) or (sorted_by(name) if width else MIXED)


def read(store, data, dtype):
    rows = store.execute(
        "SELECT m.name, m.config, r.widths, r.params, e.f32 FROM record r JOIN model m ON m.id ="
        " r.model JOIN example_scores e ON e.record = r.id AND e.metric = 'loss' JOIN data d ON"
        " d.id = r.data WHERE d.name = ? AND r.dtype = ? ORDER BY r.params DESC, r.id",
        (data, dtype),
    )
    for name, config, widths, params, losses in rows:
        uniform = re.fullmatch(r"(\d+)x\d+", widths)
        width = int(uniform[1]) if uniform else 0
        values = np.frombuffer(losses, "<f4").astype(float)
        yield Scored(kind_of(name, config, width), width, params, values)


def text_of(values):
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.4f} ± {error:.4f}"


def rows_of(scored, uniform):
    """By kind and column: what was scored. The order is that of the table."""
    sizes = {one.width: one.params for one in scored if one.width in uniform}
    rows = {}
    for one in scored:
        if one.width and one.width not in uniform:
            continue
        width = one.width or min(sizes, key=lambda w: abs(sizes[w] - one.params))
        rows.setdefault(one.kind, {})[width] = one
    last = [sorted_by(DEFAULT), MIXED, HEALED]
    order = [
        *UNSORTED.values(),
        *sorted(rows.keys() - {*UNSORTED.values(), *last}),
        *last,
    ]
    return {kind: rows[kind] for kind in order if kind in rows}, sizes


def print_table(scored, uniform):
    """`uniform`: the width of each column. The widest submodel of all is the full width."""
    full = max(scored, key=lambda one: one.params)
    rows, sizes = rows_of(scored, uniform)
    missing = [str(width) for width in uniform if width not in sizes]
    if missing:
        raise SystemExit(f"nested_table: width {', '.join(missing)} was not scored")
    print(
        f"The full width, {full.params / 1e6:.2f}M parameters: {text_of(full.losses)}\n"
    )
    default = rows.get(sorted_by(DEFAULT), {})
    for title, less in (
        ("less the full width", lambda width: full),
        (f"less the uniform one {sorted_by(DEFAULT)}", default.get),
    ):
        heads = [
            f"{width}: {sizes[width] / full.params:.1%}, {sizes[width] / 1e6:.2f}M"
            for width in uniform
        ]
        print(f"| {title} | {' | '.join(heads)} |")
        print("|---" * (len(uniform) + 1) + "|")
        for kind, found in rows.items():
            cells = []
            for width in uniform:
                one, other = found.get(width), less(width)
                cell = ""
                if one is not None and other is not None and one is not other:
                    cell = text_of(one.losses - other.losses)
                    if not one.width:
                        cell += f" ({one.params / 1e6:.2f}M)"
                cells.append(cell)
            if any(cells):
                print(f"| {kind} | {' | '.join(cells)} |")
        print()


def widths_of(store, name):
    found = store.execute(
        "SELECT widths, path FROM artifact WHERE format = 'huggingface' ORDER BY id DESC"
    ).fetchall()
    widths = [text for text, path in found if pathlib.Path(path).name == name]
    if not widths:
        raise SystemExit(
            f"nested_table: the store knows no export {name}: search first"
        )
    return widths[0]


def require_won_back(scored, width, at_least):
    """Ends the program if sorting gains less than `at_least` nats at a uniform width."""
    of = {one.kind.startswith("sorted by"): one for one in scored if one.width == width}
    if set(of) != {True, False}:
        raise SystemExit(
            f"nested_table: width {width} was not scored of both checkpoints: eval both first"
        )
    gain = of[False].losses - of[True].losses
    print(f"sorting wins back {text_of(gain)} nats at width {width}")
    if gain.mean() < at_least:
        raise SystemExit(
            f"nested_table: sorting wins back less than {at_least} nats at width {width}"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("db", type=pathlib.Path)
    parser.add_argument("--data")
    parser.add_argument("--dtype", default="bf16")
    parser.add_argument(
        "--uniform", type=lambda text: [int(width) for width in text.split(",")]
    )
    parser.add_argument("--won-back", type=int)
    parser.add_argument("--at-least", type=float, default=0)
    parser.add_argument("--widths-of", type=pathlib.Path)
    arguments = parser.parse_args()
    if not arguments.db.exists():
        raise SystemExit(
            f"nested_table: {arguments.db} does not exist: nothing was scored yet"
        )
    store = sqlite3.connect(arguments.db)
    if arguments.widths_of:
        print(widths_of(store, arguments.widths_of.name))
        return
    if not arguments.data or not (arguments.uniform or arguments.won_back):
        parser.error("give --data and --uniform or --won-back, or --widths-of")
    scored = list(read(store, arguments.data, arguments.dtype))
    if not scored:
        raise SystemExit(
            f"nested_table: {arguments.db} has no scores of {arguments.data}: nest first"
        )
    if arguments.won_back:
        require_won_back(scored, arguments.won_back, arguments.at_least)
    else:
        print_table(scored, arguments.uniform)


if __name__ == "__main__":
    main()
