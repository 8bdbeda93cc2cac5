"""The names under which llama.cpp reads the tensors of a Mamba-2 model.

The gguf package's map lacks some of them.
"""

OUTSIDE = {
    "backbone.embeddings.weight": "token_embd.weight",
    "backbone.norm_f.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
INSIDE = {
    "norm.weight": "attn_norm.weight",
    "mixer.in_proj.weight": "ssm_in.weight",
    "mixer.conv1d.weight": "ssm_conv1d.weight",
    "mixer.conv1d.bias": "ssm_conv1d.bias",
    "mixer.dt_bias": "ssm_dt.bias",
    "mixer.A_log": "ssm_a",
    "mixer.D": "ssm_d",
    "mixer.norm.weight": "ssm_norm.weight",
    "mixer.out_proj.weight": "ssm_out.weight",
}


def gguf_name(name):
    """Of a tensor of transformers' Mamba2ForCausalLM."""
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, _, layer, inside = name.split(".", 3)
    return f"blk.{layer}.{INSIDE[inside]}"
