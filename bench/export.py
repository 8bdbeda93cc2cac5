"""How fast `mixnmatch export` writes, beside `cp` of the same number of bytes.

Makes a nested Llama checkpoint of random bf16 weights (1B-like layers, FFN 8192 of which half is
kept: a third of the bytes read lies in strided columns), then alternates, round by round, the export
and `cp` of a file as large as everything that it writes: once with both sources in the page cache
and once with neither. The whole command is timed, from start to exit. Targets are removed between
rounds, and the disk is left to come to rest before each.

    .venv/bin/python bench/export.py [--gigabytes 2.2] [--rounds 5] [--directory /var/tmp]
"""

import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
HIDDEN, FULL, KEPT, VOCABULARY = 2048, 8192, 4096, 128_256
HEADS, KV_HEADS = 32, 8
NORM = (HIDDEN,)
LAYER = {
    "input_layernorm": NORM,
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN * KV_HEADS // HEADS, HIDDEN),
    "self_attn.v_proj": (HIDDEN * KV_HEADS // HEADS, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "post_attention_layernorm": NORM,
    "mlp.gate_proj": (FULL, HIDDEN),
    "mlp.up_proj": (FULL, HIDDEN),
    "mlp.down_proj": (HIDDEN, FULL),
}


def bytes_of(shape):
    size = 2
    for n in shape:
        size *= n
    return size


def tensors(layers):
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        for name, shape in LAYER.items():
            yield f"model.layers.{layer}.{name}.weight", shape
    yield "model.norm.weight", NORM


def make_checkpoint(directory, layers):
    directory.mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": FULL,
        "matformer_granularities": [KEPT, FULL],
        "max_position_embeddings": 4096,
        "model_type": "llama",
        "num_attention_heads": HEADS,
        "num_hidden_layers": layers,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "vocab_size": VOCABULARY,
    }
    (directory / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in tensors(layers):
        begin, end = end, end + bytes_of(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # Random bytes, in blocks that repeat: no file system here compresses or finds duplicates.
    block = os.urandom(8 << 20)
    with open(directory / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, end, len(block)):
            file.write(block[: min(len(block), end - begin)])
        os.fsync(file.fileno())


def read_through(path):
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
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


def run(command):
    """Seconds and peak resident bytes of a command."""
    begin = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - begin
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(
            f"{' '.join(map(str, command))} exited with {child.returncode}"
        )
    return seconds, usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--gigabytes", type=float, default=2.2, help="to be written, about"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    parser.add_argument("--mixnmatch", default=ROOT / "build/release/bin/mixnmatch")
    arguments = parser.parse_args()
    kept = sum(bytes_of(shape) for shape in LAYER.values()) - 6 * HIDDEN * KEPT
    embedding = bytes_of((VOCABULARY, HIDDEN))
    layers = max(1, round((arguments.gigabytes * 1e9 - embedding) / kept))
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        work = Path(name)
        make_checkpoint(work / "model", layers)
        target, copy = work / "submodel", work / "copy"
        export = [arguments.mixnmatch, "export", work / "model", "--widths", KEPT]
        export = [str(word) for word in [*export, "--out", target, "--no-check"]]
        run(export)
        size = sum(file.stat().st_size for file in target.iterdir())
        whole = work / "whole"
        with open(whole, "wb") as file:
            for part in sorted(target.iterdir()):
                with open(part, "rb") as source:
                    shutil.copyfileobj(source, file)
        remove(target)
        sources = [whole, work / "model/model.safetensors"]
        print(
            f"{layers} layers, {size / 1e9:.2f} GB written, {arguments.rounds} rounds"
        )
        for cache in ("warm", "cold"):
            ratios, speeds, peak = [], {"cp": [], "export": []}, 0
            for turn in range(arguments.rounds):
                seconds = {}
                commands = [("cp", ["cp", str(whole), str(copy)]), ("export", export)]
                for tool, command in commands if turn % 2 == 0 else commands[::-1]:
                    os.sync()
                    for source in sources:
                        (read_through if cache == "warm" else forget)(source)
                    seconds[tool], resident = run(command)
                    speeds[tool].append(size / 1e9 / seconds[tool])
                    if tool == "export":
                        peak = max(peak, resident)
                    remove(target)
                    remove(copy)
                ratios.append(seconds["cp"] / seconds["export"])
            median = {
                tool: statistics.median(values) for tool, values in speeds.items()
            }
            print(
                f"{cache}: export {median['export']:.2f} GB/s, cp {median['cp']:.2f} GB/s,"
                f" ratio {statistics.median(ratios):.2f}"
                f" ({min(ratios):.2f} to {max(ratios):.2f}),"
                f" export's peak memory {peak / 2**20:.0f} MiB"
            )


if __name__ == "__main__":
    main()
