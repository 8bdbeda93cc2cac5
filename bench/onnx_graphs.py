"""How fast ONNX Runtime runs an export, beside the graph that PyTorch's exporter makes of it.

Exports the submodel twice, as `--format onnx` and as a Hugging Face directory, has torch.onnx.export
make a graph of the latter, and runs both graphs in one process with the same settings. First both
must give the logits of PyTorch itself; then they take turns, and the ratio of their times is printed
(ours over PyTorch's: below 1, ours is faster).

    .venv/bin/python bench/onnx_graphs.py [data/reference] [--widths 512x4,256x4] [--batch 1]
        [--tokens 256] [--threads 1] [--rounds 15]
"""

import argparse
import logging
import statistics
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import transformers

ROOT = Path(__file__).parent.parent


class Logits(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        return self.model(input_ids=input_ids, use_cache=False).logits


def export(arguments, name, work):
    command = [
        str(arguments.mixnmatch),
        *("export", str(arguments.checkpoint), "--widths", arguments.widths),
        *("--format", name, "--dtype", "f32", "--out", str(work / name), "--no-check"),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return work / name


def torch_graph(model, tokens, target):
    """The exporter's own defaults; batch and sequence are left open, as ours has them."""
    logging.disable(logging.WARNING)
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Logits(model).eval(),
            (tokens,),
            target,
            input_names=["input_ids"],
            output_names=["logits"],
            dynamo=True,
            dynamic_shapes={"input_ids": sizes},
            verbose=False,
        )
    return target


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "checkpoint", nargs="?", type=Path, default=ROOT / "data/reference"
    )
    parser.add_argument("--widths", default="512x4,256x4")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--mixnmatch", default=ROOT / "build/release/bin/mixnmatch")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        ours = export(arguments, "onnx", work)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            export(arguments, "huggingface", work),
            dtype=torch.float32,
            trust_remote_code=True,
        ).eval()
        shape = (arguments.batch, arguments.tokens)
        tokens = torch.randint(
            0,
            model.config.vocab_size,
            shape,
            generator=torch.Generator().manual_seed(1),
        )
        theirs = torch_graph(model, torch.zeros(2, 16, dtype=int), work / "torch.onnx")
        sessions = {
            "ours": session(ours / "scorer.onnx", arguments.threads),
            "torch": session(theirs, arguments.threads),
        }
        with torch.inference_mode():
            expected = model(input_ids=tokens, use_cache=False).logits.numpy()
        feed = {"input_ids": tokens.numpy()}
        # Sums in another order: u sqrt(n) (2 layers + 1) of the largest logit, as the probe has it.
        config = model.config
        longest = max(config.intermediate_size, config.hidden_size)
        limit = 2**-24 * longest**0.5 * (2 * config.num_hidden_layers + 1)
        limit *= np.abs(expected).max()
        for name, one in sessions.items():
            worst = np.abs(one.run(None, feed)[0] - expected).max()
            print(f"{name}: worst difference of a logit {worst:.2g}, limit {limit:.2g}")
            if not worst <= limit:
                raise SystemExit(f"the graph of {name} computes something else")
        seconds = {name: [] for name in sessions}
        for turn in range(arguments.rounds):
            order = list(sessions) if turn % 2 == 0 else list(sessions)[::-1]
            for name in order:
                begin = time.perf_counter()
                sessions[name].run(None, feed)
                seconds[name].append(time.perf_counter() - begin)
        ratios = [a / b for a, b in zip(seconds["ours"], seconds["torch"])]
        print(
            f"{arguments.widths}, {arguments.batch} x {arguments.tokens} tokens,"
            f" {arguments.threads} threads:"
            f" ours {statistics.median(seconds['ours']) * 1e3:.2f} ms,"
            f" torch {statistics.median(seconds['torch']) * 1e3:.2f} ms,"
            f" ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
