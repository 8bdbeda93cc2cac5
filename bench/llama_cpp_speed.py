"""The speed of `mixnmatch generate` beside llama.cpp's, on the same weights in one run.

The model has random weights and four layers of Llama-3.2-1B's shape, and is exported to GGUF. A pair
is one run of each program: a prompt of 512 tokens, then 64 tokens one by one. llama.cpp keeps its
model between the pairs; ours loads it anew, which is not timed. The pairs alternate which program is
first. Printed are medians of the pairs' ratios, with their quartiles. Before that
both continue the prompt: in f32 they must generate the same tokens. In bf16 llama.cpp rounds what it
multiplies a matrix with, so there the logits of the probe are compared (scripts/verify).

    scripts/llama-cpp    # installs llama.cpp, checks exports in it, and runs this at the end
    .venv/bin/python bench/llama_cpp_speed.py --threads 2
"""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import llama_cpp
import numpy as np

SHAPE = "data/shapes/llama-3.2-1b.json"
WIDTH = "intermediate_size"
VOCABULARY = 128000  # of the tokens that a prompt is drawn from


def run(arguments, *command):
    words = [arguments.program, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def make(arguments, folder):
    """The model, and a GGUF file of it for each type."""
    model = folder / "model"
    if not model.exists():
        run(
            arguments, "random", SHAPE, "--layers", 4, "--dtype", "bf16", "--out", model
        )
    files = {}
    for dtype in arguments.dtypes:
        out = folder / dtype
        if not out.exists():
            export = ["export", model, "--format", "gguf", "--no-tokenizer"]
            export += ["--widths", json.loads(pathlib.Path(SHAPE).read_text())[WIDTH]]
            run(arguments, *export, "--dtype", dtype, "--out", out)
            subprocess.run(
                ["scripts/verify", "llama.cpp", str(out)], check=True, stdout=sys.stderr
            )
        files[dtype] = out / "model.gguf"
    return model, files


class Theirs:
    def __init__(self, file, arguments):
        with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
            self.model = llama_cpp.Llama(
                str(file),
                n_ctx=arguments.prompt + arguments.tokens + 1,
                n_batch=arguments.prompt,
                n_ubatch=arguments.prompt,
                n_threads=arguments.threads,
                n_threads_batch=arguments.threads,
                verbose=False,
            )

    def best(self):
        row = llama_cpp.llama_get_logits_ith(self.model.ctx, -1)
        return int(np.argmax(np.ctypeslib.as_array(row, (self.model.n_vocab(),))))

    def generate(self, prompt, count):
        """(tokens, seconds of the prompt, seconds of each token after the first)."""
        self.model.reset()
        begin = time.perf_counter()
        self.model.eval(prompt)
        tokens = [self.best()]
        prefilled = time.perf_counter()
        while len(tokens) < count:
            self.model.eval(tokens[-1:])
            tokens.append(self.best())
        end = time.perf_counter()
        return tokens, prefilled - begin, (end - prefilled) / (count - 1)


def ours(arguments, model, dtype, prompt, count):
    words = ["generate", model, "--dtype", dtype, "--threads", arguments.threads]
    words += ["--tokens", ",".join(map(str, prompt)), "--max-new-tokens", count]
    said = json.loads(run(arguments, *words, "--ignore-end", "--json"))
    return (
        said["tokens"],
        len(prompt) / said["prefill_tokens_per_second"],
        1 / said["decode_tokens_per_second"],
        said["share_of_bound"],
    )


def spread(values):
    low, _, high = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.3f} ({low:.3f} to {high:.3f})"


def measure(arguments, model, dtype, file):
    random = np.random.default_rng(1)
    prompt = random.integers(0, VOCABULARY, arguments.prompt).tolist()
    theirs = Theirs(file, arguments)
    count = arguments.tokens
    expected = theirs.generate(prompt, count)[0]
    tokens = ours(arguments, model, dtype, prompt, count)[0]
    same = next(
        (i for i, (a, b) in enumerate(zip(tokens, expected, strict=True)) if a != b),
        count,
    )
    if dtype == "f32" and same != count:
        sys.exit(f"f32: the texts differ at token {same}: nothing is timed")
    pairs = []
    for i in range(arguments.pairs):
        sides = {}
        for side in ("ours", "theirs") if i % 2 else ("theirs", "ours"):
            if side == "ours":
                sides[side] = ours(arguments, model, dtype, prompt, count)
            else:
                sides[side] = theirs.generate(prompt, count)
        pairs.append((sides["ours"], sides["theirs"]))
    mine, other = zip(*pairs, strict=True)
    print(f"{dtype}, {arguments.threads} threads, {arguments.pairs} pairs")
    print(f"  first tokens that both generate: {same} of {count}")
    print(
        f"  prompt of {arguments.prompt} tokens: {statistics.median(p[1] for p in mine):.2f} s, "
        f"llama.cpp {statistics.median(p[1] for p in other):.2f} s; "
        f"time over llama.cpp's {spread([a[1] / b[1] for a, b in pairs])}"
    )
    print(
        f"  tokens one by one: {1 / statistics.median(p[2] for p in mine):.2f} a second, "
        f"llama.cpp {1 / statistics.median(p[2] for p in other):.2f}; "
        f"speed over llama.cpp's {spread([b[2] / a[2] for a, b in pairs])}"
    )
    print(
        "  share of what reading the weights from memory allows: "
        f"{spread([p[3] for p in mine])}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--program", default="build/release/bin/mixnmatch")
    parser.add_argument("--dtypes", nargs="+", default=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512, help="tokens")
    parser.add_argument("--tokens", type=int, default=64, help="generated")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, help="keep the models here")
    arguments = parser.parse_args()
    if arguments.pairs < 2:
        parser.error("quartiles need two pairs or more")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        model, files = make(arguments, folder)
        for dtype, file in files.items():
            measure(arguments, model, dtype, file)


if __name__ == "__main__":
    main()
