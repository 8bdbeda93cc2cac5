"""scripts/smollm2_table.py DB [--widths-of EXPORT]: what scripts/smollm2 has scored, as a table.

Each line is a submodel: its loss on the confirm part, and that loss less those of the full model and
of the sorted uniform submodel whose size is nearest, paired sequence by sequence, ± one standard
error. --widths-of prints the widths of an export instead.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sqlite3

import numpy as np


@dataclasses.dataclass
class Scored:
    kind: str  # of the model
    uniform: bool
    widths: str
    params: int
    losses: np.ndarray  # [sequences]


def kind_of(name, config):
    """`train` says in the config how long it trained, and a sorted model is named by its score."""
    if "trained" in json.loads(config).get("mixnmatch", {}):
        return "healed"
    return "ordinary" if name == "model" else f"sorted, {name}"


def read(store):
    rows = store.execute(
        "SELECT m.name, m.config, r.widths, r.params, e.f32 FROM record r JOIN model m ON m.id ="
        " r.model JOIN example_scores e ON e.record = r.id AND e.metric = 'loss' JOIN data d ON"
        " d.id = r.data WHERE d.name = 'confirm.npy' AND d.sequences = 128 ORDER BY r.params DESC"
    )
    for name, config, widths, params, losses in rows:
        uniform = re.fullmatch(r"\d+x\d+", widths) is not None
        values = np.frombuffer(losses, "<f4").astype(float)
        yield Scored(kind_of(name, config), uniform, widths, params, values)


def text_of(values):
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.4f} ± {error:.4f}"


def print_table(scored):
    full = max(scored, key=lambda one: one.params)
    of_size = [one for one in scored if one.kind == "sorted, iterative" and one.uniform]
    print(
        "| model | widths | parameters | loss | less the full | less the sorted uniform |"
    )
    print("|---|---|---|---|---|---|")
    for one in sorted(scored, key=lambda one: (-one.params, one.kind)):
        beside = min(
            of_size, key=lambda other: abs(other.params - one.params), default=None
        )
        less = [""] * 2
        if one.params < full.params:
            less[0] = text_of(one.losses - full.losses)
        if beside is not None and beside is not one and one.params < full.params:
            less[1] = text_of(one.losses - beside.losses)
        widths = one.widths if one.uniform else "mixed"
        size = f"{one.params / 1e6:.1f}M"
        print(
            f"| {one.kind} | {widths} | {size} | {text_of(one.losses)} | {' | '.join(less)} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("db", type=pathlib.Path)
    parser.add_argument("--widths-of", type=pathlib.Path)
    arguments = parser.parse_args()
    if not arguments.db.exists():
        raise SystemExit(
            f"smollm2: {arguments.db} does not exist: nothing was scored yet"
        )
    store = sqlite3.connect(arguments.db)
    if arguments.widths_of:
        name = arguments.widths_of.name
        found = store.execute(
            "SELECT widths, path FROM artifact WHERE format = 'huggingface' ORDER BY id DESC"
        ).fetchall()
        widths = [text for text, path in found if pathlib.Path(path).name == name]
        if not widths:
            raise SystemExit(
                f"smollm2: {arguments.db} knows no export {name}: run search"
            )
        print(widths[0])
        return
    scored = list(read(store))
    if not scored:
        raise SystemExit(
            f"smollm2: {arguments.db} has no scores of confirm.npy: run nest"
        )
    print_table(scored)


if __name__ == "__main__":
    main()
