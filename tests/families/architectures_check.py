"""Tiny models of many architectures, and their exports, in other people's runtimes.

usage: architectures_check.py ROOT

Every folder of ROOT is a case: `full` (a checkpoint), case.json, and for every entry of that a folder
of the same name with `logits.json` (our own, of TOKENS) and the formats of which case.json says "";
where one says more, that is why it was not written. Exits with 1 if any disagrees.
"""

import copy
import json
import logging
import runpy
import tempfile
from pathlib import Path

import bridge_check
import gguf
import numpy as np
import torch
from bridges import trouble_with
from cases import judge
from onnx_sessions import session_of
from safetensors.numpy import load_file
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3Config
from transformers import Gemma3ForConditionalGeneration as Gemma3
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

TOKENS = torch.arange(20).reshape(1, 20) * 7 % 50
# llama.cpp's rotary heads of these turn halves, so that rows stay in order.
HALVES = (
    *("qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "olmo2", "olmo3"),
    *("exaone4", "seed_oss"),
    *("glm", "glm4", "ernie4_5"),  # which turn neighbours in transformers, too
)
# llama.cpp calls the architecture of these otherwise.
CALLED = {
    "mistral": "llama",
    "ministral": "llama",
    "cwm": "llama",
    "gemma3_text": "gemma3",
    "olmo3": "olmo2",
    "glm": "chatglm",
}
# The facts of llama.cpp's architectures that this file's reader holds a GGUF file to.
WITH_WINDOWS = ("gemma2", "gemma3_text", "olmo3")
# The package of this version has none of these, whose tensors are called as those of others.
LISTED = {
    "smollm3": "llama",
    "seed_oss": "llama",
    "ernie4_5": "llama",
    "exaone4": "olmo2",
}
# Beside the names of these others.
RENAMED = {"seed_oss": (".ffn_norm.", ".post_attention_norm.")}
DRAWS, MARGIN = 8, 4  # as export/probe.cpp has them for narrow norms
WITHOUT_MIXED_GGUF = "llama.cpp has them for Llama's arithmetic alone"


def strict(directory):
    model, info = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, output_loading_info=True
    )
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, wrong
    return model.eval()


def reference(full, widths):
    """A copy of the published class's model, without the skipped layers and with the cut neurons
    silenced."""
    model = copy.deepcopy(full)
    kept = [i for i, width in enumerate(widths) if width]
    layers = [model.model.layers[i] for i in kept]
    for i, layer in enumerate(layers):
        layer.mlp.down_proj.weight.data[:, widths[kept[i]] :] = 0
    model.model.layers = torch.nn.ModuleList(layers)
    config = model.config
    config.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[i] for i in kept]
    return model


def full_rope(rope):
    """Of all layers, or of those that are not local."""
    return rope.get("full_attention", rope)


def short_length(config):
    """Past which RoPE's frequencies are others: the whole differs from token by token there."""
    rope = full_rope(config.rope_parameters)
    if rope["rope_type"] == "dynamic":
        # transformers forgets the frequencies of a long sequence below that length alone.
        return min(config.max_position_embeddings - 1, TOKENS.shape[1])
    if rope["rope_type"] == "longrope":
        return min(rope["original_max_position_embeddings"], TOKENS.shape[1])
    return TOKENS.shape[1]


def onnx_logits(directory, short):
    """Of the whole sequence, and token by token, `short` of them, through the decoder with its
    cache."""
    scorer = session_of(directory / "scorer.onnx")
    yield scorer.run(["logits"], {"input_ids": TOKENS.numpy()})[0]
    decoder = session_of(directory / "model.onnx")
    outputs = [o.name for o in decoder.get_outputs()]
    past = {
        i.name: np.zeros([1, i.shape[1], 0, i.shape[3]], np.float32)
        for i in decoder.get_inputs()
        if i.name.startswith("past_key_values")
    }
    rows = []
    for at in range(short):
        given = {
            "input_ids": TOKENS[:, at : at + 1].numpy(),
            "attention_mask": np.ones([1, at + 1], np.int64),
            "position_ids": np.array([[at]]),
        }
        names = {i.name for i in decoder.get_inputs()}
        made = dict(
            zip(
                outputs,
                decoder.run(
                    outputs, past | {k: v for k, v in given.items() if k in names}
                ),
            )
        )
        rows.append(made["logits"])
        past = {name: made[name.replace("past_key_values", "present")] for name in past}
    yield np.concatenate(rows, axis=1)


