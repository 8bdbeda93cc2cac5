"""What MatFormer's and MatMamba's authors say of submodels, tested on a nested model of which all
layers have the same widths: widths that increase with depth beat the same widths decreasing; least
slope, the trained granularities and linear decay are near the front; mixtures of two neighbouring
granularities lie on the line that joins these two, or below it in loss. The front is that of the
losses of all submodels, or else that of a store, which a search made. Differences are paired over
sequences or images; of each claim's tests those count that Holm's correction leaves at 5 %. With
--confirm the line is judged on other data, too; the front's members stay those of the first.

    python3 -m venv build/claims && build/claims/bin/pip install numpy scipy
    build/claims/bin/python bench/claims.py data/reference data/reference/truth.npy
    build/claims/bin/python bench/claims.py data/matmamba data/matmamba/truth.npy
    build/claims/bin/python bench/claims.py data/vit data/vit/truth.npy --data data/vit/search --confirm data/vit/confirm --max-tokens 0
"""

import argparse
import itertools
import json
import pathlib
import sqlite3
import subprocess
import tempfile

import numpy
from scipy.stats import ttest_1samp


def text_of(widths):
    runs = [(width, len(list(same))) for width, same in itertools.groupby(widths)]
    return ",".join(
        f"{width}x{count}" if count > 1 else str(width) for width, count in runs
    )


def increasing(layers, choices):
    """All non-decreasing lists that are not uniform."""
    return [
        widths
        for widths in itertools.combinations_with_replacement(choices, layers)
        if widths[0] != widths[-1]
    ]


def least_slope(layers, choices):
    lists = [(choices[0],) * layers]
    for low, high in itertools.pairwise(choices):
        lists += [
            (low,) * (layers - wide) + (high,) * wide for wide in range(1, layers + 1)
        ]
    return lists


def linear_decay(layers, choices):
    """From each level one level down after every r layers."""
    lists = {}
    for top in range(len(choices)):
        for each in range(1, layers + 1):
            levels = [max(0, top - layer // each) for layer in range(layers)]
            lists[tuple(choices[level] for level in levels)] = None
    return list(lists)


def mixtures(layers, choices):
    """{how they are made: [(low, high, widths)]} of all mixtures of two neighbouring granularities.
    The two uniform submodels are the ends of a line."""
    found = {"narrower layers first": [], "wider layers first": [], "other orders": []}
    narrow_first, wide_first, other = found.values()
    for low, high in itertools.pairwise(choices):
        for widths in itertools.product((low, high), repeat=layers):
            if len(set(widths)) == 1:
                continue
            rising = sorted(widths)
            to = (
                narrow_first
                if list(widths) == rising
                else wide_first
                if list(widths) == rising[::-1]
                else other
            )
            to.append((low, high, widths))
    return found


def on_line(low, high, cost, layers, losses):
    """Losses of the line between two granularities, at a cost between theirs."""
    share = (cost / layers - low) / (high - low)
    return (1 - share) * losses[(low,) * layers] + share * losses[(high,) * layers]


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


def from_table(path, layers, choices):
    """The losses of all submodels, the first layer most significant, narrowest first."""
    return Known(list(itertools.product(choices, repeat=layers)), numpy.load(path))


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


def space_of(arguments):
    """Layers, and the granularities of each."""
    command = [arguments.program, "inspect", arguments.model, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    space = [layer["granularities"] for layer in json.loads(done.stdout)["width_space"]]
    if any(granularities != space[0] for granularities in space):
        raise SystemExit(f"{arguments.model}: not all layers have the same widths")
    return len(space), space[0]


def score(arguments, data, max_tokens, lists):
    """{widths: losses per sequence or image}, by the program."""
    texts = {text_of(widths): widths for widths in lists}
    with tempfile.TemporaryDirectory() as directory:
        store = pathlib.Path(directory, "claims.db")
        command = [arguments.program, "eval", arguments.model, "--data", data, "--csv"]
        command += ["--max-tokens", str(max_tokens), "--db", str(store)]
        command += ["--threads", str(arguments.threads)]
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


def judge(title, differences, equal=0):
    """Prints in how many of these differences of losses the first has less loss than the second,
    and in how many more; `equal` pairs are the same submodel."""
    total = len(differences) + equal
    if not differences:
        print(f"{title}: {total} pairs, all the same")
        return
    p = holm([ttest_1samp(difference, 0).pvalue for difference in differences])
    means = numpy.array([difference.mean() for difference in differences])
    less = int(((p < 0.05) & (means < 0)).sum())
    more = int(((p < 0.05) & (means > 0)).sum())
    over_all = numpy.mean(differences, axis=0)
    error = over_all.std(ddof=1) / len(over_all) ** 0.5
    print(
        f"{title}: {total} pairs, {equal} the same; less loss in {less}, more in {more}, "
        f"not told apart in {total - equal - less - more}; "
        f"mean difference {over_all.mean():+.4f} ± {error:.4f}, "
        f"from {means.min():+.4f} to {means.max():+.4f}",
        flush=True,
    )


def compare(title, pairs, losses):
    differences = [losses[a] - losses[b] for a, b in pairs if a != b]
    judge(title, differences, len(pairs) - len(differences))


def front_on_lines(layers, choices, known):
    """(low, high, cost, widths) of the front's member at the cost of each mixture, or less."""
    return [
        (low, high, cost, known.best_at(cost))
        for low, high in itertools.pairwise(choices)
        for cost in (low * (layers - k) + high * k for k in range(1, layers))
    ]


def judge_lines(layers, mixed, front, losses):
    for title, several in mixed.items():
        differences = [
            losses[widths] - on_line(low, high, sum(widths), layers, losses)
            for low, high, widths in several
        ]
        judge(f"mixtures, {title}, to the line", differences)
    differences = [
        losses[widths] - on_line(low, high, cost, layers, losses)
        for low, high, cost, widths in front
    ]
    judge("the front, to the line at the same cost", differences)


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("known", help="a table of all losses, or a store")
    parser.add_argument("--data", default="data/reference/search.bin")
    parser.add_argument("--confirm", help="other data, to judge the line by")
    parser.add_argument("--max-tokens", type=int, default=16384, help="of --data")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    return parser.parse_args()


def main():
    arguments = parsed()
    layers, choices = space_of(arguments)
    from_file = arguments.known.endswith(".npy")
    known = (
        from_table(arguments.known, layers, choices)
        if from_file
        else from_store(arguments.known)
    )
    claims = {
        "least slope": least_slope(layers, choices),
        "trained granularities": [(width,) * layers for width in choices],
        "linear decay": linear_decay(layers, choices),
    }
    turned = [(widths, widths[::-1]) for widths in increasing(layers, choices)]
    nearest = {
        title: [(widths, known.best_at(sum(widths))) for widths in lists]
        for title, lists in claims.items()
    }
    mixed = mixtures(layers, choices)
    front = front_on_lines(layers, choices, known)
    on_lines = [(width,) * layers for width in choices]
    on_lines += [widths for *_, widths in itertools.chain(*mixed.values(), front)]
    pairs = turned + [pair for several in nearest.values() for pair in several]
    lists = dict.fromkeys(on_lines + [widths for pair in pairs for widths in pair])
    losses = score(arguments, arguments.data, arguments.max_tokens, lists)
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
    judge_lines(layers, mixed, front, losses)
    if arguments.confirm:
        losses = score(arguments, arguments.confirm, 0, dict.fromkeys(on_lines))
        print(f"on {arguments.confirm}, {len(next(iter(losses.values())))} examples:")
        judge_lines(layers, mixed, front, losses)


if __name__ == "__main__":
    main()
