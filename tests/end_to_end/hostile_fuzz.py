"""Mutated files of every kind that the program reads, thousands of them.

    .venv/bin/python tests/end_to_end/hostile_fuzz.py [--cases 1000] [--seed 1] [PART...]

Each case damages one file of a small sound set (JSON values, bytes, lengths) and gives it to a
command. Whatever the damage, the program must end by itself within --seconds and --mebibytes, with
exit status 0, or 1 or 2 and a sentence on standard error that is not a library's, and must leave
nothing under the target's name, or beside it, of a command that failed. Prints one line per part,
and keeps the files of what does not hold under --keep; exits 1 if anything did not.
"""

import argparse
import collections
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from hostile_damage import (
    damage_row,
    damaged_bytes,
    damaged_safetensors,
    damaged_text,
)
from hostile_sound import PROGRAM, make_sound

Finding = collections.namedtuple("Finding", "what arguments status errors")

# What a sentence of ours never holds: names of libraries and their exceptions.
FOREIGN = re.compile(
    r"std::|json\.exception|bad_alloc|vector::|basic_string|c10|at::|Traceback|SQL logic|"
    r"stoi|stol|stod|terminate called|Assertion|map::at|length_error|bad optional"
)


def seconds_at_work(pid):
    """Of a program that was not waited for: user and system time."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Fuzzer:
    def __init__(self, directory, options):
        self.directory, self.options = directory, options
        self.findings, self.kinds = [], collections.Counter()
        self.refused = self.slowest = self.largest = 0

    def run(self, *arguments, may_leave=()):
        """One command on damaged files; what does not hold goes into `findings`."""
        arguments = [str(a) for a in arguments]
        before = set(os.listdir(self.directory))
        started = time.monotonic()
        with tempfile.TemporaryFile() as errors:
            program = subprocess.Popen(
                [PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd=self.directory,
            )
            status, usage = self.wait(program.pid, started)
            program.returncode = status
            errors.seek(0)
            text = errors.read()
        self.slowest = max(self.slowest, usage.ru_utime + usage.ru_stime)
        self.largest = max(self.largest, usage.ru_maxrss / 1024)
        new = set(os.listdir(self.directory)) - before
        what = None
        if status == -signal.SIGKILL:
            what = f"not done after {self.options.seconds} s"
        elif status < 0:
            what = f"ended by {signal.Signals(-status).name}"
        elif status not in (0, 1, 2):
            what = f"exit status {status}"
        elif usage.ru_maxrss > self.options.mebibytes * 1024:
            what = f"{usage.ru_maxrss // 1024} MiB"
        elif status != 0:
            self.refused += 1
            lines = text.decode("utf-8", "replace").splitlines()
            own = [line for line in lines if line.startswith("mixnmatch: ")]
            if len(own) != 1 or len(own[0]) < 30:
                what = "no sentence"
            elif FOREIGN.search(own[0]):
                what = "a library's words"
            elif len(own[0]) > 2000:
                what = f"a sentence of {len(own[0])} characters"
            elif any(ord(c) < 32 or ord(c) == 127 for c in own[0]):
                what = "control characters"
            elif left := [n for n in new if n not in may_leave]:
                what = f"left {left}"
            if own:
                self.kinds[re.sub(r"[0-9]+|'[^']*'", "#", own[0])[:60]] += 1
        if what:
            self.found(what, arguments, status, text)
        for name in new:
            path = self.directory / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return status

    def wait(self, pid, started):
        while True:
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status), usage
            # At work, or asleep for good: other programs' share of the processor does not count.
            late = time.monotonic() - started > 20 * self.options.seconds
            if late or seconds_at_work(pid) > self.options.seconds:
                os.kill(pid, signal.SIGKILL)
                _, status, usage = os.wait4(pid, 0)
                return os.waitstatus_to_exitcode(status), usage
            time.sleep(0.002)

    def found(self, what, arguments, status, text):
        finding = Finding(
            what, arguments, status, text[-600:].decode("utf-8", "replace")
        )
        same = [
            f
            for f in self.findings
            if (f.what, f.errors[:40]) == (what, finding.errors[:40])
        ]
        self.findings.append(finding)
        if len(same) < 3:
            print(
                f"  {what}: {' '.join(arguments)[:300]}\n    {finding.errors[:600]}",
                flush=True,
            )
            if self.options.keep:
                kept = self.options.keep / f"{len(self.findings)}"
                shutil.copytree(self.directory, kept, dirs_exist_ok=True)
                (kept / "arguments").write_text("\n".join(arguments))


OUT = ("--widths", "16", "--out", "out")
FORMATS = ("huggingface", "gguf", "onnx")
MODELS = ("llama", "mamba2", "gemma3n")


def generate(fuzz, *prompt):
    fuzz.run("generate", "m", *prompt, "--max-new-tokens", 2, "--threads", 1)


def export(fuzz, kind):
    fuzz.run("export", "m", *OUT, "--no-check", "--format", kind)


# Commands on a checkpoint that need no engine are cheap; one in four needs it.
def on_model(fuzz, generator):
    roll = generator.randrange(12)
    if roll == 0:
        fuzz.run("eval", "m", "--data", "search.bin", "--context", 16, "--threads", 1)
    elif roll == 1:
        generate(fuzz, "--tokens", "1,2,3")
    elif roll == 2:
        fuzz.run("export", "m", *OUT, "--threads", 1)
    elif roll <= 6:
        export(fuzz, generator.choice(FORMATS))
    elif roll == 7:
        fuzz.run("export", "m", "--widths", "16", "--explain")
    else:
        fuzz.run("inspect", "m")


def damage_one(sound, target, file, damage, generator):
    """A copy of the sound directory as `target`, one file of it damaged."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(sound, target)
    (target / file).write_bytes(damage((sound / file).read_bytes(), generator))


