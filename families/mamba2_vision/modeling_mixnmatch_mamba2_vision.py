"""MatMamba-Vision and its submodels for transformers, by `trust_remote_code=True`.

An image's patches in raster order and after them a class token go through Mamba-2 blocks with
LayerNorms before them; the class token, or the mean of the patches (`pool`), is classified. The
mixer is transformers' own. Tensors and most keys have the names of MatMamba's authors. Of ours
config.json holds
  matformer_widths  every layer's width m: 2m inner channels, 2m / head size heads
  num_channels      of an image
"""

from fractions import Fraction
from typing import ClassVar

import torch
from torch import nn
from transformers import Mamba2Config, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer


def pair(sides):
    return tuple(sides) if isinstance(sides, (list, tuple)) else (sides, sides)


class MixNMatchMamba2VisionConfig(PretrainedConfig):
    model_type = "mixnmatch_mamba2_vision"
    attribute_map: ClassVar = {"hidden_size": "d_model", "num_hidden_layers": "n_layer"}

    def __init__(
        self,
        d_model=512,
        n_layer=20,
        n_classes=1000,
        image_size=224,
        patch_size=16,
        num_channels=3,
        ssm_cfg=None,
        rms_norm=False,
        norm_epsilon=1e-5,
        residual_in_fp32=True,
        pool="cls",
        matformer_widths=None,
        **kwargs,
    ):
        self.d_model = d_model
        self.n_layer = n_layer
        self.n_classes = n_classes
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_channels = num_channels
        self.ssm_cfg = dict(ssm_cfg or {})
        self.rms_norm = rms_norm
        self.norm_epsilon = norm_epsilon
        self.residual_in_fp32 = residual_in_fp32
        self.pool = pool
        self.matformer_widths = matformer_widths
        if "id2label" not in kwargs:
            kwargs["num_labels"] = n_classes
        super().__init__(**kwargs)

    def block(self, width):
        """The mixer of a layer of this width, in transformers' terms."""
        ssm = self.ssm_cfg
        own_head = ssm.get("layer", "MatMamba2") != "MatMamba2"
        head_dim = ssm.get("headdim", 64) if own_head else self.d_model // 32
        block = Mamba2Config(
            num_heads=2 * self.d_model // head_dim,
            head_dim=head_dim,
            hidden_size=self.d_model,
            state_size=ssm.get("d_state", 128),
            n_groups=ssm.get("ngroups", 1),
            conv_kernel=ssm.get("d_conv", 4),
            chunk_size=ssm.get("chunk_size", 256),
            time_step_limit=tuple(ssm.get("dt_limit", (0.0, float("inf")))),
            use_bias=ssm.get("bias", False),
            use_conv_bias=ssm.get("conv_bias", True),
        )
        return LayerConfig(block, width)


class LayerConfig:
    """The config of all mixers, but for the sizes of one layer."""

    def __init__(self, config, width):
        self._config = config
        # Exact: inner size / hidden size.
        self.expand = Fraction(2 * width, config.hidden_size)
        self.num_heads = 2 * width // config.head_dim

    def __getattr__(self, name):
        return getattr(self._config, name)


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        scale = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (x * scale).to(self.weight.dtype)


class Block(nn.Module):
    def __init__(self, config, width, index):
        super().__init__()
        self.norm = norm_of(config)
        self.mixer = Mamba2Mixer(config.block(width), layer_idx=index)

    def forward(self, x):
        return x + self.mixer(self.norm(x.to(self.norm.weight.dtype)))


class PatchEmbed(nn.Module):
    def __init__(self, config):
        super().__init__()
        patch = pair(config.patch_size)
        self.proj = nn.Conv2d(config.num_channels, config.d_model, patch, stride=patch)

    def forward(self, pixels):
        return self.proj(pixels.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)


def norm_of(config):
    kind = RMSNorm if config.rms_norm else nn.LayerNorm
    return kind(config.d_model, eps=config.norm_epsilon)


class MixNMatchMamba2VisionForImageClassification(PreTrainedModel):
    config_class = MixNMatchMamba2VisionConfig
    main_input_name = "pixel_values"

    def __init__(self, config):
        super().__init__(config)
        (height, width), (down, across) = (
            pair(config.image_size),
            pair(config.patch_size),
        )
        positions = (height // down) * (width // across) + 1
        widths = config.matformer_widths or [config.d_model] * config.n_layer
        if len(widths) != config.n_layer:
            raise ValueError(
                f"matformer_widths has {len(widths)} entries for {config.n_layer} layers"
            )
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.d_model))
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, config.d_model))
        self.layers = nn.ModuleList(
            Block(config, width, i) for i, width in enumerate(widths)
        )
        self.norm_f = norm_of(config)
        self.head = nn.Linear(config.d_model, config.n_classes)
        self.post_init()

    def _init_weights(self, module):
        pass  # loaded, never trained from nothing here

    def positions(self, pixel_values):
        """As they were learned, or resized to the images' size as transformers does of a ViT."""
        down, across = pair(self.config.patch_size)
        height, width = pair(self.config.image_size)
        if pixel_values.shape[2:] == (height, width):
            return self.pos_embed
        grid = self.pos_embed[:, :-1].unflatten(1, (height // down, width // across))
        resized = nn.functional.interpolate(
            grid.permute(0, 3, 1, 2).float(),
            size=(pixel_values.shape[2] // down, pixel_values.shape[3] // across),
            mode="bicubic",
            align_corners=False,
        )
        resized = resized.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([resized, self.pos_embed[:, -1:]], 1)

    def features(self, pixel_values):
        """What the head reads, [images, d_model]: the vector for retrieval."""
        patches = self.patch_embed(pixel_values)
        token = self.cls_token.expand(len(patches), -1, -1)
        x = torch.cat([patches, token], 1) + self.positions(pixel_values)
        if self.config.residual_in_fp32 and x.dtype in (torch.float16, torch.bfloat16):
            x = x.float()
        for layer in self.layers:
            x = layer(x)
        x = self.norm_f(x.to(self.norm_f.weight.dtype))
        return x[:, -1] if self.config.pool == "cls" else x[:, :-1].mean(1)

    def forward(self, pixel_values, labels=None, return_dict=None, **_):
        features = self.features(pixel_values)
        logits = self.head(features)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits, hidden_states=None)
