"""A vision transformer whose layers have MLPs of different widths, for `trust_remote_code=True`.

Everything but the MLP is transformers' own ViT. Beyond ViTConfig, config.json holds
  matformer_widths  every layer's MLP width; absent: intermediate_size in all of them
"""

from torch import nn
from transformers import ViTConfig, ViTForImageClassification


class MixNMatchViTConfig(ViTConfig):
    model_type = "mixnmatch_vit"


class MixNMatchViTForImageClassification(ViTForImageClassification):
    config_class = MixNMatchViTConfig

    def __init__(self, config):
        super().__init__(config)
        layers = self.vit.layers
        uniform = [config.intermediate_size] * len(layers)
        widths = getattr(config, "matformer_widths", uniform)
        if len(widths) != len(layers):
            raise ValueError(
                f"matformer_widths has {len(widths)} entries for {len(layers)} layers"
            )
        for layer, width in zip(layers, widths):
            layer.mlp.fc1 = nn.Linear(config.hidden_size, width)
            layer.mlp.fc2 = nn.Linear(width, config.hidden_size)
        self.post_init()
