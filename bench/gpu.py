"""What mixnmatch reaches on one NVIDIA GPU, beside what it should.

First the kernels' tests with the label gpu run, and the device's scores are held against the CPU's;
nothing is timed unless both pass. Then, row by row: the work, the floor that is demanded of it, what
was measured, and the ideal. Exit status 0 where every row was measured and reaches its floor,
1 otherwise.

--rehearse goes through all of it on the CPU, with small models, so that what a GPU is borrowed for
has run before: no figure of it counts, no floor is held, and exit status 0 says that every row was
measured.
"""

import argparse
import importlib.util
import itertools
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from gpu_sizes import Sizes

ROOT = pathlib.Path(__file__).resolve().parents[1]

# f32 sums in another order, of 8 layers; a wrong slice moves a loss by 1e-2 (bench/python_loop.py).
F32_TOLERANCE = 2e-5
# nats of a mean over thousands of tokens, between two bf16 implementations: each rounds a logit by
# 2^-8 of itself in its own way, and what is wrong moves a random model's loss by more than 0.1.
BF16_TOLERANCE = 2e-2


class NotMeasured(Exception):
    pass


def find_torch(rehearsal):
    if importlib.util.find_spec("torch") is None:
        raise SystemExit(
            f"bench/gpu: {sys.executable} has no PyTorch, whose CUDA libraries this needs: "
            "name a python3 that has it in PYTHON"
        )
    import torch

    if not rehearsal and not torch.cuda.is_available():
        raise SystemExit(
            "bench/gpu: there is no CUDA device here (torch.cuda.is_available() is false): "
            "nothing was measured"
        )
    return torch


def environment(torch):
    """Where our programs find the libraries of PyTorch and those that the pack brings."""
    site = pathlib.Path(torch.__file__).parent
    folders = [
        ROOT / "lib",
        site / "lib",
        *sorted((site.parent / "nvidia").glob("*/lib")),
    ]
    before = os.environ.get("LD_LIBRARY_PATH")
    paths = [str(f) for f in folders] + ([before] if before else [])
    return os.environ | {"LD_LIBRARY_PATH": ":".join(paths)}


class Busy:
    """While it lives: the share of time in which the device ran anything, as the driver samples it.
    What is left of 1 it waited for launches: what CUDA graphs or larger steps could save."""

    def __init__(self, bench):
        self.sampler = None
        if bench.sizes.device == "cpu":
            return
        uuid = bench.torch.cuda.get_device_properties(0).uuid
        command = ["nvidia-smi", f"--id=GPU-{uuid}", "--query-gpu=utilization.gpu"]
        command += ["--format=csv,noheader,nounits", "--loop-ms=100"]
        try:
            self.sampler = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.samples = []
        if self.sampler is None:
            return
        self.sampler.terminate()
        said, _ = self.sampler.communicate()
        # Cut short, and `[N/A]` where the driver does not tell.
        self.samples = [int(line) for line in said.split("\n")[:-1] if line.isdigit()]

    def text(self):
        if not self.samples:
            return "how busy the device was nvidia-smi did not tell"
        # Most samples are of what is timed, and not of loading before it.
        return f"the device was busy {statistics.median(self.samples)} % of the time"