def part_safetensors(fuzz, sound, generator):
    model = generator.choice(MODELS)
    damage_one(
        sound / model,
        fuzz.directory / "m",
        "model.safetensors",
        damaged_safetensors,
        generator,
    )
    on_model(fuzz, generator)


def part_config(fuzz, sound, generator):
    model = generator.choice(MODELS)
    damage_one(
        sound / model, fuzz.directory / "m", "config.json", damaged_text, generator
    )
    roll = generator.randrange(6)
    if roll == 0:  # of a config alone nothing contradicts its numbers
        fuzz.run("inspect", "m/config.json")
    elif roll == 1:
        fuzz.run("export", "m/config.json", "--dry-run", "--widths", "16")
    elif roll == 2:
        fuzz.run("random", "m/config.json", "--out", "out", "--dry-run")
    else:
        on_model(fuzz, generator)


def part_index(fuzz, sound, generator):
    damage_one(
        sound / "sharded",
        fuzz.directory / "m",
        "model.safetensors.index.json",
        damaged_text,
        generator,
    )
    on_model(fuzz, generator)


def part_generation(fuzz, sound, generator):
    file = "generation_config.json"
    damage_one(sound / "llama", fuzz.directory / "m", file, damaged_text, generator)
    if generator.randrange(3) == 0:
        generate(fuzz, "--tokens", "1,2")
    else:
        export(fuzz, generator.choice(FORMATS))


def part_tokenizer(fuzz, sound, generator):
    file = generator.choice(["tokenizer.json"] * 5 + ["tokenizer_config.json"])
    damage_one(sound / "llama", fuzz.directory / "m", file, damaged_text, generator)
    if generator.randrange(4) == 0:
        generate(fuzz, "--prompt", "a b<\xe9")
    else:
        export(fuzz, "gguf")


def part_tokens(fuzz, sound, generator):
    name = generator.choice(
        ["search.bin", "u16.bin", "u32.bin", "tokens.npy", "wide.npy"]
    )
    data = damaged_bytes((sound / name).read_bytes(), generator, head=128)
    (fuzz.directory / name).write_bytes(data)
    search = ["search", "llama", "--db", "r.db", "--dry-run", "--context", 16]
    if generator.randrange(8) == 0:
        fuzz.run("eval", "llama", "--data", name, "--context", 16, "--threads", 1)
    else:
        fuzz.run(*search, "--data", name, "--confirm", "confirm.bin")


