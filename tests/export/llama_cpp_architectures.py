"""Every architecture and tokenizer that GGUF holds, as llama.cpp computes it.

Architectures: small random models with weights of a spread of 0.3, against transformers in f64 of the
Hugging Face export of the same widths. llama_cpp_check.py derives what they may differ by. Besides,
llama.cpp takes GeLU from a table of f16, so that its argument and its value are rounded to f16: both
get an independent error of up to 2^-11 of their size.

Gemma 3n, of the shape that llama.cpp has in its code: it clips gates by their deviation as of a sample,
so transformers is made to. Submodels of one width, without some layers, and mixed ones that are padded
to one width, as their probes say and against f64.

Tokenizers: those that tests/text/tokenizer_check.py trains, of every kind that a GGUF file may carry,
on its hostile texts, against the tokenizers package.

Usage: scripts/llama-cpp; or this file alone, with part of a case's name as an argument.
"""

import json
import logging
import os
import re
import sys
import tempfile
import unicodedata
from pathlib import Path

import llama_cpp
import llama_cpp_check as common
import numpy as np
import sentence_piece_check as pieces_check
from gemma3n_sample import clipped_as_a_sample
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Tokenizer
from transformers.utils import logging as transformers_logging

ROOT = Path(__file__).resolve().parents[2]
text_check, steps_check = pieces_check.tokenizer_check, pieces_check.steps_check
# The letters that DeepSeek-LLM's expression lists.
LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd"
    "\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126"
    "\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184"
    "\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f"
    "\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
DEEPSEEK_LLM = steps_check.sequence(
    steps_check.split("[\r\n]"),
    steps_check.split(rf"\s?[{LETTERS}]+"),
    steps_check.split(
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
    ),
    steps_check.split("\\s+$"),
    steps_check.split(steps_check.CHINESE),
    steps_check.digits(True),
    steps_check.byte_level(),
)
QWEN_35 = (
    steps_check.LLAMA_3.replace(r"\p{L}+", r"[\p{L}\p{M}]+")
    .replace(r"{1,3}", "")
    .replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
)
SEED = steps_check.LLAMA_3.replace("{1,3}", "{1}").replace(
    r"[^\s\p{L}\p{N}]+[\r\n]*", "[^\\s\\p{L}\\p{N}\r\n]+"
)
PHI_3 = ("<unk>", "<s>", "<|endoftext|>")
# Added tokens with one flag each. They begin, end or go on as the hostile texts do.
FLAGS = {
    "flag_none": [
        *(AddedToken(t, normalized=False) for t in ("<|end|>", "<|end|>>", "<tool")),
        *(AddedToken(t, normalized=True) for t in ("hello", "\n\n", "\n\n\n", "Zé")),
    ],
    "flag_lstrip": [AddedToken("<|end|>", normalized=False, lstrip=True)],
    "flag_rstrip": [AddedToken("<|end|>", normalized=False, rstrip=True)],
    "flag_single_word": [AddedToken("hello", normalized=False, single_word=True)],
    "flag_normalized": [
        AddedToken("<tool", normalized=False),
        AddedToken("<tool>", normalized=True),
    ],
}
# What no GGUF file holds, and is refused.
NOT_HELD = {"prefix", "takes_spaces", "unknown_bytes", "unknown_False", "unknown_True"}
# Their trainer leaves merges out that SentencePiece has; this one has other letters than the public one.
NOT_HELD |= {"no_bytes", "gemma", "llama_2", "metaspace_decoder", "deepseek"}
NOT_HELD |= {"metaspace_always", "metaspace_first", "metaspace_never"}
# llama.cpp cuts a text at its added tokens as it stands there, whatever is beside them.
NOT_HELD |= {f"flags_{kind}" for kind in range(text_check.FLAG_KINDS)}
NOT_HELD |= FLAGS.keys() - {"flag_none"}
LOUD = 0.3
BASE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "matformer_granularities": [32, 64, 128],
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500.0,
    "tie_word_embeddings": False,
    "vocab_size": 256,
    "dtype": "float32",
    "initializer_range": LOUD,
    "pad_token_id": 0,  # some configurations have one by default that is past this vocabulary
}
LINEAR = {"rope_scaling": {"type": "linear", "factor": 4.0}}
YARN = {
    "rope_scaling": {
        "type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 64,
    }
}
LLAMA3 = {
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
}


def longrope(original):
    """llama.cpp takes the long divisors where it is opened for more positions than the original ones,
    256 at least; the probe has more than 16 tokens and fewer than 256."""
    return {
        "max_position_embeddings": 4 * original,
        "original_max_position_embeddings": original,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0 + i / 16 for i in range(8)],
            "long_factor": [1.0 + i for i in range(8)],
        },
    }


