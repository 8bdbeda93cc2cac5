"""What nesting wins back on a model whose best order of neurons is known.

usage: shuffled.py [--model data/reference] [--train out/reference/train.bin] [--calibrate 16384]
                   [--tokens 32768] [--evaluations 100] [--threads 1] [--check]

Shuffles the neurons of the model's layers, which leaves its full width as it is, and forgets its
granularities. Then does what scripts/smollm2 does with an ordinary model: sorts it by each score of
importance, and scores the widest uniform submodels within 90, 80 and 70 % of the parameters; lets a
search choose mixed widths within the same budgets; heals the mixed submodel of 80 % for 100 steps.
Calibration and search read the search part of the model's data, healing the text that the model was
trained on (`scripts/reference corpus` makes it), and the losses are of the confirm part. The model
itself, which was trained nested, stands beside them. scripts/nested_table.py prints the table.

--check demands that sorting by the default score wins back 0.95 of what shuffling lost, that mixed
widths lose no more than uniform ones, and that healing helps.
"""

import argparse
import json
import math
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from compensation import MIXNMATCH, ROOT, shuffle

sys.path.insert(0, str(ROOT / "scripts"))
from nested_table import DEFAULT, HEALED, MIXED, print_table, read, rows_of, sorted_by

SCORES = ("magnitude", "l2", "channel", "wanda", "taylor", DEFAULT)
SHARES = (0.9, 0.8, 0.7)
HEALED_SHARE = 0.8
# As scripts/smollm2 heals.
HEALING = "--distil 0.5 --freeze --learning-rate 1e-4 --warmup 10 --steps 100 --batch 4"


class Trial:
    """The models and stores of one run, in a directory of its own."""

    def __init__(self, arguments, scratch):
        self.arguments = arguments
        self.program = arguments.program
        self.model = arguments.model
        self.dir = Path(scratch)
        self.db = self.dir / "scores.db"
        self.full, self.layers = shuffle(self.model, self.dir / "shuffled")

    def run(self, *command):
        more = ("--threads", str(self.arguments.threads))
        done = subprocess.run(
            [self.program, *map(str, command), *more],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout

    def nest(self, score):
        data = ["--data", self.model / "search.bin"]
        data += ["--max-tokens", self.arguments.calibrate]
        self.run(
            *("nest", self.dir / "shuffled", "--score", score),
            *("--out", self.dir / score),
            *([] if score == "magnitude" else data),
        )

    def score(self, directory, widths):
        self.run(
            *("eval", directory, "--data", self.model / "confirm.bin", "--db", self.db),
            *("--max-tokens", self.arguments.tokens, "--part", "confirm"),
            *(word for text in widths for word in ("--widths", text)),
        )

    def params(self):
        """Of the full width, which was scored."""
        store = sqlite3.connect(self.db)
        return store.execute("SELECT max(params) FROM record").fetchone()[0]

    def best_mixed(self, budget):
        db = self.dir / "search.db"
        data = ("--data", self.model / "search.bin")
        self.run(
            *("search", self.dir / DEFAULT, *data, "--db", db, "--budget", budget),
            *("--max-tokens", self.arguments.calibrate),
            *("--max-evaluations", self.arguments.evaluations),
        )
        front = json.loads(
            subprocess.check_output(
                [self.program, "pareto", "--db", db, "--budget", str(budget), "--json"]
            )
        )
        return min(front, key=lambda one: one["loss"])["widths"]

    def heal(self, widths):
        self.run(
            *("train", "--from", self.dir / DEFAULT, "--tokens", self.arguments.train),
            *("--teacher", self.dir / "shuffled", "--widths", widths),
            *("--out", self.dir / "healing", *HEALING.split()),
        )
        return self.dir / "healing/model"


def check(scored, uniform):
    full = max(scored, key=lambda one: one.params).losses.mean()
    rows, _ = rows_of(scored, uniform)
    lost = {
        kind: {width: one.losses.mean() - full for width, one in found.items()}
        for kind, found in rows.items()
    }
    ordered = lost[sorted_by(DEFAULT)]
    for width in uniform:
        if ordered[width] > 0.05 * lost["shuffled"][width]:
            raise SystemExit(
                f"shuffled: sorted, {width} neurons lose {ordered[width]:.4f}"
            )
        if lost[MIXED][width] > ordered[width]:
            raise SystemExit(f"shuffled: mixed widths lose {lost[MIXED][width]:.4f}")
    for width, loss in lost[HEALED].items():
        if loss > lost[MIXED][width]:
            raise SystemExit(f"shuffled: after healing {loss:.4f} is lost")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=ROOT / "data/reference")
    parser.add_argument("--train", type=Path, default=ROOT / "out/reference/train.bin")
    parser.add_argument("--calibrate", type=int, default=16384)
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--evaluations", type=int, default=100, help="for each budget")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--program", type=Path, default=MIXNMATCH)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    if not arguments.train.exists():
        raise SystemExit(
            f"shuffled: {arguments.train} does not exist: run 'scripts/reference corpus'"
        )
    with tempfile.TemporaryDirectory() as scratch:
        trial = Trial(arguments, scratch)
        trial.score(trial.dir / "shuffled", [str(trial.full)])
        params = trial.params()
        hidden = json.loads((arguments.model / "config.json").read_text())[
            "hidden_size"
        ]
        neuron = 3 * hidden * trial.layers  # parameters: of one neuron in every layer
        uniform = [
            trial.full - math.ceil((1 - share) * params / neuron) for share in SHARES
        ]
        widths = [str(width) for width in uniform]
        for directory in (trial.dir / "shuffled", arguments.model):
            trial.score(directory, widths)
        for score in SCORES:
            trial.nest(score)
            trial.score(trial.dir / score, widths)
        for share in SHARES:
            mixed = trial.best_mixed(int(share * params))
            trial.score(trial.dir / DEFAULT, [mixed])
            print(f"the best mixed submodel of {share:.0%}: {mixed}")
            if share == HEALED_SHARE:
                trial.score(trial.heal(mixed), [mixed])
        print_table(
            list(read(sqlite3.connect(trial.db), "confirm.bin", "f32")), uniform
        )


if __name__ == "__main__":
    main()
