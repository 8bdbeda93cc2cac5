"""Scores of importance and nested checkpoints of classifiers of images against transformers, in
double precision.

usage: image_neurons_check.py ROOT

Every folder of ROOT is a case with `ordinary` and `nested`, both checkpoints, scores.json: score ->
layers -> neurons, and `images`, a set of normalised images. Of the last layer those tokens count
that the classifier reads. Exits with 1 if any disagrees.
"""

import numpy as np
import torch
from cases import judge
from neurons_check import trouble_with
from transformers import AutoModelForImageClassification

# The first tokens that are read after the last layer, where that is not all of them.
READ = {"vit": 1, "deit": 2}


def load(directory):
    """Attention is SDPA, because the eager form takes the softmax in f32."""
    return AutoModelForImageClassification.from_pretrained(
        directory, dtype=torch.float64, attn_implementation="sdpa"
    ).eval()


def images_of(case):
    return torch.from_numpy(np.load(case / "images/images.npy")).double()


def read_of(model):
    return READ.get(model.config.model_type)


def check(case):
    labels = torch.from_numpy(np.load(case / "images/labels.npy").astype(np.int64))
    model, nested = load(case / "ordinary"), load(case / "nested")
    return trouble_with(case, model, nested, images_of(case), labels, read_of(model))


if __name__ == "__main__":
    judge(check)