GRANITE = {
    "attention_multiplier": 0.0625,
    "embedding_multiplier": 12.0,
    "logits_scaling": 6.0,
    "residual_multiplier": 0.22,
    "tie_word_embeddings": True,
}
GEMMA = {
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 16,
    "sliding_window": 12,
    "tie_word_embeddings": True,
}
LOCAL = {"rope_local_base_freq": 20.0, "num_hidden_layers": 7}
# Name: the class's stem, model_type, and what differs from BASE.
ARCHITECTURES = {
    "llama_linear": ("Llama", "llama", LINEAR),
    "llama_yarn": ("Llama", "llama", YARN),
    "llama_longrope_short": ("Llama", "llama", longrope(256)),
    "llama_longrope_long": ("Llama", "llama", longrope(16)),
    "mistral": ("Mistral", "mistral", {"sliding_window": None, "head_dim": 32}),
    "mistral_window": ("Mistral", "mistral", {"sliding_window": 100}),
    "ministral": ("Ministral", "ministral", {"sliding_window": 100}),
    "cwm": ("Cwm", "cwm", LLAMA3 | {"sliding_window": 100, "head_dim": 32}),
    "yi": ("Yi", "Yi", {}),
    "internlm2": ("InternLM2", "internlm2", {"bias": True}),
    "internlm3": ("InternLM3", "internlm3", {"bias": True, "qkv_bias": True}),
    "qwen2": ("Qwen2", "qwen2", {}),
    "qwen3": ("Qwen3", "qwen3", {"head_dim": 32}),
    "qwen3_yarn": ("Qwen3", "qwen3", YARN | {"head_dim": 16}),
    "phi3": ("Phi3", "phi3", {"sliding_window": None}),
    "phi3_longrope_short": (
        *("Phi3", "phi3"),
        longrope(256) | {"sliding_window": None},
    ),
    "phi3_longrope_long": ("Phi3", "phi3", longrope(16) | {"sliding_window": None}),
    "phi3_partial": ("Phi3", "phi3", {"partial_rotary_factor": 0.75}),
    "granite": ("Granite", "granite", GRANITE),
    "granite_bias": (
        *("Granite", "granite"),
        GRANITE | {"attention_bias": True, "mlp_bias": True},
    ),
    "minicpm": (
        *("MiniCPM", "minicpm"),
        {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16},
    ),
    "smollm3": ("SmolLM3", "smollm3", {}),
    "olmo2": ("Olmo2", "olmo2", {}),
    "olmo3": (
        *("Olmo3", "olmo3"),
        YARN | {"sliding_window": 12, "rope_theta": 500000.0},
    ),
    "exaone4": ("Exaone4", "exaone4", LLAMA3 | {"sliding_window": None}),
    "seed_oss": ("SeedOss", "seed_oss", {"head_dim": 32}),
    "glm": ("Glm", "glm", {"head_dim": 16}),
    "glm4": ("Glm4", "glm4", {"head_dim": 32}),
    "ernie": ("Ernie4_5", "ernie4_5", {"head_dim": 16}),
    "gemma": (
        *("Gemma", "gemma"),
        {"head_dim": 16, "hidden_act": "gelu", "tie_word_embeddings": True},
    ),
    "gemma2": ("Gemma2", "gemma2", GEMMA),
    "gemma3": ("Gemma3", "gemma3_text", GEMMA | LOCAL),
    "gemma3_linear": ("Gemma3", "gemma3_text", GEMMA | LOCAL | LINEAR),
}
WITHOUT_MIXED = "llama.cpp has them for Llama's arithmetic alone"


def architectures(place, wanted):
    sound = True
    for name, (stem, kind, more) in ARCHITECTURES.items():
        if wanted not in name:
            continue
        config = BASE | {"architectures": [f"{stem}ForCausalLM"], "model_type": kind}
        config |= more
        source = common.random_checkpoint(place / name, config)
        layers = config["num_hidden_layers"]
        for widths in (f"64x{layers}", f"32,128,96x{layers - 2}"):
            label = f"{name}-{widths}"
            try:
                out = common.export(source, widths, "gguf", "f32", place / label)
            except SystemExit as refused:
                assert WITHOUT_MIXED in str(refused), refused
                continue
            full = common.export(
                source, widths, "huggingface", "f32", place / f"{label}-hf"
            )
            tokens = common.verify.read_probe(out).tokens
            sound &= common.loud_agrees(out, full, tokens)
    return sound


