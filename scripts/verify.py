"""Asks a runtime whether it computes what an export's probe says: see scripts/verify.

A runtime is one function: the export's directory and the probe's inputs in, logits out, in float32.
The inputs are a list of token ids, or images as an array [images, channels, height, width]. Logits
are [tokens, vocab] or [images, classes]. The function goes into RUNTIMES with its name, and the
Python package that has its version. It runs in a process of its own with limits of time and memory:
an export comes from a stranger, and some formats can say an endless computation in a few bytes.
"""

import argparse
import datetime
import functools
import importlib
import importlib.metadata
import inspect
import json
import math
import os
import platform
import re
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from carried_code import (
    auto_map_classes,
    foreign_libraries,
    foreign_python,
    read_config,
)
from printable import UNPRINTABLE, shown
from safetensors import safe_open
from verify_records import record_beside, record_in_store, require_size

FORMAT = "mixnmatch-probe-2"

LARGEST_PROBE = 64 << 20  # bytes of a file: the program writes at most 4 MiB of logits
MOST_LAYERS = 1024  # as the program reads

SECONDS = 600  # that a runtime may compute for one export, on every processor
PATIENCE = (
    10  # how many times as long it may take, if it waits or others compute meanwhile
)
MEMORY = 8 << 30  # bytes that it may have besides those for the weights
COPIES = (
    8  # of the export's bytes: a runtime may widen the weights, and lay them out again
)

MOST_SAID = 1 << 16  # bytes of what a runtime prints that are passed on
LONGEST_LINE = 1 << 12

# Calls that Python announces before it makes them: nothing here needs a network. scripts/verify
# takes it away from libraries, too, where it can.
NETWORK = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}


class Failure(Exception):
    """A sentence about one export."""


def refuse_network(event, arguments):
    if event in NETWORK:
        raise PermissionError(f"verify uses no network, and was made to: {event}")


def attempt(what, action, *arguments):
    """The action's result, or a Failure: libraries raise of broken files whatever they like."""
    try:
        return action(*arguments)
    except Exception as error:
        raise Failure(f"{what}: {reason(error)}") from error


def reason(error):
    text = shown(" ".join(str(error).split()) or type(error).__name__)
    return f"there is no {text}" if isinstance(error, KeyError) else text


class Probe:
    """What probe.safetensors holds: read_probe of export/probe.h, with the same demands."""

    def __init__(self, directory):
        path = directory / "probe.safetensors"
        if not path.is_file():
            raise ValueError("there is none, so this is no export with a probe")
        require_size(path, LARGEST_PROBE)
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"its format is {metadata.get('format')!r}, where {FORMAT!r} is known"
                )
            self.widths = metadata["widths"]
            if "tokens" in metadata:
                self.tokens = [int(token) for token in metadata["tokens"].split(",")]
                self.inputs = self.tokens
            else:
                self.tokens = []
                self.inputs = file.get_tensor("pixel_values")
            self.artifact = metadata["artifact"]
            self.tolerance = float(metadata["tolerance"])
            self.operand_tolerance = float(metadata["operand_tolerance"])
            self.logits = file.get_tensor("logits")
        shape = self.logits.shape
        if len(shape) != 2 or shape[0] != len(self.inputs):
            raise ValueError(f"{len(self.inputs)} inputs with logits of shape {shape}")
        if self.logits.dtype != np.float32:
            raise ValueError(f"its logits are {self.logits.dtype}, not float32")
        if not self.tokens and (
            self.inputs.ndim != 4 or self.inputs.dtype != np.float32
        ):
            raise ValueError(
                f"its pixel_values are {self.inputs.dtype} {self.inputs.shape}"
            )
        for token in self.tokens:
            if not 0 <= token < shape[1]:
                raise ValueError(
                    f"token {token} is outside the vocabulary of {shape[1]}"
                )
        if UNPRINTABLE.search(self.widths + self.artifact):
            raise ValueError("its metadata hold characters that steer a terminal")
        finite = np.abs(self.logits[np.isfinite(self.logits)])
        self.largest = float(finite.max(initial=0))
        for bound in (self.tolerance, self.operand_tolerance):
            if not is_tolerance(bound, self.largest):
                raise ValueError(
                    f"{bound} is no tolerance, where the largest logit is {self.largest:.3g}"
                )


def is_tolerance(bound, largest):
    """As export/probe.cpp has it."""
    if largest == 0:
        return bound == 0
    return 0 < bound <= largest * (1 + 1e-8)


def read_probe(directory):
    return attempt("cannot read its probe.safetensors", Probe, directory)


def are_images(inputs):
    return isinstance(inputs, np.ndarray)


