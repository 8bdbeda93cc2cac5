"""GGUF exports of Gemma 3n as the gguf package reads them, against the Hugging Face export.

usage: gemma3n_gguf_check.py ROOT

Every folder of ROOT is a case: `full` (a f32 Hugging Face export) and `gguf` (the same submodel).
Names and shapes are those that llama.cpp's gemma3n creates (src/models/gemma3n.cpp, as
llama-cpp-python 0.3.36 has it), as written down here; bytes come from the gguf package's own
quantisation. Exits with 1 if any case disagrees.
"""

import json

import gguf
import numpy as np
from cases import judge
from safetensors.numpy import load_file

TYPES = {0: "F32", 1: "F16", 7: "Q8_0", 32: "BF16"}
F32 = gguf.GGMLQuantizationType.F32
STREAMS, INPUTS, RANK, OWN, CLIPPED = 4, 256, 64, 20, 10


def created(config):
    """GGUF's name -> the name in a checkpoint and the shape there, which llama.cpp reverses."""
    d, words, layers = (
        config[key] for key in ("hidden_size", "vocab_size", "num_hidden_layers")
    )
    q, kv = (
        config[f"num_{kind}_heads"] * config["head_dim"]
        for kind in ("attention", "key_value")
    )
    head, width = config["head_dim"], config["intermediate_size"][0]
    outside = {
        "token_embd": ("embed_tokens", (words, d)),
        "per_layer_token_embd": ("embed_tokens_per_layer", (words, INPUTS * layers)),
        "per_layer_model_proj": ("per_layer_model_projection", (INPUTS * layers, d)),
        "per_layer_proj_norm": ("per_layer_projection_norm", (INPUTS,)),
        "output_norm": ("norm", (d,)),
    }
    inside = {
        "attn_norm": ("input_layernorm", (d,)),
        "attn_q": ("self_attn.q_proj", (q, d)),
        "attn_k": ("self_attn.k_proj", (kv, d)),
        "attn_v": ("self_attn.v_proj", (kv, d)),
        "attn_output": ("self_attn.o_proj", (d, q)),
        "attn_q_norm": ("self_attn.q_norm", (head,)),
        "attn_k_norm": ("self_attn.k_norm", (head,)),
        "post_attention_norm": ("post_attention_layernorm", (d,)),
        "ffn_norm": ("pre_feedforward_layernorm", (d,)),
        "ffn_gate": ("mlp.gate_proj", (width, d)),
        "ffn_up": ("mlp.up_proj", (width, d)),
        "ffn_down": ("mlp.down_proj", (d, width)),
        "post_ffw_norm": ("post_feedforward_layernorm", (d,)),
        "inp_gate": ("per_layer_input_gate", (INPUTS, d)),
        "proj": ("per_layer_projection", (d, INPUTS)),
        "post_norm": ("post_per_layer_input_norm", (d,)),
        "altup_correct_coef": ("altup.correction_coefs", (STREAMS, STREAMS)),
        "altup_predict_coef": ("altup.prediction_coefs", (STREAMS**2, STREAMS)),
        "altup_router": ("altup.modality_router", (STREAMS, d)),
        "altup_router_norm": ("altup.router_norm", (d,)),
        "laurel_l": ("laurel.linear_left", (RANK, d)),
        "laurel_r": ("laurel.linear_right", (d, RANK)),
        "laurel_post_norm": ("laurel.post_laurel_norm", (d,)),
    }
    names = {
        f"{name}.weight": (f"model.{ours}.weight", shape)
        for name, (ours, shape) in outside.items()
    }
    for i in range(layers):
        for name, (ours, shape) in inside.items():
            names[f"blk.{i}.{name}.weight"] = (
                f"model.layers.{i}.{ours}.weight",
                shape,
            )
        scale = f"model.layers.{i}.altup.correct_output_scale"
        names[f"blk.{i}.altup_correct_scale.weight"] = (scale, (d,))
    if not config["tie_word_embeddings"]:
        names["output.weight"] = ("lm_head.weight", (words, d))
    return names


def values_of(stored, name, shape):
    """What the file shall hold: rows that a table lacks are its first; what nothing reads is 0."""
    if name not in stored:
        assert ".self_attn.k_" in name or ".self_attn.v_" in name, name
        assert int(name.split(".")[2]) >= OWN, name
        return np.zeros(shape, np.float32)
    values = stored.pop(name)
    if "embed_tokens_per_layer" in name:
        copies = np.repeat(values[:1], shape[0] - len(values), axis=0)
        values = np.concatenate([values, copies])
    assert values.shape == shape, (name, values.shape, shape)
    return values


def metadata(config):
    layers = config["num_hidden_layers"]
    return {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "vocab_size": config["vocab_size"],
        "block_count": layers,
        "feed_forward_length": config["intermediate_size"][0],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
        "attention.layer_norm_rms_epsilon": np.float32(config["rms_norm_eps"]),
        "attention.sliding_window": config["sliding_window"],
        "attention.sliding_window_pattern": [
            int(kind == "sliding_attention") for kind in config["layer_types"]
        ],
        "attention.shared_kv_layers": layers - OWN,
        "rope.freq_base": np.float32(config["rope_theta"]),
        "rope.freq_base_swa": np.float32(config["rope_local_base_freq"]),
        "altup.active_idx": 0,
        "altup.num_inputs": STREAMS,
        "embedding_length_per_layer_input": INPUTS,
        "final_logit_softcapping": 30,
        "activation_sparsity_scale": [
            np.float32(1.64485335) if i < CLIPPED else 0 for i in range(layers)
        ],
    }


def check(case):
    config = json.loads((case / "full/config.json").read_text())
    stored = load_file(case / "full/model.safetensors")
    reader = gguf.GGUFReader(case / "gguf/model.gguf")
    assert reader.fields["general.architecture"].contents() == "gemma3n"
    for key, value in metadata(config).items():
        found = reader.fields[f"gemma3n.{key}"].contents()
        assert found == value, (key, found, value)
    kind = gguf.GGMLQuantizationType[
        TYPES[reader.fields["general.file_type"].contents()]
    ]
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    expected = {
        name: (values_of(stored, ours, shape), shape)
        for name, (ours, shape) in created(config).items()
    }
    d = config["hidden_size"]
    for name, ours in (("proj", "projections"), ("unembd_proj", "unembed_projections")):
        parts = [stored.pop(f"model.altup_{ours}.{k}.weight") for k in range(3)]
        expected[f"altup_{name}.weight"] = np.stack(parts), (STREAMS - 1, d, d)
    assert not stored, sorted(stored)
    assert set(tensors) == set(expected), set(tensors) ^ set(expected)
    for name, (values, shape) in expected.items():
        tensor = tensors[name]
        assert tuple(map(int, reversed(tensor.shape))) == shape, (name, tensor.shape)
        wide = len(shape) > 1 and not name.endswith("_coef.weight")
        unread = not values.any() and ".attn_" in name
        assert tensor.tensor_type == (kind if wide and not unread else F32), name
        bytes_ = gguf.quants.quantize(values, tensor.tensor_type)
        assert tensor.data.tobytes() == bytes_.tobytes(), name


if __name__ == "__main__":
    judge(check)
