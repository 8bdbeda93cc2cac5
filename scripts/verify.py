"""Asks a runtime whether it computes what an export's probe says: see scripts/verify.

A runtime is one function: the export's directory and token ids in, logits [tokens, vocab] out, in
float32. It goes into RUNTIMES with its name, and the Python package that has its version.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import safe_open

FORMAT = "mixnmatch-probe-2"

APPLICATION_ID = 0x6D6E6D73  # of a store: db/schema.sql


class Failure(Exception):
    """A sentence about one export."""


def attempt(what, action, *arguments):
    """The action's result, or a Failure: libraries raise of broken files whatever they like."""
    try:
        return action(*arguments)
    except Exception as error:
        raise Failure(f"{what}: {reason(error)}") from error


def reason(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return f"there is no {text}" if isinstance(error, KeyError) else text


class Probe:
    """What probe.safetensors holds: read_probe of export/probe.h, with the same demands."""

    def __init__(self, directory):
        path = directory / "probe.safetensors"
        if not path.is_file():
            raise ValueError("there is no such file")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"its format is {metadata.get('format')!r}, where {FORMAT!r} is known"
                )
            self.widths = metadata["widths"]
            self.tokens = [int(token) for token in metadata["tokens"].split(",")]
            self.artifact = metadata["artifact"]
            self.tolerance = float(metadata["tolerance"])
            self.operand_tolerance = float(metadata["operand_tolerance"])
            self.logits = file.get_tensor("logits")
        shape = self.logits.shape
        if len(shape) != 2 or shape[0] != len(self.tokens):
            raise ValueError(f"{len(self.tokens)} tokens with logits of shape {shape}")
        if self.logits.dtype != np.float32:
            raise ValueError(f"its logits are {self.logits.dtype}, not float32")
        for token in self.tokens:
            if not 0 <= token < shape[1]:
                raise ValueError(
                    f"token {token} is outside the vocabulary of {shape[1]}"
                )
        if not (self.widths + self.artifact).isprintable():
            raise ValueError("its metadata hold characters that steer a terminal")
        for bound in (self.tolerance, self.operand_tolerance):
            if not (np.isfinite(bound) and bound >= 0):
                raise ValueError(f"{bound} is no tolerance")


def read_probe(directory):
    return attempt("cannot read its probe.safetensors", Probe, directory)


def run_transformers(directory, tokens):
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    config = json.loads((directory / "config.json").read_text())
    model, loaded = transformers.AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=torch.float32,
        trust_remote_code="auto_map" in config,  # the bridge that the export carries
        local_files_only=True,
        output_loading_info=True,
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loaded.get(problem):
            raise ValueError(
                f"transformers reports {problem}: {sorted(loaded[problem])[:3]}"
            )
    with torch.inference_mode():
        return model.eval()(torch.tensor([tokens])).logits[0].numpy()


def run_llama_cpp(directory, tokens):
    """llama-cpp-python, with a cache in f32: scripts/llama-cpp installs it."""
    import llama_cpp

    model = llama_cpp.Llama(
        str(directory / "model.gguf"),
        n_ctx=len(tokens),
        n_gpu_layers=0,
        logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
        verbose=False,
    )
    model.eval(tokens)
    return np.array(model.scores[: len(tokens)])


def run_onnxruntime(directory, tokens):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it raises says the same
    session = onnxruntime.InferenceSession(
        directory / "scorer.onnx", options, providers=["CPUExecutionProvider"]
    )
    return session.run(["logits"], {"input_ids": np.array([tokens])})[0][0]


def run_onnxruntime_genai(directory, tokens):
    """The decoder with its cache: the first half of the tokens at once, then one after another."""
    import onnxruntime_genai as genai

    model = genai.Model(str(directory))
    settings = genai.GeneratorParams(model)
    settings.set_search_options(max_length=len(tokens) + 1)
    generator = genai.Generator(model, settings)
    half = (len(tokens) + 1) // 2
    logits = []
    for part in [tokens[:half], *([token] for token in tokens[half:])]:
        generator.append_tokens(np.array([part], dtype=np.int32))
        logits.extend(np.array(generator.get_output("logits"))[0])
    return np.array(logits, dtype=np.float32)


class Runtime(NamedTuple):
    run: Callable
    package: str
    # Whether it rounds to the type of the weights what it multiplies them with, or all it computes.
    rounds_operands: bool = False