class Bench:
    def __init__(self, torch, args, sizes, build, work):
        self.torch = torch
        self.sizes = sizes
        self.build = build
        self.work = work
        self.env = environment(torch)
        # A rehearsal ends when all of it has run: how long that takes is the machine's affair.
        self.end = None if args.rehearse else time.monotonic() + args.seconds
        self.rows = []

    def run(self, *command):
        self.empty_cache()  # the device is the program's
        left = None if self.end is None else self.end - time.monotonic()
        if left is not None and left <= 0:
            raise NotMeasured("no time was left")
        program = self.build / "bin" / command[0]
        try:
            done = subprocess.run(
                [program, *map(str, command[1:])],
                capture_output=True,
                text=True,
                env=self.env,
                timeout=left,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotMeasured("it took longer than the time that was left") from error
        except OSError as error:
            raise NotMeasured(f"{program}: {error.strerror}") from error
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
            raise NotMeasured(f"{command[0]} failed: {' '.join(said)}")
        return done.stdout

    def empty_cache(self):
        if self.sizes.device == "cuda":
            self.torch.cuda.empty_cache()

    def synchronize(self):
        if self.sizes.device == "cuda":
            self.torch.cuda.synchronize()

    def mixnmatch(self, *command):
        return json.loads(self.run("mixnmatch", *command, "--json"))

    def note(self, text):
        print(f"bench/gpu: {text}", file=sys.stderr, flush=True)

    def row(self, work, floor, measure):
        """measure() gives (number, what it is, the ideal); NotMeasured is a row as well."""
        start = time.monotonic()
        try:
            value, text, ideal = measure()
            reached = floor is None or value >= floor
        except NotMeasured as error:
            text, ideal, reached = f"not measured: {error}", "", False
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            # Such as a device out of memory: the other rows stand.
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            text, ideal, reached = f"not measured: {what}", "", False
        self.rows.append(
            (work, "" if floor is None else f"{floor:.2f}", text, ideal, reached)
        )
        self.note(f"{work}: {text} ({time.monotonic() - start:.0f} s)")

    def table(self):
        """Whether every row was measured, and, but in a rehearsal, reaches its floor."""
        head = ("work", "floor", "measured", "ideal", "reached")
        rehearsal = self.sizes.device == "cpu"
        said = {True: "yes", False: "NO"} if not rehearsal else {True: "-", False: "-"}
        rows = [(*row[:4], said[row[4]]) for row in self.rows]
        for row in (head, ("---",) * 5, *rows):
            print("| " + " | ".join(row) + " |")
        if rehearsal:
            return not any(row[2].startswith("not measured") for row in self.rows)
        return all(row[4] for row in self.rows)

    def seconds(self, work, rounds=None):
        times = []
        rounds = rounds or self.sizes.rounds
        work()
        for _ in range(rounds):
            self.synchronize()
            start = time.perf_counter()
            work()
            self.synchronize()
            times.append(time.perf_counter() - start)
        return statistics.median(times)


# ---- verification ----


def run_tests(bench):
    for test in bench.sizes.tests:
        rehearsal = bench.sizes.device == "cpu"
        if rehearsal and not (bench.build / "bin" / test[0]).exists():
            bench.note(f"{test[0]} is not in a pack")
            continue
        said = bench.run(*test)
        if "SKIPPED" in said:
            raise NotMeasured(f"{test[0]} skipped some of its tests")
        bench.note(f"{test[0]}: {said.strip().splitlines()[-1].strip()}")


def hold_against_the_cpu(bench):
    """Scores of the bundled model: alike, and so ranked within their paired errors."""
    model, data = ROOT / "data/reference", ROOT / "data/reference/search.bin"
    widths = ["64", "128", "256", "512", "64x4,512x4", "512x4,64x4", "128x4,256x4"]
    common = [
        "eval",
        model,
        *("--data", data, "--max-tokens", bench.sizes.held, "--consistency"),
        *(a for w in widths for a in ("--widths", w)),
    ]
    ours = bench.mixnmatch(*common, "--device", bench.sizes.device)
    theirs = bench.mixnmatch(*common, "--device", "cpu")
    for a, b in zip(ours, theirs, strict=True):
        for score in ("loss", "kl", "difference"):
            if a[score] is None and b[score] is None:
                continue
            if not abs(a[score] - b[score]) <= F32_TOLERANCE:
                raise NotMeasured(
                    f"{score} of {a['widths']} is {a[score]} on the device and {b[score]} on the CPU"
                )
    for (a, b), (c, d) in zip(
        itertools.combinations(ours, 2), itertools.combinations(theirs, 2), strict=True
    ):
        apart = c["loss"] - d["loss"]
        if abs(apart) > 4 * F32_TOLERANCE and (a["loss"] > b["loss"]) != (apart > 0):
            raise NotMeasured(f"{a['widths']} and {b['widths']} rank otherwise")
    bench.note(f"{len(widths)} submodels score on the device as they do on the CPU")


# ---- the rows ----


def make_model(bench, name, config):
    directory = bench.work / name
    path = bench.work / f"{name}.json"
    path.write_text(json.dumps(config))
    bench.run("mixnmatch", "random", path, "--out", directory, "--dtype", "bf16")
    return directory


class Monotone:
    """Llama-3.2-1B's shape, the 969 monotone submodels: ours, and a loop over transformers."""

    def __init__(self, bench, rate):
        self.bench, self.rate, self.sizes = bench, rate, bench.sizes
        self.data = ROOT / "data/reference/search.bin"
        shape = json.loads((ROOT / "data/shapes/llama-3.2-1b.json").read_text())
        self.config = shape | self.sizes.llama
        self.common = [
            *("--data", self.data, "--token-format", "bytes"),
            *("--context", self.sizes.context),
            *("--max-tokens", self.sizes.sequences * self.sizes.context),
            *("--device", self.sizes.device, "--dtype", "bf16"),
        ]
        self.directory = self.ours = None

    def share_of_product(self):
        self.directory = make_model(self.bench, "llama-1b", self.config)
        with Busy(self.bench) as busy:
            self.ours = self.bench.mixnmatch(
                "bench",
                self.directory,
                *self.common,
                "--set",
                "monotone",
                "--sample",
                4,
            )[0]
        rate = self.ours["plan_flops"] / self.ours["shared_seconds"]
        return (
            rate / self.rate,
            (
                f"{rate / self.rate:.3f} of a square product; {self.ours['shared_seconds']:.1f} s, "
                f"{rate / 1e12:.0f} TFLOP/s; {self.ours['speedup']:.2f} times faster than one by one; "
                f"{busy.text()}"
            ),
            f"1: {self.rate / 1e12:.0f} TFLOP/s; FLOP ratio {self.ours['plan_gain']:.2f}",
        )

    def loop(self, auto_model, sample):
        """Losses of the sample, the seconds they took, and the batch that is the fastest."""
        torch = self.bench.torch
        from torch.nn import functional

        model = auto_model.from_pretrained(self.directory, dtype=torch.bfloat16)
        model = model.to(self.sizes.device).eval()
        mlps = [layer.mlp for layer in model.model.layers]
        full = [
            (m.gate_proj.weight.data, m.up_proj.weight.data, m.down_proj.weight.data)
            for m in mlps
        ]
        raw = torch.frombuffer(bytearray(self.data.read_bytes()), dtype=torch.uint8)
        count = self.sizes.sequences * self.sizes.context
        there = raw[: count + 1].long().to(self.sizes.device)
        inputs = there[:-1].view(self.sizes.sequences, -1)
        targets = there[1:].view(self.sizes.sequences, -1)

        @torch.inference_mode()
        def loss(widths, batch):
            for m, (gate, up, down), width in zip(mlps, full, widths, strict=True):
                m.gate_proj.weight.data = gate[:width]
                m.up_proj.weight.data = up[:width]
                m.down_proj.weight.data = down[:, :width]
            total = 0.0
            for x, y in zip(inputs.split(batch), targets.split(batch), strict=True):
                logits = model(x, use_cache=False).logits
                total += functional.cross_entropy(
                    logits.flatten(0, 1).float(), y.flatten(), reduction="sum"
                ).item()
            return total / count

        times = {
            b: self.bench.seconds(lambda b=b: loss(sample[-1], b), 2) for b in (1, 2, 4)
        }
        batch = min(times, key=times.get)
        start = time.perf_counter()
        losses = [loss(widths, batch) for widths in sample]
        return losses, time.perf_counter() - start, batch

    def against_transformers(self):
        if self.ours is None:
            raise NotMeasured("the row before it was not")
        try:
            from transformers import AutoModelForCausalLM
        except ImportError as error:
            raise NotMeasured(f"no transformers here: {error}") from error

        levels = self.config["matformer_granularities"]
        layers = self.config["num_hidden_layers"]
        candidates = list(itertools.combinations_with_replacement(levels, layers))
        count = min(self.sizes.sample, len(candidates))
        sample = [
            candidates[i * (len(candidates) - 1) // (count - 1)] for i in range(count)
        ]
        losses, theirs, batch = self.loop(AutoModelForCausalLM, sample)
        theirs *= len(candidates) / len(sample)
        self.bench.empty_cache()

        few = sample[:: len(sample) // 4]
        text = [a for w in few for a in ("--widths", ",".join(map(str, w)))]
        scored = self.bench.mixnmatch("eval", self.directory, *self.common, *text)
        for a, b in zip(scored, losses[:: len(sample) // 4], strict=True):
            if not abs(a["loss"] - b) <= BF16_TOLERANCE:
                raise NotMeasured(
                    f"loss of {a['widths']}: {a['loss']}, transformers {b}"
                )
        ratio = theirs / self.ours["shared_seconds"]
        gain = self.ours["plan_gain"]
        return (
            ratio / gain,
            (
                f"{ratio:.2f} times faster, {ratio / gain:.2f} of the FLOP ratio ({len(sample)} timed, "
                f"batches of {batch})"
            ),
            f"FLOP ratio {gain:.2f}",
        )


def full_grid(bench):
    model, data = ROOT / "data/reference", ROOT / "data/reference/search.bin"
    common = ["bench", model, "--data", data, "--set", bench.sizes.grid]
    sample = min(8, bench.sizes.sample)
    there = ["--max-tokens", 1024, "--sample", sample, "--device", bench.sizes.device]
    with Busy(bench) as busy:
        ours = bench.mixnmatch(*common, *there)[0]
    # Two cores take minutes for as many tokens: what they do in a second is the same with fewer.
    here = ["--max-tokens", 256, "--sample", 2, "--threads", 2]
    theirs = bench.mixnmatch(*common, *here)[0]
    rates = [run["plan_flops"] / run["shared_seconds"] for run in (ours, theirs)]
    return (
        rates[0] / rates[1],
        (
            f"{rates[0] / rates[1]:.1f} times two cores: {ours['shared_seconds']:.2f} s for 1,024 "
            f"tokens, {theirs['shared_seconds']:.1f} s for 256; {busy.text()}"
        ),
        f"{ours['of_peak']:.3f} of an f32 product's rate",
    )


class Readouts:
    def __init__(self, bench):
        try:
            sizes = bench.sizes
            lines = bench.run(
                "gpu_readout", sizes.device, *sizes.vocabularies
            ).splitlines()
            self.of_vocab = {r["vocab"]: r for r in map(json.loads, lines)}
            self.why = ""
        except NotMeasured as error:
            self.of_vocab, self.why = {}, str(error)

    def share(self, vocab):
        if vocab not in self.of_vocab:
            raise NotMeasured(self.why)
        r = self.of_vocab[vocab]
        product = min(r["product_seconds"], r["product_in_tiles_seconds"])
        return (
            product / r["loss_seconds"],
            (
                f"{product / r['loss_seconds']:.3f} of the product alone "
                f"({r['flops'] / product / 1e12:.0f} TFLOP/s); with KL and agreement "
                f"{2 * product / r['compared_seconds']:.3f} of both products, "
                f"{product / r['kept_seconds']:.3f} of one where the reference's logits are kept"
            ),
            "1: the product alone",
        )

    def memory(self):
        if len(self.of_vocab) != 2:
            raise NotMeasured(self.why)
        small, large = (self.of_vocab[v] for v in sorted(self.of_vocab))
        ratio = small["compared_work_bytes"] / large["compared_work_bytes"]
        return (
            ratio,
            (
                f"{small['work_bytes'] / 2**20:.0f} MiB and {large['work_bytes'] / 2**20:.0f} MiB; "
                f"compared {small['compared_work_bytes'] / 2**20:.0f} MiB and "
                f"{large['compared_work_bytes'] / 2**20:.0f} MiB"
            ),
            "1: the same for both",
        )


def product_rate(bench):
    """FLOP/s of a square product of 8192 in bf16."""
    torch, n = bench.torch, bench.sizes.square
    a = torch.randn(n, n, device=bench.sizes.device, dtype=torch.bfloat16)
    c = torch.empty_like(a)
    seconds = bench.seconds(lambda: torch.mm(a, a, out=c))
    return 2 * n**3 / seconds


def copy_rate(bench):
    """Bytes/s of one large copy from pinned memory."""
    torch, there = bench.torch, bench.sizes.device
    pinned = there == "cuda"
    host = torch.empty(bench.sizes.copied, dtype=torch.uint8, pin_memory=pinned)
    device = torch.empty_like(host, device=there)
    return host.numel() / bench.seconds(lambda: device.copy_(host, True))


def streaming(bench, rate):
    bandwidth = copy_rate(bench)
    config = json.loads((ROOT / "data/shapes/llama-70b.json").read_text())
    # A slice: what belongs to no layer stays on the device and would only take time to write.
    config |= bench.sizes.large
    directory = make_model(bench, "llama-70b", config)
    d, ffn = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"] + 2 * config["num_key_value_heads"]
    q = config["num_attention_heads"] * config["head_dim"]
    layer = 2 * (3 * d * ffn + heads * config["head_dim"] * d + q * d + 2 * d)
    ours = bench.mixnmatch(
        *("bench", directory, "--data", ROOT / "data/reference/search.bin"),
        *("--token-format", "bytes"),
        *(
            *("--context", bench.sizes.context // 2),
            *("--max-tokens", bench.sizes.context),
            *("--device", bench.sizes.device, "--dtype", "bf16"),
        ),
        *("--stream", "--set", "uniform", "--sample", 2),
    )[0]
    copying = config["num_hidden_layers"] * layer / bandwidth
    computing = ours["plan_flops"] / rate
    ideal = max(copying, computing)
    what = "host to device" if copying >= computing else "a square product"
    return (
        ideal / ours["shared_seconds"],
        (
            f"{ideal / ours['shared_seconds']:.3f} of the ideal: {ours['shared_seconds']:.2f} s a pass "
            f"over {config['num_hidden_layers'] * layer / 1e9:.1f} GB"
        ),
        f"1: {what}, {bandwidth / 1e9:.1f} GB/s",
    )


def work_directory(chosen, room):
    """Where the random checkpoints go: host memory if it has so many bytes of room."""
    for place in (
        chosen,
        pathlib.Path("/dev/shm"),
        pathlib.Path(tempfile.gettempdir()),
    ):
        if place and place.is_dir() and shutil.disk_usage(place).free > room:
            return tempfile.TemporaryDirectory(prefix="mixnmatch-bench-", dir=place)
    raise SystemExit(
        f"bench/gpu: no directory with {room / 1e9:.1f} GB to spare: name one with --work"
    )


def main():
    parser = argparse.ArgumentParser(
        prog="bench/gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=480, help="at most (480)")
    parser.add_argument("--work", type=pathlib.Path, help="for some 10 GB of files")
    parser.add_argument(
        "--build",
        type=pathlib.Path,
        help="where bin/ and lib/ are (the pack, or build/cuda; build/release to rehearse)",
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="on the CPU, small: whether all of it runs, for no figures",
    )
    args = parser.parse_args()
    sizes = Sizes(args.rehearse)
    build = args.build
    if build is None and (ROOT / "bin" / "mixnmatch").exists():
        build = ROOT
    elif build is None:
        build = ROOT / "build" / ("release" if args.rehearse else "cuda")
    if not (build / "bin" / "mixnmatch").exists():
        raise SystemExit(
            f"bench/gpu: no program in {build}/bin: build the preset `cuda`, or unpack what "
            "scripts/gpu-pack makes and run this there"
        )
    # What the pack brings comes after what this Python has.
    sys.path.append(str(ROOT / "python"))
    torch = find_torch(args.rehearse)

    with work_directory(args.work, sizes.room) as work:
        bench = Bench(torch, args, sizes, build, pathlib.Path(work))
        try:
            run_tests(bench)
            hold_against_the_cpu(bench)
        except NotMeasured as error:
            raise SystemExit(f"bench/gpu: nothing was timed: {error}") from error
        rate = product_rate(bench)
        print(
            f"{'A rehearsal' if args.rehearse else torch.cuda.get_device_name()}, PyTorch "
            f"{torch.__version__}; a square product of {sizes.square} in bf16: "
            f"{rate / 1e12:.3g} TFLOP/s\n"
        )
        monotone, readouts = Monotone(bench, rate), Readouts(bench)
        bench.row(
            "Llama-3.2-1B shape, 969 monotone, sequences of 2,048, share of a square product",
            0.6,
            monotone.share_of_product,
        )
        bench.row(
            "the same one by one through transformers: times the FLOP ratio",
            1.5,
            monotone.against_transformers,
        )
        for vocab in sizes.vocabularies:
            bench.row(
                f"fused readout, vocabulary {vocab:,}, share of the product alone",
                0.7,
                lambda vocab=vocab: readouts.share(vocab),
            )
        bench.row("its work space, vocabulary 128k over 262k", 0.99, readouts.memory)
        bench.row(
            "70B shape, 4 layers, weights streamed from host memory, share of the ideal",
            0.8,
            lambda: streaming(bench, rate),
        )
        bench.row(
            "bundled model, full grid of 65,536, times two CPU cores",
            20,
            lambda: full_grid(bench),
        )
        return 0 if bench.table() else 1


if __name__ == "__main__":
    sys.exit(main())