def part_artifact(fuzz, sound, generator):
    """Exports given back: their probe, their file, what is noted beside them."""
    kind = generator.choice(FORMATS)
    files = [f.name for f in (sound / f"as-{kind}").iterdir() if f.suffix != ".py"]
    file = generator.choice(files)
    text = file.endswith(".json")
    damage = damaged_text if text else damaged_bytes
    if file.endswith(".safetensors"):
        damage = damaged_safetensors
    damage_one(sound / f"as-{kind}", fuzz.directory / "m", file, damage, generator)
    if generator.randrange(5) == 0:
        generate(fuzz, "--tokens", "1,2")
    else:
        fuzz.run("inspect", "m", *generator.choice([[], ["--json"]]))


def part_database(fuzz, sound, generator):
    data = (sound / "results.db").read_bytes()
    if generator.randrange(2):
        data = damaged_bytes(data, generator, head=len(data))
        (fuzz.directory / "r.db").write_bytes(data)
    else:  # a sound file that lies: a hostile value in a random column
        (fuzz.directory / "r.db").write_bytes(data)
        damage_row(fuzz.directory / "r.db", generator)
    fuzz.run(
        *generator.choice(
            [
                ["pareto", "--db", "r.db"],
                ["pareto", "--db", "r.db", "--json"],
                ["pareto", "--db", "r.db", "--svg", "out"],
                ["runs", "--db", "r.db"],
                ["runs", "--db", "r.db", "--json"],
                ["compare", "1", "2", "--db", "r.db"],
                ["export", "llama", "--db", "r.db", "--best", *OUT[2:], "--no-check"],
                [
                    *["export", "llama", "--record", "1", "--db", "r.db"],
                    *OUT[2:],
                    "--no-check",
                ],
                ["search", "--db", "r.db", "--resume", "1", "--threads", "1"],
            ]
        ),
        may_leave=("r.db-wal", "r.db-shm", "r.db-journal"),
    )


PARTS = {
    "safetensors": part_safetensors,
    "config": part_config,
    "index": part_index,
    "generation": part_generation,
    "tokenizer": part_tokenizer,
    "tokens": part_tokens,
    "artifact": part_artifact,
    "database": part_database,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="of each part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=20, help="that a case may take"
    )
    parser.add_argument("--mebibytes", type=int, default=1024, help="likewise")
    parser.add_argument("--keep", type=pathlib.Path, help="where files of findings go")
    parser.add_argument("--kinds", action="store_true", help="also list the sentences")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; else all"
    )
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part is called {unknown}")
    # A core of a crash is of no use here.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    chosen = options.parts or list(PARTS)
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        sound = pathlib.Path(name) / "sound"
        sound.mkdir()
        make_sound(sound, chosen)
        for part in chosen:
            generator = random.Random(f"{options.seed} {part}")
            directory = pathlib.Path(name) / part
            directory.mkdir()
            for file in ("search.bin", "confirm.bin", "llama"):
                (directory / file).symlink_to(sound / file)
            fuzz = Fuzzer(directory, options)
            for _ in range(options.cases):
                if not (directory / "search.bin").is_symlink():
                    (directory / "search.bin").unlink()
                    (directory / "search.bin").symlink_to(sound / "search.bin")
                PARTS[part](fuzz, sound, generator)
            bad += len(fuzz.findings)
            print(
                f"{part}: {options.cases} cases, {fuzz.refused} refused in {len(fuzz.kinds)} kinds "
                f"of sentences, {len(fuzz.findings)} findings; at most {fuzz.slowest:.2f} s of "
                f"processor time and {fuzz.largest:.0f} MiB",
                flush=True,
            )
            if options.kinds:
                for kind, count in fuzz.kinds.most_common():
                    print(f"    {count:5} {kind}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
