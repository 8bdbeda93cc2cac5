"""What share of a table's hypervolume each strategy covers, beside pymoo's NSGA-II and a loop like
LINAS (Cummings et al. 2022): a predictor of the losses, NSGA-II on what it predicts, and the best of
that are measured, in turn. A table holds the losses of all 65,536 submodels of 8 layers of 4 widths.
Medians and worst over seeds, without a budget and under the three of tests/search/truth_test.cpp;
pymoo's population is the one of 16, 32, 64 and 128 whose median is best at each number of evaluations.
Draws docs/search.svg.

    python3 -m venv build/pymoo && build/pymoo/bin/pip install pymoo==0.6.2
    scripts/build search_bench
    build/pymoo/bin/python bench/search.py data/reference/truth.npy
"""

import argparse
import csv
import hashlib
import io
import itertools
import math
import pathlib
import statistics
import subprocess
import sys

import numpy
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

LAYERS, LEVELS = 8, 4
WIDTHS = numpy.array([64, 128, 256, 512])
BUDGETS = [8 * 96, 8 * 192, 8 * 384]
POPULATIONS = [16, 32, 64, 128]
LINAS_POPULATION, LINAS_GENERATIONS, LINAS_CROSSOVER, LINAS_PENALTY = 50, 40, 0.9, 1e-3
COLOURS = {
    "surrogate": "#b3261e",
    "evolution": "#2f7d4f",
    "pymoo NSGA-II": "#c08a1e",
    "knapsack": "#7a5195",
    "random": "#888888",
    "LINAS-like": "#4a6fa5",
}