def gguf_trouble(directory, huggingface, mixed):
    config = json.loads((huggingface / "config.json").read_text())
    stored = load_file(huggingface / "model.safetensors")
    reader = gguf.GGUFReader(directory / "model.gguf")
    kind = config["model_type"].removeprefix("mixnmatch_")
    wanted = "deci" if mixed else CALLED.get(kind, kind)
    name = reader.fields["general.architecture"].contents()
    if name != wanted:
        return f"gguf: architecture {name}, expected {wanted}"
    windows = config.get("sliding_window")
    if kind in WITH_WINDOWS:
        windows = None
    context = min(config["max_position_embeddings"], windows or 1 << 30)
    fields = {"context_length": context, "attention.key_length": config["head_dim"]}
    if kind == "granite":
        fields |= {
            "attention.scale": config["attention_multiplier"],
            "embedding_scale": config["embedding_multiplier"],
            "residual_scale": config["residual_multiplier"],
            "logit_scale": config["logits_scaling"],
        }
    for cap in ("attn_logit_softcapping", "final_logit_softcapping"):
        if config.get(cap):
            fields[cap] = config[cap]
    if kind in WITH_WINDOWS:
        fields["attention.sliding_window"] = config["sliding_window"] or context
    if "sliding_attention" in config["rope_parameters"]:
        local = config["rope_parameters"]["sliding_attention"]["rope_theta"]
        fields["rope.freq_base_swa"] = local
    rope = full_rope(config["rope_parameters"])
    divisors = {}
    if rope["rope_type"] in ("linear", "yarn"):
        fields |= {
            "rope.scaling.type": rope["rope_type"],
            "rope.scaling.factor": rope["factor"],
        }
    if rope["rope_type"] == "longrope":
        fields |= {
            "rope.scaling.type": "longrope",
            "rope.scaling.attn_factor": rope["attention_factor"],
            "rope.scaling.original_context_length": rope[
                "original_max_position_embeddings"
            ],
        }
        divisors = {
            "rope_factors_long.weight": rope["long_factor"],
            "rope_factors_short.weight": rope["short_factor"],
        }
    if rope["rope_type"] == "llama3":
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](
            AutoConfig.from_pretrained(huggingface, trust_remote_code=mixed)
        )
        powers = torch.arange(0, config["head_dim"], 2) / config["head_dim"]
        plain = 1 / rope["rope_theta"] ** powers
        divisors = {"rope_freqs.weight": (plain / scaled).tolist()}
    part = rope.get("partial_rotary_factor", 1)
    fields["rope.dimension_count"] = int(config["head_dim"] * part)
    for key, value in fields.items():
        found = reader.fields[f"{name}.{key}"].contents()
        if found != (np.float32(value) if isinstance(value, float) else value):
            return f"gguf: {key} is {found}, expected {value}"
    listed = LISTED.get(name, name)
    arch = {v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[listed]
    known = {gguf.TENSOR_NAMES[t] for t in gguf.MODEL_TENSORS[arch]}
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    tensors = {t.name: t for t in reader.tensors}
    for own, values in divisors.items():
        if not np.allclose(tensors.pop(own).data, np.float32(values), 1e-6, 0):
            return f"gguf: {own} has other values"
    for source, values in stored.items():
        own = names.get_name(source, try_suffixes=(".weight", ".bias"))
        theirs, renamed = RENAMED.get(name, ("", ""))
        own = own and own.replace(theirs, renamed)
        if own is None or own not in tensors:
            return f"gguf: {source} should be {own}"
        layer = source.split(".")[2] if ".layers." in source else ""
        plain = own.rsplit(".", 1)[0].replace(f"blk.{layer}.", "blk.{bid}.")
        if plain not in known and renamed.strip(".") not in plain:
            return f"gguf: {name} has no {plain}"
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
        for part, key in heads.items():
            if f".{part}." in source and (mixed or kind not in HALVES):
                halves = values.reshape(config[key], 2, -1, *values.shape[1:])
                values = halves.swapaxes(1, 2).reshape(values.shape)
        if kind.startswith("gemma") and "norm" in source:
            values = values + 1
        found = tensors.pop(own)
        if found.data.tobytes() != values.astype(np.float32).tobytes():
            return f"gguf: {own} has other bytes"
    return f"gguf: more tensors, {sorted(tensors)}" if tensors else None


def rounding_bound(model, widths, expected):
    """By how much of the largest logit two orders of f32 summation may differ.

    The tiny models' norms run over 4 to 64 channels, where the formula of export/probe.cpp does not
    hold: some token's channels are all small, and its norm passes an error on many times as large.
    So it is measured as that file derives it. Every matrix is multiplied by 1 + e, e uniform in [-r,
    r] with r = 2^-24 sqrt(longest product), which moves a product as much as another order does; the
    bound is 4 times the root mean square of the largest difference over 8 draws.
    """
    longest = max(
        model.config.hidden_size,
        model.config.num_attention_heads * model.config.head_dim,
        *widths,
    )
    r = 2**-24 * longest**0.5
    exact = copy.deepcopy(model).double()
    logits = exact(TOKENS, use_cache=False).logits
    matrices = [p for p in exact.parameters() if p.dim() == 2]
    stored = [p.clone() for p in matrices]
    random = torch.Generator().manual_seed(0)
    squares = 0
    for _ in range(DRAWS):
        for p, own in zip(matrices, stored):
            e = torch.rand(p.shape, generator=random, dtype=p.dtype) * 2 - 1
            p.copy_(own * (1 + r * e))
        moved = exact(TOKENS, use_cache=False).logits - logits
        squares += moved.abs().max().item() ** 2
    measured = MARGIN * (squares / DRAWS) ** 0.5 / expected.abs().max().item()
    return max(measured, bridge_check.bound_of(model.config, widths))


@torch.no_grad()
def check_widths(place, full, facts):
    kept = [width for width in facts["widths"] if width]
    model = reference(full, facts["widths"])
    expected = model(TOKENS, use_cache=False).logits
    model.config.head_dim = model.model.layers[0].self_attn.head_dim
    trouble = trouble_within(
        bridge_check.bound_of(model.config, kept), place, facts, model, kept, expected
    )
    if trouble is None:
        return None
    # To measure the bound takes longer than to ask whether it is needed.
    bound = rounding_bound(model, kept, expected)
    return trouble_within(bound, place, facts, model, kept, expected)


def trouble_within(bound, place, facts, model, kept, expected):
    """What disagrees by more than `bound` of the largest logit; None where nothing does."""
    mixed = len(set(kept)) > 1
    size = expected.abs().max().item()
    if (place / "logits.json").exists():
        own = np.array(json.loads((place / "logits.json").read_text()))
        worst = np.abs(own.reshape(expected.shape) - expected.numpy()).max()
        if not worst <= bound * size:
            return (
                f"our logits differ by {worst / size} of the largest, more than {bound}"
            )
    for name in ("huggingface", "onnx"):
        if facts.get(name):
            return f"{name}: {facts[name]}"
    if "huggingface" in facts:
        stock = type(model)
        trouble = trouble_with(
            place / "huggingface",
            kept,
            stock,
            not mixed,
            bridge_check.widths_of,
            TOKENS,
            expected,
            bound,
        )
        if trouble:
            return f"huggingface: {trouble}"
    if "onnx" in facts:
        for logits in onnx_logits(place / "onnx", short_length(model.config)):
            tokens = TOKENS[:, : logits.shape[1]]
            worst = np.abs(logits - model(tokens, use_cache=False).logits.numpy()).max()
            if not worst <= bound * size:
                return f"onnx: logits differ by {worst / size} of the largest"
    if facts.get("gguf"):
        alone = mixed and WITHOUT_MIXED_GGUF in facts["gguf"]
        known = alone or facts["gguf"].startswith("gguf cannot hold this model: ")
        return None if known else f"gguf: {facts['gguf']}"
    if "gguf" in facts:
        return gguf_trouble(place / "gguf", place / "huggingface", mixed)
    return None


def check(case):
    facts = json.loads((case / "case.json").read_text())
    full = strict(case / "full")
    for name, own in facts.items():
        trouble = check_widths(case / name, full, own)
        if trouble:
            return f"{name}: {trouble}"
    held = sum(own.get("gguf") == "" for own in facts.values())
    print(f"{case.name}: {held} of 3 held by gguf", end="; ")
    return None


def text_part_of_gemma3():
    """What the lines of docs/models.md write computes what the whole model does of text."""
    page = (Path(__file__).parents[2] / "docs/models.md").read_text()
    lines = page.split("```")[-2]
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4}
    text = sizes | {"num_hidden_layers": 2, "num_key_value_heads": 2, "head_dim": 8}
    vision = sizes | {"num_hidden_layers": 1, "image_size": 28, "patch_size": 14}
    images = {"image_token_index": 49, "boi_token_index": 48, "eoi_token_index": 47}
    config = Gemma3Config(
        text_config=text | {"vocab_size": 50}, vision_config=vision, **images
    )
    with tempfile.TemporaryDirectory() as place:
        Gemma3(config).to(torch.bfloat16).save_pretrained(f"{place}/MODEL")
        whole = Gemma3.from_pretrained(f"{place}/MODEL", dtype="auto").eval()
        for name in ("MODEL", "TEXT"):
            lines = lines.replace(f'"{name}"', f'"{place}/{name}"')
        script = Path(place) / "save.py"
        script.write_text(lines)
        runpy.run_path(str(script))
        alone, info = AutoModelForCausalLM.from_pretrained(
            f"{place}/TEXT", dtype="auto", output_loading_info=True
        )
    wrong = {k: v for k, v in info.items() if v}
    assert not wrong, wrong
    assert alone.config.model_type == "gemma3_text" and alone.dtype == torch.bfloat16
    with torch.no_grad():
        logits = whole(input_ids=TOKENS % 47).logits
        assert torch.equal(alone.eval()(TOKENS % 47).logits, logits)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    text_part_of_gemma3()
    judge(check)
