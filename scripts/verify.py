"""Asks a runtime whether it computes what an export's probe says: see scripts/verify.

A runtime is one function: the export's directory and token ids in, logits [tokens, vocab] out, in
float32. Its name goes into RUNTIMES.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

FORMAT = "mixnmatch-probe-1"

# What a broken export, or a runtime that cannot load a sound one, raises.
FAILURES = (ImportError, KeyError, OSError, RuntimeError, SafetensorError, ValueError)


class Probe:
    def __init__(self, directory):
        with safe_open(directory / "probe.safetensors", framework="numpy") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"the probe's format is {metadata.get('format')!r}, not {FORMAT!r}"
                )
            self.widths = metadata["widths"]
            self.tokens = [int(token) for token in metadata["tokens"].split(",")]
            self.tolerance = float(metadata["tolerance"])
            self.logits = file.get_tensor("logits")


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
    """llama-cpp-python, with a cache in f32: scripts/setup does not install it (see docs/formats.md)."""
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

    try:
        session = onnxruntime.InferenceSession(
            directory / "scorer.onnx", providers=["CPUExecutionProvider"]
        )
        return session.run(["logits"], {"input_ids": np.array([tokens])})[0][0]
    except Exception as error:  # its own errors have no other class in common
        raise RuntimeError(str(error)) from error


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


RUNTIMES = {
    "transformers": run_transformers,
    "llama.cpp": run_llama_cpp,
    "onnxruntime": run_onnxruntime,
    "onnxruntime-genai": run_onnxruntime_genai,
}


def verify(runtime, directory):
    """Prints one line; returns whether the runtime agrees with the probe."""
    probe = Probe(directory)
    logits = np.asarray(RUNTIMES[runtime](directory, probe.tokens), dtype=np.float64)
    if logits.shape != probe.logits.shape:
        raise ValueError(f"logits {logits.shape}, the probe has {probe.logits.shape}")
    difference = np.abs(logits - probe.logits)
    difference[logits == probe.logits] = 0  # equal infinities
    difference[np.isnan(difference)] = np.inf
    position, word = np.unravel_index(difference.argmax(), difference.shape)
    worst = difference[position, word]
    agrees = bool(worst <= probe.tolerance)
    print(
        f"{directory}: {runtime} {'agrees' if agrees else 'DISAGREES'}: worst difference"
        f" {worst:.3g} (token {position}, word {word}), tolerance {probe.tolerance:.3g},"
        f" largest logit {np.abs(probe.logits).max():.3g}, widths {probe.widths}"
    )
    return agrees


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/verify", description=__doc__.split("\n")[0]
    )
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("directory", nargs="+", type=Path)
    arguments = parser.parse_args()
    agree = True
    for directory in arguments.directory:
        try:
            agree &= verify(arguments.runtime, directory)
        except FAILURES as error:
            text = " ".join(str(error).split())
            print(f"{directory}: {arguments.runtime} failed: {text}", file=sys.stderr)
            agree = False
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
