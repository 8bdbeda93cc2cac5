"""A Mamba-2 whose layers have inner sizes of their own, for `trust_remote_code=True`.

Everything is transformers' own Mamba2; only the sizes of each layer's mixer differ, and a
time_step_limit holds for every token. Beyond Mamba2Config, config.json holds
  matformer_widths  every layer's width m: 2m inner channels, 2m / head_dim heads
"""

from fractions import Fraction

import torch
from transformers import Mamba2Config, Mamba2ForCausalLM
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer


class MixNMatchMamba2Config(Mamba2Config):
    model_type = "mixnmatch_mamba2"

    def validate(self):
        # In place of Mamba2Config's own, which wants num_heads * head_dim = expand * hidden_size.
        widths = getattr(self, "matformer_widths", None)
        if widths is None:
            return super().validate()
        if len(widths) != self.num_hidden_layers:
            raise ValueError(
                f"matformer_widths has {len(widths)} entries for {self.num_hidden_layers} layers"
            )
        if any(width < 1 or 2 * width % self.head_dim != 0 for width in widths):
            raise ValueError(
                f"matformer_widths {widths} are no multiples of half a head"
            )
        if 2 * max(widths) != self.num_heads * self.head_dim:
            raise ValueError(
                "the widest of matformer_widths is not num_heads * head_dim / 2"
            )


class LayerConfig:
    """The model's config, but for the sizes of one layer."""

    def __init__(self, config, width):
        self._config = config
        self.expand = Fraction(
            2 * width, config.hidden_size
        )  # exact: inner size / hidden size
        self.num_heads = 2 * width // config.head_dim

    def __getattr__(self, name):
        return getattr(self._config, name)


class LimitedMixer(Mamba2Mixer):
    """transformers limits the time steps of whole sequences, not those of single tokens that come
    with a cache. softplus is monotone, so what enters it is limited instead, for both."""

    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        if tuple(config.time_step_limit) != (0.0, float("inf")):
            self.in_proj.register_forward_hook(self.limited)

    def limited(self, _module, _inputs, projected):
        limit = torch.tensor(self.time_step_limit, dtype=torch.float64)
        limit = limit + torch.log(-torch.expm1(-limit))  # the inverse of softplus
        low, high = limit.to(self.dt_bias)[:, None] - self.dt_bias
        rest, dt = projected.split(
            [projected.shape[-1] - self.num_heads, self.num_heads], -1
        )
        return torch.cat([rest, dt.clamp(low, high).to(rest.dtype)], -1)


class MixNMatchMamba2ForCausalLM(Mamba2ForCausalLM):
    config_class = MixNMatchMamba2Config

    def __init__(self, config):
        super().__init__(config)
        widths = getattr(config, "matformer_widths", None)
        if widths is not None:
            for i, (layer, width) in enumerate(zip(self.backbone.layers, widths)):
                layer.mixer = LimitedMixer(LayerConfig(config, width), layer_idx=i)
            self.post_init()
