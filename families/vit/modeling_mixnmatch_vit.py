"""Vision transformers whose layers have MLPs of different widths, for `trust_remote_code=True`.

Everything but the MLP is transformers' own ViT or DeiT. Beyond its config, config.json holds
  matformer_widths  every layer's MLP width; absent: intermediate_size in all of them
"""

from torch import nn
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    ViTConfig,
    ViTForImageClassification,
)


def cut(layers, config):
    uniform = [config.intermediate_size] * len(layers)
    widths = getattr(config, "matformer_widths", uniform)
    if len(widths) != len(layers):
        raise ValueError(
            f"matformer_widths has {len(widths)} entries for {len(layers)} layers"
        )
    for layer, width in zip(layers, widths):
        layer.mlp.fc1 = nn.Linear(config.hidden_size, width)
        layer.mlp.fc2 = nn.Linear(width, config.hidden_size)


class MixNMatchViTConfig(ViTConfig):
    model_type = "mixnmatch_vit"


class MixNMatchViTForImageClassification(ViTForImageClassification):
    config_class = MixNMatchViTConfig

    def __init__(self, config):
        super().__init__(config)
        cut(self.vit.layers, config)
        self.post_init()


class MixNMatchDeiTConfig(DeiTConfig):
    model_type = "mixnmatch_deit"


class MixNMatchDeiTForImageClassificationWithTeacher(
    DeiTForImageClassificationWithTeacher
):
    config_class = MixNMatchDeiTConfig

    def __init__(self, config):
        super().__init__(config)
        cut(self.deit.layers, config)
        self.post_init()
