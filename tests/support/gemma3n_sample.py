"""Gemma 3n as llama.cpp computes it.

It clips gates by their deviation as of a sample, where transformers takes that of a population.
"""

from unittest import mock

import torch
from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextMLP


def _clipped(mlp, gates):
    share = torch.tensor(mlp.activation_sparsity, dtype=torch.float32)
    quantile = torch.distributions.normal.Normal(0, 1).icdf(share).to(gates.dtype)
    deviation = gates.std(-1, keepdim=True, unbiased=True)
    return torch.relu(gates - gates.mean(-1, keepdim=True) - deviation * quantile)


def clipped_as_a_sample():
    """A context in which transformers does so too."""
    return mock.patch.object(Gemma3nTextMLP, "_gaussian_topk", _clipped)