def every_member():
    """[65536, 8] levels, the first layer most significant."""
    index = numpy.arange(LEVELS**LAYERS)
    return numpy.stack(
        [index // LEVELS ** (LAYERS - 1 - layer) % LEVELS for layer in range(LAYERS)], 1
    )


MEMBERS = every_member()
COSTS = WIDTHS[MEMBERS].sum(1)


def index_of(levels):
    return levels.astype(int) @ (LEVELS ** numpy.arange(LAYERS - 1, -1, -1))


def hypervolume(costs, losses, reference):
    area, best = 0.0, reference[1]
    for i in numpy.lexsort((losses, costs)):
        if losses[i] < best:
            area += (reference[0] - costs[i]) * (best - losses[i])
            best = losses[i]
    return area


class Truth:
    """The losses of what costs at most `budget`, and the hypervolume of all of it."""

    def __init__(self, losses, budget):
        self.losses, self.budget = losses, budget
        within = COSTS <= budget
        self.reference = COSTS[within].max(), losses[within].max()
        self.all = hypervolume(COSTS[within], losses[within], self.reference)

    def share(self, asked):
        asked = numpy.array([i for i in asked if COSTS[i] <= self.budget], dtype=int)
        found = hypervolume(COSTS[asked], self.losses[asked], self.reference)
        return found / self.all


class Measured(Problem):
    """The submodels of a truth, as pymoo asks for them. `asked`: each once, in order."""

    def __init__(self, truth):
        super().__init__(
            n_var=LAYERS, n_obj=2, n_ieq_constr=1, xl=0, xu=LEVELS - 1, vtype=int
        )
        self.truth, self.asked = truth, {}

    def _evaluate(self, x, out, *_, **__):
        index = index_of(x)
        self.asked |= dict.fromkeys(index.tolist())
        out["F"] = numpy.stack([COSTS[index], self.truth.losses[index]], 1)
        out["G"] = (COSTS[index] - self.truth.budget)[:, None]


def nsga2(population):
    return NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=SBX(prob=0.9, eta=3, vtype=float, repair=RoundingRepair()),
        mutation=PM(eta=3, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )


def ask_of_nsga2(truth, population, seed, count):
    """What pymoo asks, in order; a submodel that it asks twice costs nothing the second time."""
    problem = Measured(truth)
    run = nsga2(population)
    run.setup(problem, termination=("n_gen", 10**6), seed=seed)
    while run.has_next() and len(problem.asked) < count:
        if (run.n_iter or 0) > 4 * count:
            break
        run.next()
    return list(problem.asked)[:count]


def best_first(costs, losses):
    """Places of points, those of the first front first, and of one front the least crowded first."""
    order, left = [], numpy.lexsort((losses, costs))
    while len(left):
        lowest = numpy.minimum.accumulate(losses[left])
        first = numpy.ones(len(left), dtype=bool)
        first[1:] = losses[left][1:] < lowest[:-1]
        front = left[first]
        crowding = numpy.full(len(front), numpy.inf)
        for values in (costs[front], losses[front]):
            width = abs(values[-1] - values[0]) or 1.0
            crowding[1:-1] += abs(values[2:] - values[:-2]) / width
        order += front[numpy.argsort(-crowding, kind="stable")].tolist()
        left = left[~first]
    return order


def predicted_front(losses, within, random):
    """What NSGA-II finds on predicted losses, best first: binary tournaments, uniform crossover, and
    one layer in LAYERS that gets another width. As pymoo's, without its time for each generation: a
    run of LINAS has thousands."""
    members = random.choice(within, min(LINAS_POPULATION, len(within)), replace=False)
    members = members[best_first(COSTS[members].astype(float), losses[members])]
    for _ in range(LINAS_GENERATIONS):
        size = len(members)
        places = random.integers(size, size=(4, LINAS_POPULATION))
        mothers = MEMBERS[members[numpy.minimum(places[0], places[1])]]
        fathers = MEMBERS[members[numpy.minimum(places[2], places[3])]]
        crossed = random.random(LINAS_POPULATION) < LINAS_CROSSOVER
        taken = crossed[:, None] & (random.random(mothers.shape) < 0.5)
        children = numpy.where(taken, fathers, mothers)
        mutated = random.random(children.shape) < 1 / LAYERS
        children = numpy.where(
            mutated, random.integers(LEVELS, size=children.shape), children
        )
        asked = index_of(children)
        allowed = numpy.isin(asked, within)
        members = numpy.unique(numpy.concatenate([members, asked[allowed]]))
        order = best_first(COSTS[members].astype(float), losses[members])
        members = members[order[:LINAS_POPULATION]]
    return members.tolist()


def ridge(features, losses):
    """Weights of the losses' ridge regression, the first of them the constant."""
    weighed = features.T @ features
    weighed += LINAS_PENALTY * len(losses) * numpy.eye(len(weighed))
    return numpy.linalg.solve(weighed, features.T @ losses)


def ask_of_linas(truth, seed, count, population):
    """Of each round the best that the predictor's NSGA-II found and that were not yet measured."""
    random = numpy.random.default_rng(seed)
    features = numpy.concatenate(
        [numpy.ones((len(MEMBERS), 1))]
        + [MEMBERS == level for level in range(1, LEVELS)],
        axis=1,
    ).astype(float)
    within = numpy.flatnonzero(COSTS <= truth.budget)
    asked = random.choice(within, min(population, len(within)), replace=False).tolist()
    while len(asked) < count:
        losses = truth.losses[asked]
        centre, scale = losses.mean(), losses.std() or 1.0
        weights = ridge(features[asked], (losses - centre) / scale)
        known = set(asked)
        found = predicted_front(features @ weights, within, random)
        fresh = [i for i in found if i not in known]
        asked += fresh[:population]
        if not fresh:
            left = numpy.setdiff1d(within, asked)
            if len(left) == 0:
                break
            asked += random.choice(
                left, min(population, len(left)), replace=False
            ).tolist()
    return asked[:count]


def shares_of(truths, evaluations, seeds, ask):
    """{evaluations: [shares]} of runs that ask(truth, seed, count) lists."""
    shares = {n: [] for n in evaluations}
    for truth in truths:
        for seed in range(1, seeds + 1):
            asked = ask(truth, seed, max(evaluations))
            for n in evaluations:
                shares[n].append(truth.share(asked[:n]))
    return shares


def rows_of_nsga2(truths, evaluations, seeds):
    """[(evaluations, median, worst)] of pymoo, each of the population that is best there."""
    best = dict.fromkeys(evaluations, (0, 0))
    for population in POPULATIONS:
        shares = shares_of(
            truths,
            evaluations,
            seeds,
            lambda truth, seed, n, size=population: ask_of_nsga2(truth, size, seed, n),
        )
        for n, found in shares.items():
            best[n] = max(best[n], (statistics.median(found), min(found)))
    return [(n, *best[n]) for n in evaluations]


def rows_of_linas(truths, evaluations, seeds):
    """[(evaluations, median, worst)], in rounds of a fifth of the evaluations and at most 50."""
    sizes = {n: min(LINAS_POPULATION, max(8, n // 5)) for n in evaluations}
    rows = []
    for size in dict.fromkeys(sizes.values()):
        shares = shares_of(
            truths,
            [n for n in evaluations if sizes[n] == size],
            seeds,
            lambda truth, seed, n, size=size: ask_of_linas(truth, seed, n, size),
        )
        rows += [(n, statistics.median(f), min(f)) for n, f in shares.items()]
    return rows


def rows_of_ours(strategy, arguments, table, budgets):
    command = [arguments.program, table, "--seeds", str(arguments.seeds)]
    command += ["--strategies", strategy]
    command += ["--evaluations", ",".join(map(str, arguments.evaluations))]
    if budgets:
        command.append("--budgets")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [
        (int(row["evaluations"]), float(row["median"]), float(row["worst"]))
        for row in csv.DictReader(io.StringIO(done.stdout))
    ]


def rows_of(strategy, arguments, table, losses, budgets):
    truths = [Truth(losses, limit) for limit in (BUDGETS if budgets else [math.inf])]
    if strategy == "pymoo NSGA-II":
        return rows_of_nsga2(truths, arguments.evaluations, arguments.seeds)
    if strategy == "LINAS-like":
        return rows_of_linas(truths, arguments.evaluations, arguments.seeds)
    return rows_of_ours(strategy, arguments, table, budgets)


def digest_of(*paths):
    content = b"".join(pathlib.Path(path).read_bytes() for path in paths)
    return hashlib.sha256(content).hexdigest()


class Rows:
    """What was computed, in a CSV file, so that a run that was stopped goes on. Without a path
    nothing is kept. A row is of a table with that content. Refused is a file of other seeds or
    evaluations, or of another version of the program or of this script."""

    def __init__(self, path, arguments):
        self.path, self.rows = path, []
        made = f"{arguments.seeds} {arguments.evaluations} {digest_of(arguments.program, __file__)}"
        if path and path.exists():
            with path.open() as file:
                if file.readline().strip() != made:
                    sys.exit(
                        f"{path} is of other seeds, evaluations, or another program or script"
                    )
                self.rows = list(csv.DictReader(file))
        elif path:
            header = "table,within,strategy,evaluations,median,worst"
            path.write_text(f"{made}\n{header}\n")

    def of(self, *key):
        """[(evaluations, median, worst)]; none if it was not computed."""
        return [
            (int(row["evaluations"]), float(row["median"]), float(row["worst"]))
            for row in self.rows
            if (row["table"], row["within"], row["strategy"]) == key
        ]

    def add(self, key, computed):
        if not self.path:
            return
        with self.path.open("a") as file:
            for n, median, worst in computed:
                print(*key, n, f"{median:.5f}", f"{worst:.5f}", sep=",", file=file)


def panel(left, title, shares, evaluations):
    """Shares from 0.8 to 1 over evaluations, whose axis is logarithmic."""
    low, high = math.log(evaluations[0]), math.log(evaluations[-1])

    def x(n):
        return left + 50 + 420 * (math.log(n) - low) / ((high - low) or 1)

    def y(share):
        return 290 - 250 * (max(share, 0.8) - 0.8) / 0.2

    out = [
        f'<text x="{left + 260}" y="24" text-anchor="middle" font-weight="bold">{title}</text>',
        f'<path d="M{left + 50} 40V290H{left + 470}" fill="none" stroke="#555"/>',
    ]
    for share in (0.8, 0.85, 0.9, 0.95, 1):
        out.append(
            f'<text x="{left + 45}" y="{y(share) + 4:.0f}" text-anchor="end">{share:g}</text>'
        )
        out.append(
            f'<path d="M{left + 50} {y(share):.1f}H{left + 470}" stroke="#ddd"/>'
        )
    for n in evaluations:
        out.append(f'<text x="{x(n):.0f}" y="308" text-anchor="middle">{n}</text>')
    out.append(
        f'<text x="{left + 260}" y="326" text-anchor="middle">evaluations</text>'
    )
    for name, colour in COLOURS.items():
        line = [(x(n), y(median)) for n, median, _ in shares.get(name, [])]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in line)
        out.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        out += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>'
            for a, b in line
        ]
    return out


def draw(panels, evaluations):
    # The picture without its charts: whatever draws is code, and code here holds no address.
    frame = pathlib.Path(__file__).with_name("search_frame.svg").read_text()
    height = 345 * ((len(panels) + 1) // 2) + 25
    body = []
    for i, (title, shares) in enumerate(panels):
        body.append(f'<g transform="translate(0 {345 * (i // 2)})">')
        body += panel(10 + 490 * (i % 2), title, shares, evaluations) + ["</g>"]
    for i, name in enumerate(panels[0][1]):
        at = 60 + 150 * i
        body.append(
            f'<rect x="{at}" y="{height - 20}" width="14" height="4" fill="{COLOURS[name]}"/>'
        )
        body.append(f'<text x="{at + 20}" y="{height - 13}">{name}</text>')
    charts = "".join(f"  {element}\n" for element in body)
    return frame.replace("HEIGHT", str(height)).replace("</svg>", f"{charts}</svg>")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("tables", nargs="+")
    parser.add_argument("--program", default="build/release/bin/search_bench")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--evaluations",
        type=lambda text: [int(part) for part in text.split(",")],
        default=[25, 50, 100, 200, 346, 655, 1311],
    )
    parser.add_argument("--strategies", nargs="+", choices=COLOURS, default=COLOURS)
    parser.add_argument("--rows", type=pathlib.Path, help="kept here, to go on later")
    parser.add_argument("--svg", default="docs/search.svg")
    arguments = parser.parse_args()
    rows = Rows(arguments.rows, arguments)
    tables = {
        f"data/{pathlib.Path(path).parent.name}": path for path in arguments.tables
    }
    if len(tables) < len(arguments.tables):
        parser.error("two tables lie in folders of one name, by which rows are named")
    limits = ("no budget", "three budgets")
    shares = {}  # {(table, within): {strategy: [(evaluations, median, worst)]}}
    for strategy, name, within in itertools.product(
        arguments.strategies, tables, limits
    ):
        key = (name, within, strategy)
        kept = (digest_of(tables[name]), within, strategy)
        computed = rows.of(*kept)
        if not computed:
            losses = numpy.load(tables[name]).astype(float)
            budgets = within == "three budgets"
            computed = rows_of(strategy, arguments, tables[name], losses, budgets)
            rows.add(kept, computed)
        shares.setdefault((name, within), {})[strategy] = computed
        for n, median, worst in computed:
            print(*key, n, f"{median:.4f} ({worst:.4f})", sep=",", flush=True)
    panels = [(", ".join(key), found) for key, found in shares.items()]
    pathlib.Path(arguments.svg).write_text(draw(panels, arguments.evaluations))


if __name__ == "__main__":
    main()
