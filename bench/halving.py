"""What --halving costs and what it saves. Searches a nested model twice, with and without it, and
compares the two fronts on the confirm part, example by example:

- the share of the tokens that the halved search took;
- the difference of the two fronts' losses, averaged over the costs that both cover. Each front is a
  staircase over the costs, so this is a mean of paired differences and has their error;
- how many members of the other front are better than the halved front's best at their cost, and how
  many worse, by t tests with Holm's correction at 5 %.

    python3 -m venv build/claims && build/claims/bin/pip install numpy scipy
    build/claims/bin/python bench/halving.py data/reference data/matmamba
"""

import argparse
import itertools
import pathlib
import re
import sqlite3
import subprocess
import tempfile

import numpy
from claims import holm
from scipy.stats import t as students_t


def search(arguments, model, store, options):
    """Runs a search in a new store. (tokens that it took, tokens of the same without halving)."""
    if store.exists():
        raise SystemExit(f"{store} exists: what it knows already would cost no tokens")
    command = [arguments.program, "search", model, "--db", str(store)]
    command += ["--data", arguments.data, "--confirm", arguments.confirm]
    command += ["--max-tokens", str(arguments.max_tokens), "--threads", "1"]
    command += ["--max-evaluations", str(arguments.evaluations)]
    command += ["--seed", str(arguments.seed), *options]
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    taken = re.search(r" on ([\d,]+) of ([\d,]+) tokens", done.stderr)
    return (
        [int(number.replace(",", "")) for number in taken.groups()] if taken else None
    )


def front_of(store):
    """[(parameters, confirmed losses of the examples)], of the front on the confirm part. All that
    the search part put on its front was confirmed, and what halving expects on it."""
    database = sqlite3.connect(store)
    rows = database.execute(
        "SELECT r.params, s.value, e.f32 FROM record r"
        " JOIN score s ON s.record = r.id AND s.metric = 'loss' AND s.status = 'ok'"
        " JOIN run d ON d.id = r.run AND d.part = 'confirm'"
        " JOIN example_scores e ON e.record = r.id AND e.metric = 'loss'"
        " ORDER BY r.params, s.value"
    )
    front, best = [], numpy.inf
    for cost, loss, values in rows:
        if loss < best:
            front.append((cost, numpy.frombuffer(values, "<f4").astype(float)))
            best = loss
    return front


def at(front, cost):
    """The confirmed losses of a front's last member that costs no more."""
    return [losses for member, losses in front if member <= cost][-1]


def mean_and_error(differences):
    return differences.mean(), differences.std(ddof=1) / len(differences) ** 0.5


def compare(halved, whole):
    """Prints how far the halved front lies from the other."""
    first = max(halved[0][0], whole[0][0])
    last = max(halved[-1][0], whole[-1][0])
    # The dearest member of all counts like the others.
    last += (last - first) / max(1, len(whole) - 1)
    edges = sorted({cost for cost, _ in halved + whole if cost >= first} | {last})
    mean = sum(
        (at(halved, here) - at(whole, here)) * (there - here)
        for here, there in itertools.pairwise(edges)
    ) / (last - first)
    print("  mean over the costs: {:+.5f} ± {:.5f} nats".format(*mean_and_error(mean)))
    within = [(cost, losses) for cost, losses in whole if cost >= halved[0][0]]
    differences = [at(halved, cost) - losses for cost, losses in within]
    differing = [d for d in differences if d.any()]
    means = numpy.array([d.mean() for d in differing])
    scores = [abs(d.mean()) / mean_and_error(d)[1] for d in differing]
    examples = len(whole[0][1])
    p = holm(2 * students_t.sf(numpy.array(scores), examples - 1))
    print(
        f"  at {len(whole)} members of the other front: {len(whole) - len(within)} cheaper than any, "
        f"{len(within) - len(differing)} the same submodel, "
        f"{int(((p < 0.05) & (means > 0)).sum())} told apart as worse, "
        f"{int(((p < 0.05) & (means < 0)).sum())} as better, "
        f"at most {means.max(initial=0):+.4f} nats"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", default="data/reference/search.bin")
    parser.add_argument("--confirm", default="data/reference/confirm.bin")
    parser.add_argument("--max-tokens", type=int, default=65536)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    parser.add_argument("--stores", help="keep the stores in this folder")
    arguments = parser.parse_args()
    for model in arguments.models:
        with tempfile.TemporaryDirectory() as directory:
            folder = pathlib.Path(arguments.stores or directory)
            folder.mkdir(exist_ok=True)
            name = f"{pathlib.Path(model).name}_{arguments.seed}"
            halved, whole = folder / f"halved_{name}.db", folder / f"whole_{name}.db"
            taken, of = search(arguments, model, halved, ["--halving"])
            search(arguments, model, whole, [])
            print(
                f"{model}, {arguments.evaluations} evaluations, seed {arguments.seed}: "
                f"{taken} of {of} tokens, {taken / of:.3f}"
            )
            fronts = front_of(halved), front_of(whole)
            print(f"  fronts of {len(fronts[0])} and {len(fronts[1])}")
            compare(*fronts)


if __name__ == "__main__":
    main()
