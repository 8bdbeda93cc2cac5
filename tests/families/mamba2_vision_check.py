"""Tiny MatMamba-Vision models and their submodels: the recurrence as it is written down.

usage: mamba2_vision_check.py ROOT

Every folder of ROOT is a checkpoint in its authors' layout with facts.json: images, and the logits
of submodels in f64. The reference follows matmamba2_vision.py: patches by a convolution, the class
token after them, positions, blocks of LayerNorm and mixer, the last norm, and the class token or the
mean of the patches. It scans token by token. `bridge` is the same model as it is exported, for
transformers. Exits with 1 if any logits differ by more than the bound, relative to the largest.
"""

import json
import logging
from types import SimpleNamespace

import numpy as np
import torch
from cases import judge
from mamba2_bridge_check import mixed
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForImageClassification


def pair(value):
    return tuple(value) if isinstance(value, list) else (value, value)


def norm(x, weights, name, config):
    eps = config["norm_epsilon"]
    if config["rms_norm"]:
        scale = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
        return x * scale * weights[name + ".weight"]
    size = x.shape[-1:]
    return functional.layer_norm(
        x, size, weights[name + ".weight"], weights[name + ".bias"], eps
    )


def mixer_config(config):
    ssm = config["ssm_cfg"]
    own = ssm.get("layer") == "Mamba2"
    return SimpleNamespace(
        head_dim=ssm["headdim"] if own else config["d_model"] // 32,
        n_groups=1,
        state_size=ssm["d_state"],
        time_step_limit=(0.0, float("inf")),
        layer_norm_epsilon=1e-5,
    )


@torch.no_grad()
def reference(config, weights, pixels, widths):
    patches = functional.conv2d(
        pixels,
        weights["patch_embed.proj.weight"],
        weights["patch_embed.proj.bias"],
        stride=pair(config["patch_size"]),
    )
    tokens = patches.flatten(2).transpose(1, 2)
    token = weights["cls_token"].expand(len(pixels), -1, -1)
    positions = weights["pos_embed"]
    if "mixnmatch_image_size" in config:
        grid = positions[:, :-1].unflatten(
            1, (config["image_size"] // config["patch_size"], -1)
        )
        resized = functional.interpolate(
            grid.permute(0, 3, 1, 2), patches.shape[2:], mode="bicubic"
        )
        positions = torch.cat([resized.flatten(2).mT, positions[:, -1:]], 1)
    images = torch.cat([tokens, token], 1) + positions
    logits = []
    for x in images:
        for i, width in enumerate(widths):
            if not width:  # the layer is left out
                continue
            base = f"layers.{i}.mixer."
            own = {
                name.removeprefix(base): value
                for name, value in weights.items()
                if name.startswith(base)
            }
            h = norm(x, weights, f"layers.{i}.norm", config)
            x = x + mixed(h, own, width, mixer_config(config))
        x = norm(x, weights, "norm_f", config)
        x = x[-1] if config["pool"] == "cls" else x[:-1].mean(0)
        logits.append(weights["head.weight"] @ x + weights["head.bias"])
    return torch.stack(logits).numpy()


def differs(logits, expected, bound, what):
    worst = np.abs(logits - expected).max() / np.abs(expected).max()
    return None if worst <= bound else f"{what}: {worst}, more than {bound}"


@torch.no_grad()
def check(folder):
    config = json.loads((folder / "config.json").read_text())
    facts = json.loads((folder / "facts.json").read_text())
    weights = load_file(folder / "model.safetensors")
    weights = {name: value.double() for name, value in weights.items()}
    pixels = torch.tensor(facts["pixels"], dtype=torch.float64).reshape(facts["shape"])
    trouble = []
    for own in facts["submodels"]:
        expected = reference(config, weights, pixels, own["widths"])
        logits = np.array(own["logits"]).reshape(expected.shape)
        trouble.append(differs(logits, expected, facts["bound"], own["widths"]))
    model = AutoModelForImageClassification.from_pretrained(
        folder / "bridge", trust_remote_code=True, dtype=torch.float32
    )
    full = [block.mixer.intermediate_size // 2 for block in model.layers]
    expected = reference(config, weights, pixels, full)
    got = model.eval()(pixels.float()).logits.double().numpy()
    trouble.append(differs(got, expected, facts["bound"] * 2**29, "bridge"))
    return "; ".join(filter(None, trouble)) or None


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    judge(check)