RUNTIMES = {
    "transformers": Runtime(run_transformers, "transformers"),
    "llama.cpp": Runtime(run_llama_cpp, "llama-cpp-python", rounds_operands=True),
    "onnxruntime": Runtime(run_onnxruntime, "onnxruntime", rounds_operands=True),
    "onnxruntime-genai": Runtime(
        run_onnxruntime_genai, "onnxruntime-genai", rounds_operands=True
    ),
}


def run(name, directory, tokens):
    try:
        return np.asarray(RUNTIMES[name].run(directory, tokens), dtype=np.float64)
    except ModuleNotFoundError as error:
        installs = {"llama.cpp": "scripts/llama-cpp"}
        by = installs.get(name, "scripts/setup test")
        raise ValueError(f"{error}; {by} installs it") from error


def verify(name, directory):
    """Prints one line; returns what is recorded, by the columns of the store's table."""
    probe = read_probe(directory)
    logits = attempt(f"{name} failed", run, name, directory, probe.tokens)
    if logits.shape != probe.logits.shape:
        raise Failure(
            f"{name} failed: it gave logits of shape {logits.shape}, where the probe has"
            f" {probe.logits.shape}"
        )
    difference = np.abs(logits - probe.logits)
    difference[logits == probe.logits] = 0  # equal infinities
    difference[np.isnan(difference)] = np.inf
    position, word = np.unravel_index(difference.argmax(), difference.shape)
    worst = float(difference[position, word])
    runtime = RUNTIMES[name]
    tolerance = probe.operand_tolerance if runtime.rounds_operands else probe.tolerance
    agrees = worst <= tolerance
    print(
        f"{directory}: {name} {'agrees' if agrees else 'DISAGREES'}: worst difference"
        f" {worst:.3g} (token {position}, word {word}), tolerance {tolerance:.3g},"
        f" largest logit {np.abs(probe.logits).max():.3g}, widths {probe.widths}"
    )
    now = datetime.datetime.now(datetime.UTC)
    return {
        "artifact": probe.artifact,
        "runtime": name,
        "version": importlib.metadata.version(runtime.package),
        "worst": worst if np.isfinite(worst) else None,
        "tolerance": tolerance,
        "agrees": agrees,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "created": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def record_beside(directory, found):
    """Into verified.json: what each runtime said last."""
    path = directory / "verified.json"
    if path.exists() and not path.is_file():
        raise ValueError("it is not a file: remove it")
    known = json.loads(path.read_text()) if path.exists() else []
    if not isinstance(known, list) or not all(
        isinstance(one, dict) and {"artifact", "runtime"} <= one.keys() for one in known
    ):
        raise ValueError("it is not a list of answers as this writes them: remove it")
    known = [
        one
        for one in known
        if (one["artifact"], one["runtime"]) != (found["artifact"], found["runtime"])
    ]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps([*known, found], indent=1) + "\n")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def record_in_store(path, directory, found):
    """A row of the table verification, for the artifact of that fingerprint."""
    store = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=30)
    with store:  # one transaction
        if store.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
            raise ValueError(f"{path} is no store of mixnmatch")
        store.execute("PRAGMA foreign_keys = ON")
        # Of several exports of the same bytes the one that lies there, else the last.
        artifact = store.execute(
            "SELECT id FROM artifact WHERE fingerprint = ? ORDER BY path = ?, id",
            (found["artifact"], str(directory.resolve())),
        ).fetchall()
        if not artifact:
            raise ValueError(
                f"{path} has no artifact {found['artifact']}: export with --db records it"
            )
        row = {**found, "artifact": artifact[-1][0]}
        store.execute(
            f"INSERT INTO verification ({', '.join(row)})"
            f" VALUES ({', '.join('?' * len(row))})",
            tuple(row.values()),
        )
    store.close()


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/verify", description=__doc__.split("\n")[0]
    )
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("directory", nargs="+", type=Path)
    parser.add_argument(
        "--db", type=Path, help="the store that holds the export: recorded in it"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    agree = True
    for directory in arguments.directory:
        try:
            found = verify(arguments.runtime, directory)
            agree &= found["agrees"]
            if arguments.db:
                what = f"the answer is not recorded in {arguments.db}"
                attempt(what, record_in_store, arguments.db, directory, found)
            if os.access(directory, os.W_OK):
                what = "the answer is not recorded in verified.json"
                attempt(what, record_beside, directory, found)
        except Failure as failure:
            print(f"{directory}: {failure}", file=sys.stderr)
            agree = False
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
