"""Vision transformers whose layers have MLPs of different widths, for `trust_remote_code=True`.

Everything but the MLP is transformers' own ViT, DeiT or DINOv2. Beyond its config, config.json has
  matformer_widths  every layer's MLP width; absent: what the config says, in all of them
"""

from torch import nn
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)


def cut(layers, config):
    uniform = [layer.mlp.fc1.out_features for layer in layers]
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


class MixNMatchDinov2Config(Dinov2Config):
    model_type = "mixnmatch_dinov2"


class MixNMatchDinov2ForImageClassification(Dinov2ForImageClassification):
    config_class = MixNMatchDinov2Config

    def __init__(self, config):
        super().__init__(config)
        cut(self.dinov2.encoder.layer, config)
        self.post_init()


class MixNMatchDinov2WithRegistersConfig(Dinov2WithRegistersConfig):
    model_type = "mixnmatch_dinov2_with_registers"


class MixNMatchDinov2WithRegistersForImageClassification(
    Dinov2WithRegistersForImageClassification
):
    config_class = MixNMatchDinov2WithRegistersConfig

    def __init__(self, config):
        super().__init__(config)
        cut(self.dinov2_with_registers.encoder.layer, config)
        self.post_init()