def require_tokens(inputs):
    if are_images(inputs):
        raise ValueError("it runs language models, and the probe has images")


def require_few_layers(config, key=""):
    """An Error for a config of more layers than any model has: each takes time and memory."""
    if isinstance(config, dict):
        for inner_key, inner in config.items():
            require_few_layers(inner, str(inner_key))
    elif isinstance(config, int) and "layer" in key and config > MOST_LAYERS:
        raise ValueError(f"its config.json says {key} {config}, at most {MOST_LAYERS}")


def text_part(config):
    """What has transformers load the text model alone of one that also takes images or sound: the parts
    for these need packages of their own, and no probe asks them."""
    import transformers

    text = config.get("text_config")
    return {"config": transformers.AutoConfig.for_model(**text)} if text else {}


def run_transformers(directory, inputs):
    config = read_config(directory / "config.json")
    require_few_layers(config)
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if (directory / "adapter_config.json").exists():
        raise ValueError("it holds an adapter, which loads another model: remove it")
    classes = transformers.AutoModelForCausalLM
    if are_images(inputs):
        classes = transformers.AutoModelForImageClassification
    part = {} if are_images(inputs) else text_part(config)
    model, loaded = classes.from_pretrained(
        directory,
        dtype=torch.float32,
        # What require_trust let pass.
        trust_remote_code=bool(auto_map_classes(config)),
        local_files_only=True,
        use_safetensors=True,  # and no pickles
        attn_implementation="eager",  # and no kernels that a config names
        output_loading_info=True,
        **part,
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(loaded.get(problem) or [])
        if part and problem == "unexpected_keys":
            keys = [key for key in keys if "language_model" in str(key)]
        if keys:
            raise ValueError(f"transformers reports {problem}: {keys[:3]}")
    with torch.inference_mode():
        if are_images(inputs):
            takes = inspect.signature(model.forward).parameters
            resizing = {}
            if "mixnmatch_image_size" in config and "interpolate_pos_encoding" in takes:
                resizing["interpolate_pos_encoding"] = True
            return model.eval()(torch.from_numpy(inputs), **resizing).logits.numpy()
        return model.eval()(torch.tensor([inputs])).logits[0].numpy()


# What the program writes into model_args: others may name files, and timm opens pickles.
TIMM_ARGUMENTS = {
    "act_layer",
    "depth",
    "embed_dim",
    "img_size",
    "in_chans",
    "mlp_ratio",
    "num_classes",
    "num_heads",
    "patch_size",
    "qkv_bias",
}


def run_timm(directory, inputs):
    config = read_config(directory / "config.json")
    name, arguments = config.get("architecture"), config.get("model_args")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(  # noqa: TRY004
            "its config.json has no architecture and model_args, as --format timm writes them"
        )
    if not re.fullmatch(r"(vit|deit)_[a-z0-9_]+", name):
        raise ValueError(
            f"its architecture is {name!r}, which mixnmatch does not write"
        )
    if unknown := sorted(set(arguments) - TIMM_ARGUMENTS):
        raise ValueError(
            f"its model_args have {unknown}, which mixnmatch does not write"
        )
    require_few_layers({"layers": arguments.get("depth", 0)})
    if not are_images(inputs):
        raise ValueError("it runs classifiers of images, and the probe has tokens")
    import timm
    import torch
    from safetensors.torch import load_file

    model = timm.create_model(name, pretrained=False, **arguments)
    model.load_state_dict(load_file(directory / "model.safetensors"), strict=True)
    with torch.inference_mode():
        return model.float().eval()(torch.from_numpy(inputs)).numpy()


def run_llama_cpp(directory, tokens):
    """llama-cpp-python, with a cache in f32: scripts/llama-cpp installs it."""
    import llama_cpp

    require_tokens(tokens)
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


def run_onnxruntime(directory, inputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it raises says the same
    session = onnxruntime.InferenceSession(
        directory / "scorer.onnx", options, providers=["CPUExecutionProvider"]
    )
    if are_images(inputs):
        return session.run(["logits"], {"pixel_values": inputs})[0]
    return session.run(["logits"], {"input_ids": np.array([inputs])})[0][0]


def run_onnxruntime_genai(directory, tokens):
    """The decoder with its cache: the first half of the tokens at once, then one after another."""
    import onnxruntime_genai as genai

    require_tokens(tokens)
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


def runs_nothing(directory):
    return []


class Runtime(NamedTuple):
    run: Callable
    package: str
    # What of an export it would run as code that is not this program's, in words.
    foreign_code: Callable = runs_nothing
    # Whether it rounds to the type of the weights what it multiplies them with, or all it computes.
    rounds_operands: bool = False


RUNTIMES = {
    "transformers": Runtime(run_transformers, "transformers", foreign_python),
    "timm": Runtime(run_timm, "timm"),
    "llama.cpp": Runtime(run_llama_cpp, "llama-cpp-python", rounds_operands=True),
    "onnxruntime": Runtime(run_onnxruntime, "onnxruntime", rounds_operands=True),
    "onnxruntime-genai": Runtime(
        run_onnxruntime_genai,
        "onnxruntime-genai",
        foreign_libraries,
        rounds_operands=True,
    ),
}


def run(name, directory, inputs):
    try:
        return np.asarray(RUNTIMES[name].run(directory, inputs), dtype=np.float64)
    except ModuleNotFoundError as error:
        installs = {"llama.cpp": "scripts/llama-cpp"}
        by = installs.get(name, "scripts/setup test")
        raise ValueError(f"{error}; {by} installs it") from error


@functools.cache
def load(name):
    """Imports what the runtime needs, once for all exports, in the process that has no limits. What the
    first model that is opened imports and compiles is among it, so that every child finds it here."""
    modules = {
        "transformers": (
            "torch",
            "transformers.models.auto.modeling_auto",
            "transformers.modeling_utils",
            "transformers.modeling_layers",
            "transformers.masking_utils",
            "transformers.generation.utils",
            "transformers.integrations",
            "torch._dynamo",
        ),
        "timm": ("torch", "timm"),
        "llama.cpp": ("llama_cpp",),
        "onnxruntime": ("onnxruntime",),
        "onnxruntime-genai": ("onnxruntime_genai",),
    }
    try:
        for module in modules[name]:
            importlib.import_module(module)
        if name == "transformers":  # hundreds of expressions, which rename tensors
            mapping = importlib.import_module("transformers.conversion_mapping")
            mapping.get_checkpoint_conversion_mapping("")
    except (ImportError, AttributeError):
        pass  # run says so


def limit(directory, seconds):
    """Of this process: it ends when the time is over, and gets no more memory. What counts is its
    processor time, of all threads, since others may keep the processors busy."""
    held = sum(path.stat().st_size for path in directory.glob("*") if path.is_file())
    memory = MEMORY + COPIES * held
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or memory < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    computing = seconds * len(os.sched_getaffinity(0))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or computing < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (computing, hard))
    for ends in (signal.SIGXCPU, signal.SIGALRM):
        signal.signal(ends, signal.SIG_DFL)
    signal.alarm(PATIENCE * seconds)


def answer(name, directory, inputs, shape, seconds):
    """What `run` gives, as the bytes that are sent: a line of JSON, then logits of that shape."""
    try:
        limit(directory, seconds)
        logits = run(name, directory, inputs)
        head = {"shape": logits.shape}
    except Exception as error:  # noqa: BLE001
        head = {"error": reason(error)[:2000]}
    sound = head.get("shape") == shape
    return json.dumps(head).encode() + b"\n" + (logits.tobytes() if sound else b"")


def pass_on(reader):
    """Prints what comes from there line by line, as text of strangers. What is past MOST_SAID is
    read, so that who says it goes on, and left out."""
    left = MOST_SAID
    with open(reader, "rb") as said:
        while line := said.readline(LONGEST_LINE):
            if 0 < left <= len(line):
                print("verify: what it says after this is left out", file=sys.stderr)
            elif left > 0:
                text = line.decode("utf-8", "replace").rstrip("\n")
                print(shown(text), file=sys.stderr)
            left -= len(line)


def run_alone(name, directory, inputs, shape, seconds):
    """Logits of that shape, or a ValueError: by `run` in a process with limits. What that process
    prints is passed on."""
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    listener, speaker = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.close(listener)
            os.dup2(speaker, 1)
            os.dup2(speaker, 2)
            os.close(speaker)
            with open(writer, "wb") as out:
                out.write(answer(name, directory, inputs, shape, seconds))
        finally:
            os._exit(0)
    os.close(writer)
    os.close(speaker)
    # A process that outlives the child may keep its end open: nobody waits for it.
    listening = threading.Thread(target=pass_on, args=(listener,), daemon=True)
    listening.start()
    with open(reader, "rb") as sent:
        head = sent.readline(1 << 16)
        logits = sent.read(8 * math.prod(shape))
    _, status = os.waitpid(child, 0)
    listening.join(1)
    if os.WIFSIGNALED(status):
        ending = signal.Signals(os.WTERMSIG(status))
        if ending == signal.SIGXCPU:
            raise ValueError(
                f"it computed for more than {seconds} seconds on each processor and was stopped; "
                "--seconds allows more"
            )
        if ending == signal.SIGALRM:
            raise ValueError(
                f"it did not end within {PATIENCE * seconds} seconds and was stopped; "
                "--seconds allows more"
            )
        raise ValueError(f"it ended by {ending.name}")
    said = json.loads(head)
    if "error" in said:
        raise ValueError(said["error"])
    if tuple(said["shape"]) != shape:
        raise ValueError(
            f"it gave logits of shape {tuple(said['shape'])}, where the probe has {shape}"
        )
    return np.frombuffer(logits, dtype=np.float64).reshape(shape)


def require_trust(name, directory, trusted):
    """A Failure where the runtime would run what this program does not ship, unless `trusted`."""
    what = f"{name} is not asked"
    foreign = attempt(what, RUNTIMES[name].foreign_code, directory)
    if not foreign:
        return
    code = shown(", ".join(foreign[:5])) + (" and more" if len(foreign) > 5 else "")
    if not trusted:
        raise Failure(
            f"{what}: it would run {code} of this export, which is not what mixnmatch ships;"
            " read it, and give --trust to run it"
        )
    print(f"{shown(directory)}: {name} runs {code}, as --trust says", file=sys.stderr)


# What an export for a runtime holds.
HOLDS = {
    "transformers": "*.safetensors",
    "timm": "*.safetensors",
    "llama.cpp": "*.gguf",
    "onnxruntime": "*.onnx",
    "onnxruntime-genai": "*.onnx",
}


def require_format(name, directory):
    weights = [p for p in directory.glob("*") if p.name != "probe.safetensors"]
    if not any(path.match(HOLDS.get(name, "*.safetensors")) for path in weights):
        fit = [r for r in HOLDS if any(path.match(HOLDS[r]) for path in weights)]
        raise Failure(
            f"{name} does not read an export of this format"
            + (f"; scripts/verify {fit[0]} does" if fit else "")
        )


def verify(name, directory, trusted=False, seconds=SECONDS):
    """Prints one line; returns what is recorded, by the columns of the store's table."""
    if not directory.is_dir():
        raise Failure("there is no such directory")
    probe = read_probe(directory)
    runtime = RUNTIMES[name]
    tolerance = probe.operand_tolerance if runtime.rounds_operands else probe.tolerance
    if probe.largest > 0 and tolerance >= probe.largest * (1 - 1e-8):
        raise Failure(
            f"{name} is not asked: rounding alone moves the logits of this model by as much as they"
            f" are, {probe.largest:.3g}, so that none would tell whether it computes the same"
        )
    require_trust(name, directory, trusted)
    require_format(name, directory)
    load(name)
    asked = (name, directory, probe.inputs, probe.logits.shape, seconds)
    logits = attempt(f"{name} failed", run_alone, *asked)
    difference = np.abs(logits - probe.logits)
    difference[logits == probe.logits] = 0  # equal infinities
    difference[np.isnan(difference)] = np.inf
    position, word = np.unravel_index(difference.argmax(), difference.shape)
    worst = float(difference[position, word])
    names = ("image", "class") if are_images(probe.inputs) else ("token", "word")
    agrees = worst <= tolerance
    print(
        f"{shown(directory)}: {name} {'agrees' if agrees else 'DISAGREES'}: worst difference"
        f" {worst:.3g} ({names[0]} {position}, {names[1]} {word}), tolerance {tolerance:.3g},"
        f" largest logit {probe.largest:.3g}, widths {probe.widths}"
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


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/verify", description=__doc__.split("\n")[0]
    )
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("directory", nargs="+", type=Path)
    parser.add_argument(
        "--db", type=Path, help="the store that holds the export: recorded in it"
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run code that exports bring along, also where this program did not write it",
    )
    parser.add_argument(
        "--seconds",
        type=int,
        default=SECONDS,
        help="how long the runtime may compute for one export, on every processor (%(default)s)",
    )
    arguments = parser.parse_args()
    if arguments.seconds < 1:
        parser.error("--seconds is at least 1")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    with tempfile.TemporaryDirectory() as modules:
        # Where transformers puts copies of the code that it imports.
        os.environ["HF_MODULES_CACHE"] = modules
        sys.addaudithook(refuse_network)
        return verify_all(arguments)


def verify_all(arguments):
    agree = True
    for directory in arguments.directory:
        try:
            found = verify(
                arguments.runtime, directory, arguments.trust, arguments.seconds
            )
            agree &= found["agrees"]
            if arguments.db:
                what = f"the answer is not recorded in {arguments.db}"
                attempt(what, record_in_store, arguments.db, directory, found)
            if os.access(directory, os.W_OK):
                what = "the answer is not recorded in verified.json"
                attempt(what, record_beside, directory, found)
        except Failure as failure:
            print(f"{shown(directory)}: {failure}", file=sys.stderr)
            agree = False
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
