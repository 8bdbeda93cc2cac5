"""Tiny vision transformers, and their submodels, in transformers.

usage: vit_check.py ROOT

Every folder of ROOT is a checkpoint with facts.json: images, and the logits of submodels in f64. A
submodel is the published class with the columns of fc2 beyond its widths set to zero, and without
the layers of width 0. Attention is SDPA, because the eager form takes the softmax in f32. Exits
with 1 if any logits differ by more than the bound, relative to the largest.
"""

import json
import logging

import numpy as np
import torch
from cases import judge
from transformers import (
    DeiTForImageClassificationWithTeacher,
    Dinov2ForImageClassification,
    Dinov2WithRegistersForImageClassification,
    ViTForImageClassification,
)

CLASSES = {
    "vit": ViTForImageClassification,
    "deit": DeiTForImageClassificationWithTeacher,
    "dinov2": Dinov2ForImageClassification,
    "dinov2_with_registers": Dinov2WithRegistersForImageClassification,
}


def load(folder):
    config = json.loads((folder / "config.json").read_text())
    model, info = CLASSES[config["model_type"]].from_pretrained(
        folder,
        dtype=torch.float64,
        attn_implementation="sdpa",
        output_loading_info=True,
    )
    wrong = {key: value for key, value in info.items() if value}
    assert not wrong, wrong
    return model.eval()


def layers_holder(model):
    vit = model.base_model
    return vit if hasattr(vit, "layers") else vit.encoder


def submodel(folder, widths):
    model = load(folder)
    holder = layers_holder(model)
    name = "layers" if hasattr(holder, "layers") else "layer"
    kept = []
    for layer, width in zip(getattr(holder, name), widths):
        if not width:
            continue
        down = layer.mlp.fc2 if hasattr(layer, "mlp") else layer.output.dense
        assert down.weight.shape[1] >= width
        down.weight.data[:, width:] = 0
        kept.append(layer)
    setattr(holder, name, torch.nn.ModuleList(kept))
    model.config.num_hidden_layers = len(kept)
    return model


@torch.no_grad()
def check(folder):
    facts = json.loads((folder / "facts.json").read_text())
    pixels = torch.tensor(facts["pixels"], dtype=torch.float64).reshape(facts["shape"])
    config = json.loads((folder / "config.json").read_text())
    resized, options = "mixnmatch_image_size" in config, {}
    if resized and config["model_type"] in ("vit", "deit"):
        options["interpolate_pos_encoding"] = True
    elif resized:  # in f32 there
        facts["bound"] *= 2**29
    for own in facts["submodels"]:
        expected = submodel(folder, own["widths"])(pixels, **options).logits.numpy()
        logits = np.array(own["logits"]).reshape(expected.shape)
        worst = np.abs(logits - expected).max() / np.abs(expected).max()
        if not worst <= facts["bound"]:
            return (
                f"{own['widths']}: logits differ by {worst}, more than {facts['bound']}"
            )
    return None


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    judge(check)
