"""scripts/matvit.py on a made-up Flax train state, against a forward pass in Flax's own layout.

usage: matvit_check.py DIRECTORY

Writes a train state as Flax does (msgpack, arrays as extension 1), has it converted, and compares
transformers' logits with those of a forward pass over the Flax tree, written down here from Scenic's
model. Exits with 1 if they differ by more than f32's rounding.
"""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import ViTForImageClassification

D, HEADS, FF, LAYERS, CLASSES, PATCH, GRID = 24, 4, 48, 2, 5, 4, 3


def packed(value):
    """msgpack, of the kinds that a train state has."""
    if isinstance(value, dict):
        body = b"".join(packed(k) + packed(v) for k, v in value.items())
        return struct.pack(">BH", 0xDE, len(value)) + body
    if isinstance(value, str):
        text = value.encode()
        return struct.pack(">BB", 0xD9, len(text)) + text
    if isinstance(value, (list, tuple)):
        return bytes([0x90 | len(value)]) + b"".join(map(packed, value))
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    body = packed([list(value.shape), str(value.dtype), value.tobytes()])
    return struct.pack(">BIb", 0xC9, len(body), 1) + body


def made_up():
    random = np.random.default_rng(1)

    def tensor(*shape):
        return (random.standard_normal(shape) * 0.3).astype(np.float32)

    def dense(rows, *columns):
        return {"kernel": tensor(rows, *columns), "bias": tensor(*columns)}

    def norm():
        return {"scale": 1 + tensor(D), "bias": tensor(D)}

    def block():
        heads = {
            part: dense(D, HEADS, D // HEADS) for part in ("query", "key", "value")
        }
        heads["out"] = {"kernel": tensor(HEADS, D // HEADS, D), "bias": tensor(D)}
        return {
            "LayerNorm_0": norm(),
            "MultiHeadDotProductAttention_0": heads,
            "LayerNorm_1": norm(),
            "MlpBlock_0": {"Dense_0": dense(D, FF), "Dense_1": dense(FF, D)},
        }

    transformer = {f"encoderblock_{i}": block() for i in range(LAYERS)}
    transformer["posembed_input"] = {"pos_embedding": tensor(1, GRID * GRID + 1, D)}
    transformer["encoder_norm"] = norm()
    return {
        "embedding": {"kernel": tensor(PATCH, PATCH, 3, D), "bias": tensor(D)},
        "cls": tensor(1, 1, D),
        "Transformer": transformer,
        "output_projection": dense(D, CLASSES),
    }


def norm_of(x, node):
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-6).sqrt() * node["scale"] + node["bias"]


def forward(tree, images):
    """images [n, height, width, 3], as Flax has them; kernels are [in, out]."""
    n = len(images)
    cut = images.reshape(n, GRID, PATCH, GRID, PATCH, 3).permute(0, 1, 3, 2, 4, 5)
    kernel = tree["embedding"]["kernel"].reshape(-1, D)
    x = cut.reshape(n, GRID * GRID, -1) @ kernel + tree["embedding"]["bias"]
    x = torch.cat([tree["cls"].expand(n, -1, -1), x], 1)
    x = x + tree["Transformer"]["posembed_input"]["pos_embedding"]
    for i in range(LAYERS):
        node = tree["Transformer"][f"encoderblock_{i}"]
        attention = node["MultiHeadDotProductAttention_0"]
        h = norm_of(x, node["LayerNorm_0"])
        q, k, v = (
            torch.einsum("ntd,dhe->nhte", h, attention[part]["kernel"])
            + attention[part]["bias"][:, None]
            for part in ("query", "key", "value")
        )
        shares = (q @ k.transpose(2, 3) / (D // HEADS) ** 0.5).softmax(-1)
        mixed = torch.einsum("nhte,hed->ntd", shares @ v, attention["out"]["kernel"])
        x = x + mixed + attention["out"]["bias"]
        first, second = node["MlpBlock_0"]["Dense_0"], node["MlpBlock_0"]["Dense_1"]
        h = norm_of(x, node["LayerNorm_1"]) @ first["kernel"] + first["bias"]
        h = functional.gelu(h, approximate="tanh")
        x = x + h @ second["kernel"] + second["bias"]
    head = tree["output_projection"]
    first = norm_of(x, tree["Transformer"]["encoder_norm"])[:, 0]
    return first @ head["kernel"] + head["bias"]


def tensors(node):
    if isinstance(node, dict):
        return {name: tensors(child) for name, child in node.items()}
    return torch.from_numpy(node).double()


def main():
    scratch = Path(sys.argv[1])
    script = Path(__file__).parents[2] / "scripts/matvit.py"
    tree = made_up()
    state = {"step": 7, "optimizer": {"target": {"params": tree}}}
    (scratch / "state").write_bytes(packed(state))
    command = [sys.executable, script, scratch / "state", scratch / "model"]
    subprocess.run(command, check=True)
    model = ViTForImageClassification.from_pretrained(
        scratch / "model", dtype=torch.float64, attn_implementation="sdpa"
    ).eval()
    images = torch.randn(2, GRID * PATCH, GRID * PATCH, 3, dtype=torch.float64)
    with torch.no_grad():
        got = model(images.permute(0, 3, 1, 2)).logits
        expected = forward(tensors(tree), images)
    worst = (got - expected).abs().max().item() / expected.abs().max().item()
    if not worst < 1e-10:
        sys.exit(f"logits differ by {worst}")
    if model.config.matformer_granularities != [FF // 8, FF // 4, FF // 2, FF]:
        sys.exit(f"granularities are {model.config.matformer_granularities}")
    (scratch / "cut").write_bytes(packed(state)[:-100])
    (scratch / "none").write_bytes(packed({"step": 7}))
    (scratch / "odd").write_bytes(packed({"params": tree | {"embedding": tree["cls"]}}))
    for name, out, said in (
        ("cut", "refused", "cut off"),
        ("none", "refused", "no weights of a ViT"),
        ("odd", "refused", "cannot convert"),
        ("absent", "refused", "No such file"),
        ("state", "model", "it exists"),
    ):
        command = [sys.executable, script, scratch / name, scratch / out]
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        said_so = said in refused.stderr and "Traceback" not in refused.stderr
        if refused.returncode != 1 or not said_so:
            sys.exit(f"{name}: {refused.stderr}")
    if (scratch / "refused").exists():
        sys.exit("a refused state leaves something behind")


if __name__ == "__main__":
    main()
