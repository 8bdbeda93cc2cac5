"""How fast `mixnmatch export` writes, beside `cp` of the same number of bytes.

Makes a nested checkpoint of random weights (`mixnmatch random`), then alternates, round by round,
the export at --widths and `cp` of a file as large as everything that it writes: once with the
source in the page cache and once without. The whole command is timed, from start to exit. Targets
are removed between rounds, and the disk is left to come to rest before each. What is exported is
the same, byte for byte, in all rounds, or the bench fails.

    .venv/bin/python bench/export.py    # six layers of a 70B model, 14.5 GB: 8.1 GB in two shards
    .venv/bin/python bench/export.py --config data/shapes/llama-3.2-1b.json --layers 24 --widths 4096

The first needs 40 GB of disk, and memory for the page cache to hold what it shall (20 GB).
"""

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = 1 << 20


def read_through(path):
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(BLOCK)
        while file.readinto(buffer):
            pass


def forget(path):
    """Takes a file that is on disk out of the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def shift(path, spaces):
    """Lets the tensors of a safetensors file begin that much later: spaces end its header."""
    shifted = path.with_suffix(".shifted")
    with open(path, "rb") as source, open(shifted, "wb") as file:
        length = int.from_bytes(source.read(8), "little")
        file.write((length + spaces).to_bytes(8, "little"))
        file.write(source.read(length) + b" " * spaces)
        shutil.copyfileobj(source, file, 16 * BLOCK)
    shifted.rename(path)


def digest_of(directory):
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        digest.update(path.name.encode())
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def run(command):
    """Seconds, seconds of processors' time and peak resident bytes of a command."""
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(
            f"{' '.join(map(str, command))} exited with {child.returncode}"
        )
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def random_model(arguments, folder):
    """A checkpoint of random weights, moved by --shift."""
    make = ["random", arguments.config, "--layers", arguments.layers, "--out", folder]
    run([str(word) for word in [arguments.mixnmatch, *make]])
    for path in folder.glob("*.safetensors") if arguments.shift else []:
        shift(path, arguments.shift)


def joined(folder, whole):
    """Its files as one; returns the size."""
    with open(whole, "wb") as file:
        for part in sorted(folder.iterdir()):
            with open(part, "rb") as source:
                shutil.copyfileobj(source, file)
    return whole.stat().st_size


def in_turns(commands, sources, turn, cache):
    """The commands of one round, in an order that alternates. Before each the disk comes to rest,
    and the page cache has the sources of it, if it is warm."""
    for tool, command in commands if turn % 2 == 0 else commands[::-1]:
        os.sync()
        for of_tool in sources.values():
            for source in of_tool:
                forget(source)
        if cache == "warm":
            for source in sources[tool]:
                read_through(source)
        yield tool, command


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default=ROOT / "data/shapes/llama-70b.json")
    parser.add_argument("--layers", default=6, type=int)
    parser.add_argument("--widths", default="7168")
    parser.add_argument(
        "--shift",
        type=int,
        default=1000,
        help="bytes by which the source's tensors miss the beginning of a page, as they do in"
        " most checkpoints; 0: they begin with one, as in those that mixnmatch writes",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--mixnmatch", default=ROOT / "build/release/bin/mixnmatch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        work = Path(name)
        model, target, copy = work / "model", work / "submodel", work / "copy"
        random_model(arguments, model)
        export = [arguments.mixnmatch, "export", model, "--widths", arguments.widths]
        export = [str(word) for word in [*export, "--out", target, "--no-check"]]
        run(export)
        digest = digest_of(target)
        whole = work / "whole"
        size = joined(target, whole)
        remove(target)
        read = sum(path.stat().st_size for path in model.iterdir())
        print(
            f"{arguments.layers} layers, {read / 1e9:.2f} GB, of which {size / 1e9:.2f} GB are"
            f" written; {arguments.rounds} rounds"
        )
        sources = {"cp": [whole], "export": list(model.iterdir())}
        commands = [("cp", ["cp", str(whole), str(copy)]), ("export", export)]
        for cache in ("cold", "warm"):
            ratios, peak = [], 0
            speeds, work = {"cp": [], "export": []}, {"cp": [], "export": []}
            for turn in range(arguments.rounds):
                seconds = {}
                for tool, command in in_turns(commands, sources, turn, cache):
                    seconds[tool], processors, resident = run(command)
                    work[tool].append(processors)
                    speeds[tool].append(size / 1e9 / seconds[tool])
                    if tool == "export":
                        peak = max(peak, resident)
                        if digest_of(target) != digest:
                            raise SystemExit("a repeated export wrote other bytes")
                    remove(target)
                    remove(copy)
                ratios.append(seconds["cp"] / seconds["export"])
            median = {
                tool: statistics.median(values) for tool, values in speeds.items()
            }
            spent = {tool: statistics.median(values) for tool, values in work.items()}
            print(
                f"{cache}: export {median['export']:.2f} GB/s, cp {median['cp']:.2f} GB/s,"
                f" ratio {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f}); processors' time"
                f" {spent['export']:.1f} s, cp {spent['cp']:.1f} s;"
                f" export's peak memory {peak / 2**20:.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
