"""MatViT's own checkpoints, which are Flax train states, as checkpoints in Hugging Face's layout.

usage: matvit.py STATE OUT [--classes FILE]

STATE is the msgpack file that Scenic's projects/matvit wrote with Flax. OUT gets config.json,
model.safetensors and preprocessor_config.json of a ViTForImageClassification, with the four widths
that MatViT trains: d_ff / 8, / 4, / 2 and all of it. mixnmatch opens that directory.

Only shapes and transposes change. The numbers of heads and layers, and all sizes, are the tensors'
own. Scenic's models have the class token first, tanh-GELU, and LayerNorms with epsilon 1e-6
(scenic/projects/matvit; Flax's defaults). B/16 sees 224 pixels, a centre crop of 256; L/16 sees 384,
squashed. Pixels are in [-1, 1].
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# Bytes that begin a value with its length, which is a number of struct's kind.
SIZED = {
    0xC4: ("B", "raw"),
    0xC5: ("H", "raw"),
    0xC6: ("I", "raw"),
    0xC7: ("B", "extension"),
    0xC8: ("H", "extension"),
    0xC9: ("I", "extension"),
    0xD9: ("B", "text"),
    0xDA: ("H", "text"),
    0xDB: ("I", "text"),
    0xDC: ("H", "array"),
    0xDD: ("I", "array"),
    0xDE: ("H", "table"),
    0xDF: ("I", "table"),
}
NUMBERS = dict(zip(range(0xCA, 0xD4), "fdBHIQbhiq"))
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class Reader:
    """Flax's serialization: msgpack, with arrays as extension type 1, (shape, type, bytes)."""

    def __init__(self, data):
        self.data = memoryview(data)
        self.at = 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise ValueError("the file is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, code):
        return struct.unpack(">" + code, self.take(struct.calcsize(code)))[0]

    def text(self, count):
        return bytes(self.take(count)).decode()

    def array(self, count):
        return [self.value() for _ in range(count)]

    def table(self, count):
        return {self.value(): self.value() for _ in range(count)}

    def extension(self, count):
        kind, content = self.number("b"), bytes(self.take(count))
        if kind != 1:
            raise ValueError(
                f"it holds an extension of type {kind}, expected arrays, 1"
            )
        shape, name, raw = Reader(content).value()
        if name == "bfloat16":
            wide = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16
            return wide.view(np.float32).reshape(shape)
        return np.frombuffer(raw, np.dtype(name)).reshape(shape)

    def raw(self, count):
        return bytes(self.take(count))

    def value(self):
        head = self.number("B")
        if head < 0x80:
            return head
        if head < 0x90:
            return self.table(head & 15)
        if head < 0xA0:
            return self.array(head & 15)
        if head < 0xC0:
            return self.text(head & 31)
        if head >= 0xE0:
            return head - 256
        if head in CONSTANTS:
            return CONSTANTS[head]
        if head in NUMBERS:
            return self.number(NUMBERS[head])
        if head in SIZED:
            code, kind = SIZED[head]
            return getattr(self, kind)(self.number(code))
        if 0xD4 <= head <= 0xD8:
            return self.extension(1 << (head - 0xD4))
        raise ValueError(f"byte {head:#x} begins no value of msgpack")


def parameters(state):
    """The tree of weights, wherever the train state has it."""
    for path in (("optimizer", "target"), ("params",), ("model_params",)):
        tree = state
        for key in path:
            tree = tree.get(key, {}) if isinstance(tree, dict) else {}
        tree = tree.get("params", tree)
        if "Transformer" in tree:
            return tree
    if isinstance(state, dict) and "Transformer" in state:
        return state
    found = ", ".join(map(str, state)) if isinstance(state, dict) else "no tree"
    raise ValueError(f"it has no weights of a ViT, but {found}")


def linear(node, out, name):
    out[name + ".weight"] = node["kernel"].T
    out[name + ".bias"] = node["bias"]


def norm(node, out, name):
    out[name + ".weight"] = node["scale"]
    out[name + ".bias"] = node["bias"]


def block(node, out, base):
    attention = node["MultiHeadDotProductAttention_0"]
    width = node["LayerNorm_0"]["scale"].shape[0]
    for part in ("query", "key", "value"):
        name = f"{base}.attention.attention.{part}"
        out[name + ".weight"] = attention[part]["kernel"].reshape(width, width).T
        out[name + ".bias"] = attention[part]["bias"].reshape(width)
    name = base + ".attention.output.dense"
    out[name + ".weight"] = attention["out"]["kernel"].reshape(width, width).T
    out[name + ".bias"] = attention["out"]["bias"]
    mlp = node["MlpBlock_0"]
    linear(mlp["Dense_0"], out, base + ".intermediate.dense")
    linear(mlp["Dense_1"], out, base + ".output.dense")
    norm(node["LayerNorm_0"], out, base + ".layernorm_before")
    norm(node["LayerNorm_1"], out, base + ".layernorm_after")


def converted(tree):
    """The tensors under Hugging Face's names, and the config that they make."""
    out = {}
    transformer = tree["Transformer"]
    kernel = tree["embedding"]["kernel"]
    projection = "vit.embeddings.patch_embeddings.projection"
    out[projection + ".weight"] = kernel.transpose(3, 2, 0, 1)
    out[projection + ".bias"] = tree["embedding"]["bias"]
    out["vit.embeddings.cls_token"] = tree["cls"]
    positions = transformer["posembed_input"]["pos_embedding"]
    out["vit.embeddings.position_embeddings"] = positions
    layers = sum(name.startswith("encoderblock_") for name in transformer)
    for i in range(layers):
        block(transformer[f"encoderblock_{i}"], out, f"vit.encoder.layer.{i}")
    norm(transformer["encoder_norm"], out, "vit.layernorm")
    linear(tree["output_projection"], out, "classifier")
    first = transformer["encoderblock_0"]
    side = round((positions.shape[1] - 1) ** 0.5) * kernel.shape[0]
    full = first["MlpBlock_0"]["Dense_0"]["kernel"].shape[1]
    query = first["MultiHeadDotProductAttention_0"]["query"]["kernel"]
    config = {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": kernel.shape[3],
        "image_size": side,
        "intermediate_size": full,
        "layer_norm_eps": 1e-6,
        "matformer_granularities": [full // 8, full // 4, full // 2, full],
        "num_attention_heads": query.shape[1],
        "num_channels": kernel.shape[2],
        "num_hidden_layers": layers,
        "patch_size": kernel.shape[0],
        "qkv_bias": True,
    }
    return out, config


def preprocessing(side):
    """Scenic's: B/16 crops 224 of 256, L/16 squashes to 384."""
    rule = {
        "image_processor_type": "ViTImageProcessor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": {"height": side, "width": side},
    }
    if side == 224:
        rule["image_processor_type"] = "BitImageProcessor"
        rule["size"] = {"shortest_edge": 256}
        rule["crop_size"] = {"height": side, "width": side}
    return rule


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("state", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--classes", type=Path, help="a name of a class on each line")
    arguments = parser.parse_args()
    if arguments.out.exists():
        raise SystemExit(f"cannot write {arguments.out}: it exists")
    try:
        state = Reader(arguments.state.read_bytes()).value()
        tensors, config = converted(parameters(state))
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        what = f"there is no {error}" if isinstance(error, KeyError) else error
        raise SystemExit(f"cannot convert {arguments.state}: {what}")
    classes = tensors["classifier.bias"].shape[0]
    names = [f"class {i}" for i in range(classes)]
    if arguments.classes:
        names = arguments.classes.read_text().splitlines()
    if len(names) != classes:
        raise SystemExit(
            f"{arguments.classes} names {len(names)} classes, and the model has {classes}"
        )
    config["id2label"] = {str(i): name for i, name in enumerate(names)}
    arguments.out.mkdir(parents=True)
    save_file(
        {k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()},
        arguments.out / "model.safetensors",
        {"format": "pt"},
    )
    rule = json.dumps(preprocessing(config["image_size"]), indent=2)
    (arguments.out / "preprocessor_config.json").write_text(rule)
    (arguments.out / "config.json").write_text(json.dumps(config, indent=2))


if __name__ == "__main__":
    main()
