"""How long `mixnmatch nest` takes, beside what it cannot do without.

    .venv/bin/python bench/nest.py calibration  # after scripts/smollm2 prepare
    .venv/bin/python bench/nest.py writing      # 26 GB of disk, and memory for the page cache

`calibration` times `nest` with each score beside one `eval` of the same tokens at full width: whole
commands, from start to exit, `nest` without a check of what it writes. Its last column is the
demand.

`writing` makes a checkpoint of random weights (`mixnmatch random`), then alternates, round by
round, `nest --score magnitude` and `cp` of a file as large as everything that it writes: once with
the source in the page cache and once without (bench/export.py, which also says how the disk comes
to rest). `magnitude` reads two thirds of the FFNs before the first byte is written. That part is
timed apart, from the start of the command to the moment at which the hidden directory beside the
target appears; the rest is the writing. What is written is the same in all rounds, or the bench
fails.
"""

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

from export import (
    ROOT,
    digest_of,
    in_turns,
    joined,
    random_model,
    read_through,
    remove,
    run,
)

DEMANDS = {
    "l2": 1.3,
    "channel": 1.3,
    "wanda": 1.3,
    "iterative": 3,
    "taylor": 4,
}  # times one forward pass


def calibration(arguments):
    common = ["--data", arguments.data, "--max-tokens", arguments.tokens]
    common += ["--context", 256, "--dtype", "f32", "--threads", arguments.threads]
    common = [str(word) for word in common]
    program, model = str(arguments.mixnmatch), str(arguments.model)
    read_through(Path(model) / "model.safetensors")
    forward, processors, _ = run([program, "eval", model, *common])
    print(
        f"one forward pass of {arguments.tokens} tokens: {forward:.1f} s,"
        f" processors' time {processors:.1f} s",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        target = Path(name) / "nested"
        for score in arguments.scores.split(","):
            command = [program, "nest", model, *common, "--score", score, "--no-check"]
            seconds, processors, resident = run([*command, "--out", str(target)])
            remove(target)
            print(
                f"{score}: {seconds:.1f} s, {seconds / forward:.2f} times,"
                f" processors' time {processors:.1f} s, peak memory {resident >> 20} MiB;"
                f" demanded {DEMANDS[score]}",
                flush=True,
            )


class FirstByte:
    """When the hidden directory beside the target last appeared, while a command runs. `nest` makes
    one for a moment before it measures, to see that it may."""

    def __init__(self, target):
        self.at, self._seen, self._over = None, False, threading.Event()
        self._pattern, self._place = f".{target.name}.partial-*[0-9]", target.parent
        self._watch = threading.Thread(target=self._look)

    def __enter__(self):
        self._watch.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._watch.join()

    def _look(self):
        while not self._over.wait(0.005):
            seen = any(self._place.glob(self._pattern))
            if seen and not self._seen:
                self.at = time.perf_counter()
            self._seen = seen


def rounds(arguments, commands, sources, size, digest, target, copy, cache):
    ratios, whole, peak = [], [], 0
    speeds = {"cp": [], "nest": []}
    for turn in range(arguments.rounds):
        seconds = {}
        for tool, command in in_turns(commands, sources, turn, cache):
            begin = time.perf_counter()
            with FirstByte(target) as first:
                seconds[tool], _, resident = run(command)
            if tool == "nest":
                peak = max(peak, resident)
                whole.append(seconds[tool])
                seconds[tool] -= first.at - begin
                if digest_of(target) != digest:
                    raise SystemExit("a repeated nest wrote other bytes")
            speeds[tool].append(size / 1e9 / seconds[tool])
            remove(target)
            remove(copy)
        ratios.append(seconds["cp"] / seconds["nest"])
    median = {tool: statistics.median(values) for tool, values in speeds.items()}
    print(
        f"{cache}: cp {median['cp']:.2f} GB/s; writing {median['nest']:.2f} GB/s,"
        f" {statistics.median(ratios):.2f} of cp ({min(ratios):.2f} to {max(ratios):.2f});"
        f" whole command {size / 1e9 / statistics.median(whole):.2f} GB/s,"
        f" {size / 1e9 / statistics.median(whole) / median['cp']:.2f} of cp;"
        f" peak memory {peak / 2**20:.0f} MiB",
        flush=True,
    )


def writing(arguments):
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        work = Path(name)
        model, target, copy = work / "model", work / "nested", work / "copy"
        random_model(arguments, model)
        nest = [arguments.mixnmatch, "nest", model, "--score", "magnitude"]
        nest = [str(word) for word in [*nest, "--out", target, "--no-check", "--force"]]
        run(nest)
        digest = digest_of(target)
        whole = work / "whole"
        size = joined(target, whole)
        remove(target)
        print(
            f"{arguments.layers} layers, {size / 1e9:.2f} GB; {arguments.rounds} rounds",
            flush=True,
        )
        sources = {"cp": [whole], "nest": list(model.iterdir())}
        commands = [("cp", ["cp", str(whole), str(copy)]), ("nest", nest)]
        for cache in arguments.caches.split(","):
            rounds(arguments, commands, sources, size, digest, target, copy, cache)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["calibration", "writing"])
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--mixnmatch", default=ROOT / "build/release/bin/mixnmatch")
    of = parser.add_argument_group("calibration")
    of.add_argument("--model", type=Path, default=ROOT / "out/smollm2/model")
    of.add_argument("--data", default=ROOT / "out/smollm2/calibration.npy")
    of.add_argument("--tokens", type=int, default=65536)
    of.add_argument("--threads", type=int, default=0)
    of.add_argument("--scores", default=",".join(DEMANDS))
    of = parser.add_argument_group("writing")
    of.add_argument("--config", default=ROOT / "data/shapes/llama-3.2-1b.json")
    of.add_argument("--layers", type=int, default=62)
    of.add_argument(
        "--shift", type=int, default=1000, help="as that of bench/export.py"
    )
    of.add_argument("--rounds", type=int, default=3)
    of.add_argument("--caches", default="cold,warm")
    arguments = parser.parse_args()
    {"calibration": calibration, "writing": writing}[arguments.what](arguments)


if __name__ == "__main__":
    main()
