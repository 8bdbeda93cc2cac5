"""GGUF exports as the gguf package reads them, against the Hugging Face export of the same widths.

usage: gguf_check.py ROOT

Every folder of ROOT is a case: `full` (a f32 Hugging Face export) and `gguf` (the same submodel).
Names come from the gguf package's own map, bytes from its own quantisation, the order of rotary
rows from this file. Prints one line per case; exits with 1 if any disagrees.
"""

import json
import math

import gguf
import numpy as np
from cases import judge
from safetensors.numpy import load_file

TYPES = {0: "F32", 1: "F16", 7: "Q8_0", 32: "BF16"}


def paired(rows, heads):
    """Halves of every head become neighbours."""
    shape = rows.shape
    return rows.reshape(heads, 2, -1, *shape[1:]).swapaxes(1, 2).reshape(shape)


def divisors(config):
    rope, size = config["rope_parameters"], config["head_dim"]
    if rope["rope_type"] != "llama3":
        return None
    old = rope["original_max_position_embeddings"]
    low, high, factor = (
        rope[k] for k in ("low_freq_factor", "high_freq_factor", "factor")
    )
    result = []
    for i in range(0, size, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / size)
        smooth = min(1, max(0, (old / wave - low) / (high - low)))
        result.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(result)


def check(case):
    config = json.loads((case / "full/config.json").read_text())
    stored = load_file(case / "full/model.safetensors")
    reader = gguf.GGUFReader(case / "gguf/model.gguf")

    def field(key):
        return reader.fields[key].contents()

    widths = config.get(
        "matformer_widths", [config["intermediate_size"]] * config["num_hidden_layers"]
    )
    mixed = len(set(widths)) > 1
    arch = field("general.architecture")
    assert arch == ("deci" if mixed else "llama"), arch
    each = (lambda v: [v] * len(widths)) if mixed else (lambda v: v)
    expected = {
        "vocab_size": config["vocab_size"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": len(widths),
        "feed_forward_length": widths if mixed else widths[0],
        "attention.head_count": each(config["num_attention_heads"]),
        "attention.head_count_kv": each(config["num_key_value_heads"]),
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
        "rope.dimension_count": config["head_dim"],
        "rope.freq_base": config["rope_theta"],
        "attention.layer_norm_rms_epsilon": np.float32(config["rms_norm_eps"]),
    }
    for key, value in expected.items():
        assert field(f"{arch}.{key}") == value, (key, field(f"{arch}.{key}"), value)

    architecture = gguf.MODEL_ARCH.DECI if mixed else gguf.MODEL_ARCH.LLAMA
    names = gguf.get_tensor_name_map(architecture, len(widths))
    matrices = gguf.GGMLQuantizationType[TYPES[field("general.file_type")]]
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    rope = tensors.pop("rope_freqs.weight", None)
    wanted = divisors(config)
    assert (rope is None) == (wanted is None)
    if rope is not None:
        assert np.allclose(rope.data, wanted, rtol=1e-5), (rope.data, wanted)
    for name, values in stored.items():
        tensor = tensors.pop(names.get_name(name, try_suffixes=(".weight", ".bias")))
        if ".q_proj." in name:
            values = paired(values, config["num_attention_heads"])
        if ".k_proj." in name:
            values = paired(values, config["num_key_value_heads"])
        kind = matrices if values.ndim > 1 else gguf.GGMLQuantizationType.F32
        assert tensor.tensor_type == kind, (name, tensor.tensor_type)
        assert list(tensor.shape) == list(reversed(values.shape)), (name, tensor.shape)
        data = gguf.quants.quantize(values, kind)
        assert tensor.data.tobytes() == data.tobytes(), f"{name}: other bytes"
    assert not tensors, sorted(tensors)

    tokens = config["vocab_size"]
    if tokens == 256:
        assert field("tokenizer.ggml.model") == "gpt2"
        assert len(field("tokenizer.ggml.tokens")) == tokens
        assert field("tokenizer.ggml.merges") == []
    else:
        assert field("tokenizer.ggml.model") == "no_vocab"


if __name__ == "__main__":
    judge(check)
