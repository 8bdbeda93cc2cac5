"""What MatFormer's and MatMamba's authors say of submodels, tested on a nested model of 8 layers of 4
widths: widths that increase with depth beat the same widths decreasing; least slope, the trained
granularities and linear decay are near the front. The front is that of the losses of all submodels,
or else that of a store, which a search made. Differences are paired over sequences; of each claim's
tests those count that Holm's correction leaves at 5 %.

    python3 -m venv build/claims && build/claims/bin/pip install numpy scipy
    build/claims/bin/python bench/claims.py data/reference data/reference/truth.npy
    build/claims/bin/python bench/claims.py data/matmamba data/matmamba/truth.npy --widths 16,32,64,128
"""

import argparse
import itertools
import pathlib
import sqlite3
import subprocess
import tempfile

import numpy
from scipy.stats import ttest_rel

LAYERS = 8


def text_of(widths):
    runs = [(width, len(list(same))) for width, same in itertools.groupby(widths)]
    return ",".join(
        f"{width}x{count}" if count > 1 else str(width) for width, count in runs
    )


def increasing(choices):
    """All non-decreasing lists that are not uniform."""
    return [
        widths
        for widths in itertools.combinations_with_replacement(choices, LAYERS)
        if widths[0] != widths[-1]
    ]


def least_slope(choices):
    lists = [(choices[0],) * LAYERS]
    for low, high in itertools.pairwise(choices):
        lists += [
            (low,) * (LAYERS - wide) + (high,) * wide for wide in range(1, LAYERS + 1)
        ]
    return lists


