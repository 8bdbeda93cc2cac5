"""Directories of timm's, and what an export of them at full width must be.

usage: timm_check.py make ROOT
       timm_check.py same ROOT

`make` writes ROOT/CASE/theirs, models with random weights as timm saves them for its hub. `same`
compares ROOT/CASE/ours with them: the tensors to the bit, the arguments, the names of the classes,
and the transforms of pictures. Both must compute the same in timm. Exits with 1 if anything differs.
"""

import json
import sys
from pathlib import Path

import timm
import torch
from cases import judge
from safetensors.torch import load_file
from timm.data import create_transform, resolve_data_config
from timm.models import save_for_hf

SIZES = {"embed_dim": 24, "depth": 3, "num_heads": 4, "mlp_ratio": 2, "num_classes": 4}
CASES = {
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 16},
    "vit_base_patch32_384": {"img_size": [32, 64], "qkv_bias": False},
    "deit_small_patch16_224": {"img_size": 16, "act_layer": "gelu_tanh", "in_chans": 1},
    "deit_tiny_distilled_patch16_224": {"img_size": 32},
}
NAMES = ["a", "b", "c", "d"]


def make(root):
    torch.manual_seed(3)
    for name, more in CASES.items():
        arguments = SIZES | more
        model = timm.create_model(name, pretrained=False, **arguments)
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        folder = root / name / "theirs"
        save_for_hf(
            model, folder, {"label_names": NAMES}, arguments, safe_serialization=True
        )


def loaded(folder):
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def transform(folder):
    config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    return repr(create_transform(**resolve_data_config(pretrained_cfg=config)))


@torch.inference_mode()
def check(case):
    theirs, ours = case / "theirs", case / "ours"
    expected = load_file(theirs / "model.safetensors")
    found = load_file(ours / "model.safetensors")
    if expected.keys() != found.keys():
        return f"other tensors: {sorted(expected.keys() ^ found.keys())}"
    for name, tensor in expected.items():
        if found[name].dtype != tensor.dtype or not torch.equal(found[name], tensor):
            return f"{name} is another"
    if transform(theirs) != transform(ours):
        return f"pictures: {transform(ours)}, and not {transform(theirs)}"
    config = json.loads((ours / "config.json").read_text())
    if config["label_names"] != NAMES:
        return f"label_names are {config['label_names']}"
    model = loaded(ours)
    pixels = torch.randn(2, *(model.in_chans, *model.patch_embed.img_size))
    if not torch.equal(model(pixels), loaded(theirs)(pixels)):
        return "it computes something else"
    narrow = loaded(case / "ours-narrow")
    return None if narrow.blocks[0].mlp.fc1.out_features == 24 else "it is not narrow"


if __name__ == "__main__":
    action, root = sys.argv.pop(1), Path(sys.argv[1])
    make(root) if action == "make" else judge(check)
