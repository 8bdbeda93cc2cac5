"""GGUF exports of Mamba-2 as the gguf package reads them, against the Hugging Face export.

usage: mamba2_gguf_check.py ROOT

Every folder of ROOT is a case: `full` (a f32 Hugging Face export) and `gguf` (the same submodel).
Bytes come from the gguf package's own quantisation; names, shapes and transforms are those that
llama.cpp's mamba2 reads, as written down here. Exits with 1 if any case disagrees.
"""

import json

import gguf
import numpy as np
from cases import judge
from mamba2_names import gguf_name
from safetensors.numpy import load_file

TYPES = {0: "F32", 1: "F16", 7: "Q8_0", 32: "BF16"}
F32 = gguf.GGMLQuantizationType.F32


def converted(name, values, config):
    """What llama.cpp reads of a tensor: its values, and whether it takes them in f32 alone."""
    if name.endswith(".A_log"):
        return -np.exp(values.astype(np.float64)).astype(np.float32)[:, None], True
    if name.endswith(".D"):
        return values[:, None], True
    if name.endswith("conv1d.weight"):
        return values[:, 0, :], True
    if name.endswith("mixer.norm.weight"):
        return values.reshape(config["n_groups"], -1), True
    return values, values.ndim == 1


def check(case):
    config = json.loads((case / "full/config.json").read_text())
    stored = load_file(case / "full/model.safetensors")
    reader = gguf.GGUFReader(case / "gguf/model.gguf")

    def field(key):
        return reader.fields[key].contents()

    assert field("general.architecture") == "mamba2"
    layers, heads = config["num_hidden_layers"], config["num_heads"]
    expected = {
        "vocab_size": config["vocab_size"],
        "context_length": 2**20,
        "embedding_length": config["hidden_size"],
        "feed_forward_length": 0,
        "attention.head_count": 0,
        "block_count": layers,
        "attention.layer_norm_rms_epsilon": np.float32(config["layer_norm_epsilon"]),
        "ssm.conv_kernel": config["conv_kernel"],
        "ssm.inner_size": heads * config["head_dim"],
        "ssm.state_size": config["state_size"],
        "ssm.time_step_rank": heads,
        "ssm.group_count": config["n_groups"],
    }
    for key, value in expected.items():
        found = field(f"mamba2.{key}")
        assert found == value, (key, found, value)

    matrices = gguf.GGMLQuantizationType[TYPES[field("general.file_type")]]
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if not config["use_conv_bias"]:
        for i in range(layers):
            bias = tensors.pop(f"blk.{i}.ssm_conv1d.bias")
            assert not bias.data.any(), "a bias that is not there is not zero"
    for name, values in stored.items():
        tensor = tensors.pop(gguf_name(name))
        wanted, exact = converted(name, values, config)
        kind = F32 if exact else matrices
        assert tensor.tensor_type == kind, (name, tensor.tensor_type)
        assert list(tensor.shape) == list(reversed(wanted.shape)), (name, tensor.shape)
        data = gguf.quants.quantize(np.ascontiguousarray(wanted), kind)
        assert tensor.data.tobytes() == data.tobytes(), f"{name}: other bytes"
    assert not tensors, sorted(tensors)


if __name__ == "__main__":
    judge(check)
