"""kill -9 at random moments of a search, of its confirmation and of an export.

    .venv/bin/python tests/end_to_end/kill_loop.py [--kills 30] [--seed 1] [PART...]

Runs the built program on the bundled model. After every kill the store must be sound, must hold
every record that another reader saw before the kill, and no export may be seen under its name
unless it is whole. Resumed to its end, each search must give the records and the front of one that
was never killed. Prints one line per part; exits 1 at the first thing that does not hold. Takes
some minutes: the test suite has a short form of it (kill_test.cpp).
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(
    os.environ.get("MIXNMATCH", ROOT / "build/release/bin/mixnmatch")
)
MODEL = ROOT / "data/reference"
BATCH = 16


def fail(what):
    sys.exit(f"kill_loop: {what}")


def run(*arguments):
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        fail(f"{' '.join(map(str, arguments))}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def kill_after(seconds, *arguments, watch=lambda: None):
    """Whether it was killed, rather than done before; calls watch() until the last moment."""
    program = subprocess.Popen(
        [PROGRAM, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and program.poll() is None:
        watch()
        time.sleep(min(left, 0.01))
    program.send_signal(signal.SIGKILL)
    errors = program.communicate()[1].decode()
    if program.returncode not in (0, -signal.SIGKILL):
        fail(f"{' '.join(map(str, arguments))}: exit {program.returncode}: {errors}")
    return program.returncode == -signal.SIGKILL


class Store:
    def __init__(self, path):
        self.path = path
        self.seen = 0  # the most records that a reader saw

    def query(self, sql):
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=30)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def made(self):
        """Whether the schema is there: it appears in one transaction."""
        return (
            self.path.exists()
            and self.query("select count(*) from sqlite_schema")[0][0] > 0
        )

    def watch(self):
        if self.made():
            self.seen = max(self.seen, self.query("select count(*) from record")[0][0])

    def check(self):
        if not self.made():
            return
        if (found := self.query("pragma integrity_check")) != [("ok",)]:
            fail(f"integrity_check: {found}")
        if found := self.query("pragma foreign_key_check"):
            fail(f"foreign_key_check: {found}")
        records = self.query("select count(*) from record")[0][0]
        if records < self.seen:
            fail(f"{self.seen} records were committed, {records} are left")
        for table in ("score", "example_scores"):
            orphans = (
                "select count(*) from record where id not in "
                f"(select record from {table} where metric = 'loss')"
            )
            if self.query(orphans) != [(0,)]:
                fail(f"a record is without its loss in {table}")
        for (run_id,) in self.query("select id from run"):
            positions = [
                p
                for (p,) in self.query(
                    f"select position from run_record where run = {run_id} order by position"
                )
            ]
            if positions != list(range(len(positions))):
                fail(f"run {run_id} has a gap")

    def unfinished(self):
        """A run to resume: none where the search and its confirmation are done."""
        if not self.made():
            return None
        runs = self.query("select id, command, status from run order by id")
        searches = [r for r in runs if r[1] == "search"]
        if not searches or any(r[1:] == ("confirm", "done") for r in runs):
            return None
        return searches[-1][0]

    def results(self):
        """What was measured and what is on fronts, without ids and the order of recording."""
        columns = (
            "metric, widths, status, value, standard_error, params, flops, hex(f32)"
        )
        return [
            sorted(
                self.query(
                    f"select part, {columns} from record "
                    "join data_use using (model, data) join score on score.record = record.id "
                    "join example_scores using (record, metric)"
                )
            ),
            sorted(
                self.query(
                    "select part, metric, cost_kind, widths, cost, value from pareto"
                )
            ),
        ]


def search_arguments(db, directory):
    return [
        *("search", MODEL, "--db", db, "--data", directory / "search.bin"),
        *("--confirm", directory / "confirm.bin", "--strategy", "evolution,random"),
        *("--budget", "1.2M", "--batch", BATCH, "--population", 32, "--seed", 7),
        *("--max-evaluations", 192, "--threads", 1),
    ]


def cut(name, begin, tokens, directory):
    data = (MODEL / name).read_bytes()
    (directory / name).write_bytes(data[begin : begin + tokens + 1])


def kill_searches(
    kills, generator, directory, what, search_tokens, confirm_tokens, first
):
    """`first`: seconds that no kill falls into, so that it falls into what comes after."""
    cut("search.bin", 0, search_tokens, directory)
    cut("confirm.bin", 0, confirm_tokens, directory)
    whole = Store(directory / f"{what}-whole.db")
    started = time.monotonic()
    run(*search_arguments(whole.path, directory))
    seconds = time.monotonic() - started
    expected = whole.results()

    killed = sessions = finished = 0
    store = Store(directory / f"{what}-0.db")
    while killed < kills:
        resumed = store.unfinished()
        if (
            resumed is None
            and store.made()
            and store.query("select count(*) from run")[0][0] > 0
        ):
            if store.results() != expected:
                fail(
                    f"{store.path.name} was killed, resumed and differs from {whole.path.name}"
                )
            finished += 1
            store = Store(directory / f"{what}-{finished}.db")
        arguments = (
            search_arguments(store.path, directory)
            if resumed is None
            else ["search", "--db", store.path, "--resume", resumed, "--threads", 1]
        )
        moment = first + generator.uniform(0, max(seconds - first, 0.05) / 3)
        killed += kill_after(moment, *arguments, watch=store.watch)
        sessions += 1
        store.check()
    if (resumed := store.unfinished()) is not None:
        run("search", "--db", store.path, "--resume", resumed, "--threads", 1)
    elif not store.made() or store.query("select count(*) from run")[0][0] == 0:
        run(*search_arguments(store.path, directory))
    store.check()
    if store.results() != expected:
        fail(
            f"{store.path.name} was killed, resumed and differs from {whole.path.name}"
        )
    print(
        f"{what}: {killed} kills in {sessions} sessions, {finished + 1} searches finished: stores "
        f"sound, nothing committed was lost, {len(expected[0])} records and {len(expected[1])} "
        "front members as without a kill",
        flush=True,
    )


def kill_exports(kills, generator, directory):
    config = json.loads((MODEL / "config.json").read_text())
    large = {"hidden_size": 1024, "num_attention_heads": 8, "num_key_value_heads": 8}
    config.update(large, head_dim=128, intermediate_size=8192)
    config["matformer_granularities"] = [1024, 2048, 4096, 8192]
    (directory / "large.json").write_text(json.dumps(config))
    run("random", directory / "large.json", "--out", directory / "large")
    out = directory / "out"
    export = [
        "export",
        directory / "large",
        "--widths",
        4096,
        "--no-check",
        "--out",
        out,
    ]
    started = time.monotonic()
    run(*export)
    seconds = time.monotonic() - started
    expected = {f.name: f.read_bytes() for f in out.iterdir()}
    size = sum(map(len, expected.values()))
    shutil.rmtree(out)
    killed = seen = 0
    while killed < kills:
        killed += kill_after(generator.uniform(0, seconds), *export)
        if out.exists():
            seen += 1
            if {f.name: f.read_bytes() for f in out.iterdir()} != expected:
                fail("a partial export is seen under its name")
            shutil.rmtree(out)
    run(*export)
    if {f.name: f.read_bytes() for f in out.iterdir()} != expected:
        fail("the export after the kills differs")
    if left := [f.name for f in directory.iterdir() if f.name.startswith(".out")]:
        fail(f"left over: {left}")
    print(
        f"export of {size} bytes: {killed} kills, {seen} exports seen, all whole; nothing left"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30, help="of each part")
    parser.add_argument("--seed", type=int, default=1)
    parts = ("search", "confirm", "export")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; else all"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(parts):
        parser.error(f"no part is called {unknown}")
    chosen = arguments.parts or parts
    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        if "search" in chosen:
            kill_searches(
                arguments.kills, generator, directory, "search", 4096, 1024, 0
            )
        if "confirm" in chosen:
            kill_searches(
                arguments.kills, generator, directory, "confirm", 256, 65536, 1.0
            )
        if "export" in chosen:
            kill_exports(arguments.kills, generator, directory)


if __name__ == "__main__":
    main()