# Twenty layers with keys and values of their own, ten of them with clipped gates, and five after them.
GEMMA3N = {
    "architectures": ["Gemma3nForCausalLM"],
    "model_type": "gemma3n_text",
    "activation_sparsity_pattern": [0.95] * 10 + [0.0] * 15,
    "head_dim": 16,
    "hidden_size": 64,
    "hidden_size_per_layer_input": 256,
    "initializer_range": 0.125,
    "intermediate_size": 1024,
    "laurel_rank": 64,
    "matformer_granularities": [256, 512, 1024],
    "max_position_embeddings": 256,
    "mixnmatch_may_skip": [20, 21, 22, 23, 24],
    "num_attention_heads": 4,
    "num_hidden_layers": 25,
    "num_key_value_heads": 2,
    "num_kv_shared_layers": 5,
    "rms_norm_eps": 1e-6,
    "sliding_window": 12,
    "vocab_size": 256,
    "vocab_size_per_layer_input": 250,
    "dtype": "float32",
}
# Rounding to q8_0 moves this model by as much as its logits are: that llama.cpp loads it is all that is
# asked.
GEMMA3N_WIDTHS = [
    ("1024x25", [], ["f32", "f16", "q8_0"]),
    ("256x20,-,256,-x2,256", [], ["f32"]),
    ("256x3,1024x2,512x5,64x10,-,1024x4", ["--pad-to-uniform"], ["f32"]),
]


def calm_checkpoint(place):
    """Norms that do something. Scores are not divided by a root here, so those of heads keep them small."""
    source = common.random_checkpoint(place, GEMMA3N)
    file = source / "model.safetensors"
    weights, random = load_file(file), np.random.default_rng(2)
    for name, vector in weights.items():
        if vector.ndim == 1:
            centre = 0.4 if ".q_norm." in name or ".k_norm." in name else 1
            vector[:] = centre * (1 + random.normal(0, 0.1, vector.shape))
    save_file(weights, file, metadata={"format": "pt"})
    return source


def gemma3n(place, wanted):
    if wanted not in "gemma3n":
        return True
    source, sound = calm_checkpoint(place / "gemma3n"), True
    for case, (widths, pad, dtypes) in enumerate(GEMMA3N_WIDTHS):
        full = place / f"gemma3n-{case}-hf"
        common.mixnmatch(
            *("export", source, "--widths", widths, *pad, "--no-check", "--out", full)
        )
        for dtype in dtypes:
            out = place / f"gemma3n-{case}-{dtype}"
            said = common.mixnmatch(
                *("export", source, "--widths", widths, *pad, "--out", out),
                *("--format", "gguf", "--dtype", dtype, "--threads", 1),
            )
            print(*(line for line in said.splitlines() if "moved" in line), sep="\n")
            if dtype == "q8_0":
                tokens = common.verify.read_probe(out).tokens
                sound &= bool(
                    np.isfinite(common.verify.run_llama_cpp(out, tokens)).all()
                )
            else:
                sound &= common.verified(out)["agrees"]
        f32 = place / f"gemma3n-{case}-f32"
        tokens = common.verify.read_probe(f32).tokens
        with clipped_as_a_sample():
            sound &= common.loud_agrees(f32, full, tokens)
    return sound


def of_steps(name, corpus, steps, ignores_merges=False):
    """Trained on what the steps make of the corpus."""
    trained = text_check.trained(corpus, None, ignores_merges)
    trained = text_check.changed(trained, {"pre_tokenizer": steps})
    trained.add_special_tokens(["<|end|>"])
    return name, trained


def sentence_pieces(corpus):
    """As the public files of SentencePiece's kind are."""
    for name, tokenizer in text_check.sentence_pieces(corpus):
        if name.startswith("unknown") or name == "no_bytes":
            continue
        facts = json.loads(tokenizer.to_str())
        for token in facts["added_tokens"]:
            token["normalized"] = False
        if name == "llama_2":
            phi = json.loads(json.dumps(facts))
            end = {**phi["added_tokens"][0], "content": "<|endoftext|>"}
            end["id"] = max(token["id"] for token in phi["added_tokens"]) + 1
            # They take up the white space after them, and none of them is white space.
            kept = [t for t in phi["added_tokens"] if t["content"].strip()]
            phi["added_tokens"] = [*kept, end]
            for token in phi["added_tokens"]:
                token["rstrip"] = token["content"] not in PHI_3
            phi = pieces_check.with_every_merge(phi)
            yield "phi_3", Tokenizer.from_str(json.dumps(phi))
        whole = pieces_check.with_every_merge(facts)
        yield f"{name}_whole", Tokenizer.from_str(json.dumps(whole))


