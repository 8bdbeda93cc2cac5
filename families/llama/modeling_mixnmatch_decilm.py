"""DeciLM for `trust_remote_code=True`: transformers' own Llama, with every layer's FFN as wide as its
entry of `block_configs` says. vLLM has its own model of that name, and reads this config.
"""

import copy
from types import SimpleNamespace

from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP


def ffn_width(ffn_mult, hidden_size):
    width = int(2 * ffn_mult * hidden_size / 3)
    return -(-width // 256) * 256


class DeciLMConfig(LlamaConfig):
    model_type = "nemotron-nas"

    def __init__(self, block_configs=None, **kwargs):
        blocks = [
            SimpleNamespace(
                attention=SimpleNamespace(**block["attention"]),
                ffn=SimpleNamespace(**block["ffn"]),
            )
            for block in block_configs or []
        ]
        if blocks:
            # Every layer has its own: block_configs. Here for readers that want one number.
            widths = [ffn_width(b.ffn.ffn_mult, kwargs["hidden_size"]) for b in blocks]
            groups = {b.attention.n_heads_in_group for b in blocks}
            if len(groups) != 1 or any(
                part.no_op or part.replace_with_linear
                for b in blocks
                for part in (b.attention, b.ffn)
            ):
                raise ValueError(
                    "this file computes layers that attend alike and all have an FFN"
                )
            kwargs["intermediate_size"] = max(widths)
            kwargs["num_key_value_heads"] = (
                kwargs["num_attention_heads"] // groups.pop()
            )
        super().__init__(**kwargs)
        if blocks and len(blocks) != self.num_hidden_layers:
            raise ValueError(
                f"block_configs has {len(blocks)} entries for {self.num_hidden_layers} layers"
            )
        self.block_configs = blocks

    def to_dict(self):
        plain = super().to_dict()
        plain["block_configs"] = [
            {"attention": vars(block.attention), "ffn": vars(block.ffn)}
            for block in self.block_configs
        ]
        return plain


class DeciLMForCausalLM(LlamaForCausalLM):
    config_class = DeciLMConfig

    def __init__(self, config):
        super().__init__(config)
        for layer, block in zip(self.model.layers, config.block_configs):
            own = copy.copy(config)
            own.intermediate_size = ffn_width(block.ffn.ffn_mult, config.hidden_size)
            layer.mlp = LlamaMLP(own)
        self.post_init()