def linear_decay(choices):
    """From each level one level down after every r layers."""
    lists = {}
    for top in range(len(choices)):
        for each in range(1, LAYERS + 1):
            levels = [max(0, top - layer // each) for layer in range(LAYERS)]
            lists[tuple(choices[level] for level in levels)] = None
    return list(lists)


def front_of(costs, losses):
    front, best = [], numpy.inf
    for i in numpy.lexsort((losses, costs)):
        if losses[i] < best:
            front.append(i)
            best = losses[i]
    return front


def hypervolume(points, reference):
    area, best = 0.0, reference[1]
    for cost, loss in sorted(points):
        if loss < best:
            area += (reference[0] - cost) * (best - loss)
            best = loss
    return area


class Known:
    """Submodels whose losses are known, and the front of them."""

    def __init__(self, members, losses):
        self.members, self.losses = members, numpy.asarray(losses, dtype=float)
        self.costs = numpy.array([sum(member) for member in members])
        self.front = front_of(self.costs, self.losses)
        self.reference = self.costs.max(), self.losses.max()

    def best_at(self, cost):
        """The widths of the front's member at this cost or less."""
        within = [i for i in self.front if self.costs[i] <= cost]
        return self.members[within[-1]]

    def share(self, lists, losses):
        """Of the hypervolume of everything that is known."""
        points = [(sum(widths), losses[widths].mean()) for widths in lists]
        every = [(self.costs[i], self.losses[i]) for i in self.front]
        return hypervolume(points, self.reference) / hypervolume(every, self.reference)

    def worst_difference(self, losses):
        """From other measurements of the same submodels."""
        known = zip(self.members, self.losses)
        return max(abs(losses[w].mean() - loss) for w, loss in known if w in losses)


def from_table(path, choices):
    """The losses of all submodels, the first layer most significant, narrowest first."""
    return Known(list(itertools.product(choices, repeat=LAYERS)), numpy.load(path))


def widths_of(text):
    runs = [(run.split("x") + ["1"])[:2] for run in text.split(",")]
    return tuple(int(width) for width, count in runs for _ in range(int(count)))


def from_store(path):
    """What searches have scored in it: of one model, on the same data, in one dtype."""
    rows = sqlite3.connect(path).execute(
        "SELECT r.model, r.data, r.dtype, r.widths, s.value FROM record r"
        " JOIN score s ON s.record = r.id AND s.metric = 'loss' AND s.status = 'ok'"
        " JOIN data_use u ON u.model = r.model AND u.data = r.data AND u.part = 'search'"
    )
    scored = {}  # {what was scored: {widths: loss}}
    for *what, text, loss in rows:
        scored.setdefault(tuple(what), {})[widths_of(text)] = loss
    if len(scored) != 1:
        raise SystemExit(
            f"{path} holds searches of {len(scored)} models, data or dtypes, expected one"
        )
    (known,) = scored.values()
    return Known(list(known), list(known.values()))


def score(arguments, lists):
    """{widths: losses per sequence}, by the program."""
    texts = {text_of(widths): widths for widths in lists}
    with tempfile.TemporaryDirectory() as directory:
        store = pathlib.Path(directory, "claims.db")
        command = [arguments.program, "eval", arguments.model, "--data", arguments.data]
        command += ["--max-tokens", "16384", "--db", str(store), "--csv"]
        for text in texts:
            command += ["--widths", text]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = sqlite3.connect(store).execute(
            "SELECT widths, f32 FROM record JOIN example_scores ON record = record.id "
            "WHERE metric = 'loss'"
        )
        return {
            texts[widths]: numpy.frombuffer(values, "<f4").astype(float)
            for widths, values in rows
        }


def holm(p):
    """Adjusted p of each test."""
    adjusted, worst = numpy.ones(len(p)), 0.0
    for rank, i in enumerate(numpy.argsort(p)):
        worst = max(worst, min(1.0, p[i] * (len(p) - rank)))
        adjusted[i] = worst
    return adjusted


def compare(title, pairs, losses):
    """Prints how often the first of each two has less loss than the second, and the other way."""
    differences = [losses[a] - losses[b] for a, b in pairs if a != b]
    equal = len(pairs) - len(differences)
    if not differences:
        print(f"{title}: {len(pairs)} pairs, all the same")
        return
    p = holm([ttest_rel(losses[a], losses[b]).pvalue for a, b in pairs if a != b])
    means = numpy.array([difference.mean() for difference in differences])
    less = int(((p < 0.05) & (means < 0)).sum())
    more = int(((p < 0.05) & (means > 0)).sum())
    over_all = numpy.mean(differences, axis=0)
    error = over_all.std(ddof=1) / len(over_all) ** 0.5
    print(
        f"{title}: {len(pairs)} pairs, {equal} the same; less loss in {less}, more in {more}, "
        f"not told apart in {len(pairs) - equal - less - more}; "
        f"mean difference {over_all.mean():+.4f} ± {error:.4f}, "
        f"from {means.min():+.4f} to {means.max():+.4f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("known", help="a table of all losses, or a store")
    parser.add_argument("--data", default="data/reference/search.bin")
    parser.add_argument("--widths", default="64,128,256,512")
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    arguments = parser.parse_args()
    choices = [int(width) for width in arguments.widths.split(",")]
    from_file = arguments.known.endswith(".npy")
    known = (
        from_table(arguments.known, choices)
        if from_file
        else from_store(arguments.known)
    )
    claims = {
        "least slope": least_slope(choices),
        "trained granularities": [(width,) * LAYERS for width in choices],
        "linear decay": linear_decay(choices),
    }
    turned = [(widths, widths[::-1]) for widths in increasing(choices)]
    nearest = {
        title: [(widths, known.best_at(sum(widths))) for widths in lists]
        for title, lists in claims.items()
    }
    pairs = turned + [pair for several in nearest.values() for pair in several]
    losses = score(
        arguments, dict.fromkeys(widths for pair in pairs for widths in pair)
    )
    worst = known.worst_difference(losses)
    if worst > 1e-4:
        raise SystemExit(
            f"{arguments.known} is of another model or data: off by {worst:.1e}"
        )
    compare("increasing, to the same widths decreasing", turned, losses)
    for title, several in nearest.items():
        share = known.share(claims[title], losses)
        print(f"{title}: {share:.4f} of the hypervolume")
        compare(f"{title}, to the front at the same cost or less", several, losses)


if __name__ == "__main__":
    main()
