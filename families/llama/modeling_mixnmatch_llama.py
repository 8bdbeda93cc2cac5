"""A Llama whose layers have FFNs of different widths, for `trust_remote_code=True`.

Everything but the FFN is transformers' own Llama. Beyond LlamaConfig, config.json holds
  matformer_widths  every layer's FFN width; absent: intermediate_size in all of them
  matformer_gate    "act(gate)*up" (Llama's own; the default) or "act(gate*up)"
"""

from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.activations import ACT2FN


class MixNMatchLlamaConfig(LlamaConfig):
    model_type = "mixnmatch_llama"


class MixNMatchLlamaMLP(nn.Module):
    def __init__(self, config, width, stock):
        super().__init__()
        bias = stock.down_proj.bias is not None
        self.fused = hasattr(stock, "gate_up_proj")  # some have both in one matrix
        if self.fused:
            self.gate_up_proj = nn.Linear(config.hidden_size, 2 * width, bias=bias)
        else:
            self.gate_proj = nn.Linear(config.hidden_size, width, bias=bias)
            self.up_proj = nn.Linear(config.hidden_size, width, bias=bias)
        self.down_proj = nn.Linear(width, config.hidden_size, bias=bias)
        act = getattr(config, "hidden_activation", None) or config.hidden_act
        self.act_fn = ACT2FN[act]
        gate = getattr(config, "matformer_gate", "act(gate)*up")
        if gate not in ("act(gate)*up", "act(gate*up)"):
            raise ValueError(f"matformer_gate is {gate!r}")
        self.act_of_product = gate == "act(gate*up)"

    def forward(self, x):
        if self.fused:
            gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        else:
            gate, up = self.gate_proj(x), self.up_proj(x)
        if self.act_of_product:
            return self.down_proj(self.act_fn(gate * up))
        return self.down_proj(self.act_fn(gate) * up)


class MixNMatchLlamaForCausalLM(LlamaForCausalLM):
    config_class = MixNMatchLlamaConfig

    def __init__(self, config):
        super().__init__(config)
        layers = self.model.layers
        uniform = [config.intermediate_size] * len(layers)
        widths = getattr(config, "matformer_widths", uniform)
        if len(widths) != len(layers):
            raise ValueError(
                f"matformer_widths has {len(widths)} entries for {len(layers)} layers"
            )
        for layer, width in zip(layers, widths):
            layer.mlp = MixNMatchLlamaMLP(config, width, layer.mlp)
        self.post_init()