def more_kinds(corpus):
    steps = steps_check.sequence
    own = steps_check.byte_level
    split = steps_check.split
    yield of_steps("deepseek_llm", corpus, DEEPSEEK_LLM)
    yield of_steps("dbrx", corpus, steps(split(steps_check.LLAMA_3), own()))
    yield of_steps("cl100k", corpus, steps(split(steps_check.CL100K), own()))
    yield of_steps("seed", corpus, steps(split(SEED), own()))
    yield of_steps("qwen35", corpus, steps(split(QWEN_35), own()))
    yield of_steps("tekken", corpus, steps(split(steps_check.TEKKEN), own()), True)
    yield of_steps("deepseek_3", corpus, steps_check.PRE_TOKENIZERS[9])
    yield of_steps("deepseek_coder", corpus, steps_check.PRE_TOKENIZERS[10])
    for name, tokens in FLAGS.items():
        trained = text_check.trained(corpus, None, False)
        trained.add_tokens(tokens)
        yield name, trained
    yield from sentence_pieces(corpus)


def comparable(name, kind, text):
    """The text to compare, or None where llama.cpp is known to split it otherwise; docs/exports.md says
    so."""
    if "\u1c89" in text:
        return None  # a letter since Unicode 16, which it does not know
    if any(step["type"] == "NFC" for step in kind["normalizer"]):
        text = unicodedata.normalize("NFC", text)  # llama.cpp normalizes nothing
    # It takes all white space beyond ASCII for one character before it looks into ranges.
    if name.startswith("deepseek_") and name != "deepseek_3":
        return None if re.search(r"[^\S\x00-\x7f]", text) else text
    # For it marks are no letters here.
    if name in ("o200k", "tekken"):
        marked = any(unicodedata.category(c).startswith("M") for c in text)
        return None if marked else text
    added = [token["content"] for token in kind["added_tokens"]]
    # It puts a space before every piece between added tokens, also where there is one.
    if name.startswith("metaspace_") and not name.startswith("metaspace_never"):
        parts = re.split("|".join(map(re.escape, added)), text)
        spaced = any(part.startswith((" ", text_check.SPACE)) for part in parts)
        first = "first" in name and len(parts) > 1
        return None if spaced or first else text
    # What takes up white space takes up ASCII's alone.
    if name == "phi_3" and any(token in text for token in added):
        return None if re.search(r"[^\S\x00-\x7f]|[\x1c-\x1f]", text) else text
    return text


def tokenizers(place, wanted):
    corpus = place / "corpus.txt"
    corpus.write_text(Path(os.__file__).with_name("argparse.py").read_text())
    made = place / "tokenizers"
    made.mkdir()
    text_check.make(made, corpus, ROOT / "data/reference")
    for name, tokenizer in more_kinds(corpus.read_text()[:100000]):
        (made / name).mkdir()
        tokenizer.save(str(made / name / "tokenizer.json"))
        facts = {
            "vocabulary": max(tokenizer.get_vocab().values()) + 1,
            "texts": text_check.texts(corpus.read_text(), name),
        }
        (made / f"{name}.texts").write_text(json.dumps(facts))
    sound = True
    for folder in sorted(path for path in made.iterdir() if path.is_dir()):
        if wanted in folder.name:
            sound &= tokenizer_agrees(place, made, folder)
    return sound


def tokenizer_agrees(place, made, folder):
    facts = json.loads((made / f"{folder.name}.texts").read_text())
    config = BASE | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    config |= {"vocab_size": facts["vocabulary"], "num_hidden_layers": 1}
    source = common.random_checkpoint(place / f"of-{folder.name}", config)
    kind = json.loads((folder / "tokenizer.json").read_text())
    (source / "tokenizer.json").write_text(json.dumps(kind))
    out = place / f"{folder.name}-gguf"
    try:
        common.export(source, "64x1", "gguf", "f32", out)
    except SystemExit as refused:
        print(
            f"{folder.name}: not held:", str(refused).split("tokenizer: ")[-1].strip()
        )
        return folder.name in NOT_HELD
    theirs = llama_cpp.Llama(str(out / "model.gguf"), vocab_only=True, verbose=False)
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    kind["normalizer"] = flat(kind["normalizer"], "normalizers")
    wrong, compared = [], 0
    for text in facts["texts"]:
        text = comparable(folder.name, kind, text)
        if text is None:
            continue
        compared += 1
        found = theirs.tokenize(text.encode(), add_bos=False, special=True)
        if found != ours.encode(text, add_special_tokens=False).ids:
            wrong.append(text)
    named = theirs.metadata["tokenizer.ggml.pre"]
    print(f"{folder.name} ({named}): {compared} texts, {len(wrong)} otherwise")
    for text in sorted(wrong, key=len)[:3]:
        print("  ", repr(text[:80]))
    return not wrong and compared > 100 and folder.name not in NOT_HELD


def flat(step, key):
    if step is None:
        return []
    return (
        [one for part in step[key] for one in flat(part, key)]
        if key in step
        else [step]
    )


def main():
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        place = Path(folder)
        sound = architectures(place, wanted)
        sound &= gemma3n(place, wanted)
        sound &= tokenizers(place, wanted)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
