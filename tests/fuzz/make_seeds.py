"""Writes the seeds of the fuzz targets, tests/fuzz/seeds/READER/NAME: small sound files of each kind,
and small hostile ones. The same bytes each time.

    .venv/bin/python tests/fuzz/make_seeds.py
"""

import base64
import gzip
import json
import math
import pathlib
import sqlite3
import struct
import tempfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEDS = ROOT / "tests/fuzz/seeds"

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "float32",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "vocab_size": 256,
    "max_position_embeddings": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "matformer_granularities": [8, 16, 32],
}
MATMAMBA = {
    "d_model": 32,
    "n_layer": 2,
    "vocab_size": 256,
    "ssm_cfg": {"layer": "MatMamba2", "d_state": 8},
    "rms_norm": True,
    "tie_embeddings": True,
}


GEMMA3N = {
    "model_type": "gemma3n_text",
    "vocab_size": 256,
    "vocab_size_per_layer_input": 200,
    "hidden_size": 16,
    "hidden_size_per_layer_input": 8,
    "intermediate_size": [32, 32],
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
    "num_kv_shared_layers": 0,
    "activation_sparsity_pattern": [0.95, 0.0],
    "altup_num_inputs": 4,
    "laurel_rank": 4,
}
VIT = {
    "architectures": ["ViTForImageClassification"],
    "model_type": "vit",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
    "id2label": {"0": "a", "1": "b"},
}
TIMM_VIT = {
    "architecture": "vit_tiny_patch16_224",
    "num_classes": 2,
    "model_args": {"depth": 2, "img_size": 32},
    "pretrained_cfg": {"input_size": [3, 32, 32], "crop_pct": 0.9},
}
MAMBA2_VISION = {
    "model_type": "mixnmatch_mamba2_vision",
    "d_model": 32,
    "n_layer": 2,
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 1,
    "n_classes": 2,
    "ssm_cfg": {"layer": "MatMamba2", "d_state": 8},
}


def write(reader, name, content):
    path = SEEDS / reader / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def safetensors(tensors, metadata):
    """`tensors`: name to dtype, shape, bytes."""
    header, data = {"__metadata__": metadata}, b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def checkpoint_seeds():
    tensors = {"a": ("F32", [2, 2], bytes(16)), "b": ("BF16", [3], bytes(6))}
    sound = safetensors(tensors, {"format": "pt"})
    write("safetensors", "sound", sound)
    write("safetensors", "of_no_tensors", safetensors({}, {}))
    write("safetensors", "cut_off", sound[:40])
    write("safetensors", "pickled", b"\x80\x02}q\x00.")
    write("safetensors", "long_header", struct.pack("<Q", 2**63) + b"{}")

    per_layer = {**LLAMA, "matformer_granularities": [[8, 32], [16, 32]]}
    endless = {**LLAMA, "num_hidden_layers": 65536}
    hub = {"model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 2}
    hub |= {"state_size": 8, "num_heads": 8, "head_dim": 8, "vocab_size": 256}
    configs = {"llama": LLAMA, "per_layer": per_layer, "many_layers": endless}
    configs |= {"matmamba": MATMAMBA, "mamba2": hub, "gemma3n": GEMMA3N}
    configs |= {"vit": VIT, "timm_vit": TIMM_VIT, "mamba2_vision": MAMBA2_VISION}
    for name, config in configs.items():
        write("config", name, json.dumps(config))

    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    weight_map = dict(zip("ab", shards, strict=True))
    write("index", "sound", json.dumps({"weight_map": weight_map}))
    write(
        "index", "elsewhere", json.dumps({"weight_map": {"a": "../../x.safetensors"}})
    )

    probe = {
        "format": "mixnmatch-probe-2",
        "widths": "16x2",
        "fingerprint": "0" * 32,
        "artifact": "1" * 32,
        "tokens": "1,0",
        "tolerance": "1e-5",
        "operand_tolerance": "1e-4",
        "moved": "0",
    }
    write("probe", "sound", safetensors({"logits": ("F32", [2, 3], bytes(24))}, probe))
    of_pixels = {key: value for key, value in probe.items() if key != "tokens"}
    pixels = {
        "logits": ("F32", [1, 3], bytes(12)),
        "pixels": ("F32", [1, 1, 2, 2], bytes(16)),
    }
    write("probe", "pixels", safetensors(pixels, of_pixels))


def byte_letters():
    """GPT-2's letter for each byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    letters = {byte: chr(byte) for byte in kept}
    letters.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return [letters[byte] for byte in range(256)]


def tokenizer_seeds():
    vocabulary = {letter: i for i, letter in enumerate(byte_letters())}
    vocabulary |= {"tw": 256, "two": 257}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": 258, "content": "<s>", "special": True, "normalized": False}
            | {"single_word": False, "lstrip": False, "rstrip": False}
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [258], "tokens": ["<s>"]}},
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": [["t", "w"], ["tw", "o"]],
        },
    }
    write("tokenizer", "byte_level", json.dumps(tokenizer, ensure_ascii=False))
    tokenizer["model"]["merges"] = ["t w", "tw o"]
    tokenizer["post_processor"] = None
    write("tokenizer", "old_merges", json.dumps(tokenizer, ensure_ascii=False))

    pieces = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["\u2581", "t", "w", "o", "tw", "two"]
    tokenizer["added_tokens"][0]["id"] = 1
    tokenizer["pre_tokenizer"] = None
    tokenizer["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        ],
    }
    tokenizer["decoder"] = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    }
    tokenizer["model"] |= {
        "byte_fallback": True,
        "fuse_unk": True,
        "unk_token": "<unk>",
        "vocab": {piece: i for i, piece in enumerate(pieces)},
    }
    write("tokenizer", "sentencepiece", json.dumps(tokenizer, ensure_ascii=False))
    splits = [
        {"type": "Digits", "individual_digits": True},
        {
            "type": "Split",
            "pattern": {"Regex": "\\s?\\p{L}+|\\s+(?!\\S)|[^\\s\\p{L}]+"},
            "behavior": "Isolated",
            "invert": False,
        },
    ]
    tokenizer["normalizer"] = {"type": "NFC"}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": splits}
    write("tokenizer", "splits", json.dumps(tokenizer, ensure_ascii=False))


def token_file_seeds():
    write("token_file", "bytes", bytes(range(64)))
    for magic, version, code in ((20240520, 1, "H"), (20240801, 7, "I")):
        head = struct.pack("<256i", magic, version, 4, *[0] * 253)
        write(
            "token_file", f"llm_c_{code}", head + struct.pack(f"<4{code}", 1, 2, 3, 4)
        )
    head = "{'descr': '<i4', 'fortran_order': False, 'shape': (4,), }"
    head += " " * (118 - 1 - len(head)) + "\n"
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
    write("token_file", "npy", npy + struct.pack("<4i", 1, 2, 3, 4))


def task_file_seeds():
    """Two questions, a text in two windows, and places that lie. The fingerprints are those that the
    reader computes (XXH3)."""

    def numbers(*values):
        return ("I64", [len(values)], struct.pack(f"<{len(values)}q", *values))

    def tokens(*values):
        return ("I32", [len(values)], struct.pack(f"<{len(values)}i", *values))

    about = {"cut": "0", "delimiter": " ", "format": "mixnmatch-task-1", "prefix": "0"}
    about |= {
        "source": "q.jsonl",
        "vocab_size": "256",
        "vocabulary": "v",
        "window": "4",
    }
    questions = {
        "answer_begin": numbers(0, 3, 6, 8),
        "scored": numbers(1, 2, 1),
        "document_begin": numbers(0, 2, 3),
        "code_points": numbers(1, 2, 1),
        "bytes": numbers(1, 3, 1),
        "gold": numbers(1, 0),
        "tokens": tokens(1, 2, 3, 1, 2, 4, 5, 6),
    }
    texts = {
        "answer_begin": numbers(0, 5, 10),
        "scored": numbers(4, 2),
        "document_begin": numbers(0, 2),
        "words": numbers(3),
        "text_bytes": numbers(6),
        "tokens": tokens(0, 1, 2, 3, 4, 2, 3, 4, 5, 6),
    }
    for kind, arrays, fingerprint in (
        ("questions", questions, "21771bd8cbef5a705abb8b4a32eb6e8a"),
        ("texts", texts, "9465f2d4aa3c642d675d9211317d0822"),
    ):
        head = {**about, "kind": kind, "fingerprint": fingerprint}
        write("task_file", kind, safetensors(arrays, head))
    lying = {**questions, "answer_begin": numbers(0, 2**62, 2**62 + 1, 8)}
    head = {**about, "kind": "questions", "fingerprint": "0" * 32}
    write("task_file", "lying_places", safetensors(lying, head))


def store_seeds():
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "s.db"
        store = sqlite3.connect(path, isolation_level=None)
        store.execute("PRAGMA page_size = 512")
        store.executescript((ROOT / "db/schema.sql").read_text())
        store.execute("INSERT INTO model VALUES (1, 'f', 'm', 'llama', '{}', '8')")
        store.execute("INSERT INTO data VALUES (1, 'f', 'd', 8, 2, 'tokens')")
        store.execute(
            "INSERT INTO run VALUES (1, 1, 1, 'search', 'f32', 'search', 'grid', 1, '{}', 'c',"
            " 'b', 'cpu', '2026-01-31T12:00:00Z', 'done', NULL, NULL, NULL, NULL, NULL)"
        )
        for record, width, loss in ((1, "8", 1.5), (2, "16", 1.25)):
            row = (record, width, int(width), int(width))
            store.execute(
                "INSERT INTO record VALUES (?, 1, 1, 1, 'f32', ?, 2, ?, 1, ?, 1, 1, 0)",
                row,
            )
            store.execute(
                "INSERT INTO score VALUES ('loss', ?, 'ok', ?, 0.25)", (record, loss)
            )
            store.execute("INSERT INTO run_record VALUES (1, ?, ?)", (record, record))
        store.execute("VACUUM")
        store.close()
        sound = path.read_bytes()
    write("store", "sound", sound)
    magic = bytes.fromhex("d9d505f920a163d7")
    head = magic + struct.pack(">5I", 0, 0, len(sound) // 512, 512, 512)
    naming = head.ljust(512, b"\0") + struct.pack(">I", 0x40000000 // 512 + 1)
    naming += b"/v" + struct.pack(">2I", 2, sum(b"/v")) + magic
    for name, journal in (
        ("naming_journal", naming),
        ("plain_journal", head.ljust(512, b"\0")),
    ):
        write("store", name, b"J" + struct.pack("<I", len(sound)) + sound + journal)
    write_ahead = struct.pack(">8I", 0x377F0682, 3007000, 512, 0, 1, 2, 3, 4)
    write(
        "store",
        "write_ahead",
        b"W" + struct.pack("<I", len(sound)) + sound + write_ahead,
    )


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text.encode()


def gguf_seeds():
    fields = (
        gguf_string("general.architecture")
        + struct.pack("<I", 8)
        + gguf_string("llama")
    )
    fields += gguf_string("llama.block_count") + struct.pack("<II", 4, 2)
    fields += gguf_string("widths") + struct.pack("<IIQ2I", 9, 4, 2, 16, 32)
    tensor = gguf_string("a") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 3) + fields + tensor
    head += bytes(-len(head) % 32)
    write("gguf", "sound", head + bytes(32))
    write("gguf", "many_fields", b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60))


def field(number, content):
    """Of protobuf: a length-delimited field, or a number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def onnx_seeds():
    def entry(key, value):
        return field(1, key.encode()) + field(2, value.encode())

    # TensorProto: dims 1, data_type 2, name 8, external_data 13, data_location 14.
    external = {"location": "model.onnx.data", "offset": "0", "length": "32"}
    tensor = field(1, 2) + field(1, 4) + field(2, 1) + field(8, b"a")
    tensor += b"".join(field(13, entry(*pair)) for pair in external.items()) + field(
        14, 1
    )
    graph = field(2, b"g") + field(5, tensor)
    # ModelProto: ir_version 1, graph 7, opset_import 8 (version 2), metadata_props 14.
    model = field(1, 8) + field(7, graph) + field(8, field(2, 17))
    write("onnx", "sound", model + field(14, entry("mixnmatch.widths", "16x2")))
    write("onnx", "elsewhere", model.replace(b"model.onnx.data", b"../../../x.data"))


# Nine by seven pixels, with an orientation in EXIF.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAiRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAD/2wBDABsSFBcU"
    "ERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/2wBDARwe"
    "HigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/wAAR"
    "CAAHAAkDASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQA"
    "AAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdI"
    "SUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXG"
    "x8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL"
    "/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcY"
    "GRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOk"
    "paanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwCK"
    "O0jyQtqCOx3Yqb7Gn/PqP++x/hRRSUm/6YOEex//2Q=="
)


def png(width, height, depth, kind, rows, more=b""):
    def chunk(name, content):
        check = zlib.crc32(name + content)
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
        )

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + data


def image_seeds():
    write("image", "jpeg", JPEG)
    write("image", "png_rgb", png(2, 2, 8, 2, b"\0abcdef\1ghijkl"))
    write("image", "png_grey16_alpha", png(1, 1, 16, 4, b"\0abcd"))
    write("image", "png_large", png(2**31 - 1, 2**31 - 1, 8, 2, b"\0"))


def tar_member(name, content, kind=b"0"):
    head = name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    head += b"%011o\0" % len(content) + b"00000000000\0" + b" " * 8 + kind
    head = (head + bytes(100) + b"ustar\00000").ljust(512, b"\0")
    head = head[:148] + b"%06o\0 " % sum(head) + head[156:]
    return head + content + bytes(-len(content) % 512)


def image_source_seeds():
    picture = png(1, 1, 8, 0, b"\0a")
    pair = tar_member("1.png", picture) + tar_member("1.cls", b"0")
    write("image_source", "tar", pair + bytes(1024))
    write("image_source", "tar_above", tar_member("../1.png", picture) + bytes(1024))
    idx = struct.pack(">4I", 0x803, 2, 2, 3) + bytes(range(12))
    write("image_source", "idx", idx)
    write("image_source", "idx_gzipped", gzip.compress(idx, 9, mtime=0))
    write("image_source", "idx_large", struct.pack(">4I", 0x803, *[2**32 - 1] * 3))


def npy(descr, shape, content):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}"
    head += " " * (118 - 1 - len(head)) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + content


def array_seeds():
    labels = npy("<i8", (2,), struct.pack("<2q", 0, 1))
    huge = npy("<f4", (2**62, 4), bytes(8))
    write("features", "vectors", npy("<f4", (2, 3), struct.pack("<6f", *range(6))))
    write("features", "classes", labels)
    write("features", "huge", huge)
    write("image_set", "bytes", npy("|u1", (2, 2, 3, 1), bytes(range(12))))
    write(
        "image_set", "floats", npy("<f4", (2, 1, 2, 2), struct.pack("<8f", *range(8)))
    )
    write("image_set", "labels", labels)
    write("image_set", "huge", huge)


def companion_seeds():
    """What lies beside a checkpoint, and what comes to a server."""
    processor = {"image_processor_type": "ViTImageProcessor", "do_resize": True}
    processor |= {
        "size": {"height": 8, "width": 8},
        "resample": 2,
        "do_normalize": True,
    }
    processor |= {
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "rescale_factor": 1 / 255,
    }
    write("preprocessor_config", "vit", json.dumps(processor))
    write("preprocessor_config", "timm", json.dumps(TIMM_VIT))

    chatml = (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    write("chat_template", "chatml", chatml)
    about = {
        "chat_template": chatml,
        "bos_token": "<s>",
        "eos_token": {"content": "</s>"},
    }
    write("chat_template", "tokenizer_config", json.dumps(about))
    write("chat_template", "generation_config", json.dumps({"eos_token_id": [1, 2]}))

    questions = [
        {"context": "2 + 2 =", "choices": ["3", "4"], "gold": 1},
        {"contexts": ["Ann", "Bo"], "continuation": "sings", "gold": 0},
    ]
    for name, lines in (("questions", questions), ("texts", [{"text": "A text."}])):
        write("questions", name, "".join(json.dumps(line) + "\n" for line in lines))

    own = {"config.json": {"bytes": 2, "fingerprint": "0" * 32}}
    write("own_files", "sound", json.dumps({"mixnmatch_files": 1, "files": own}))

    completion = {"model": "8x2", "prompt": ["a", "b"], "max_tokens": 2, "logprobs": 1}
    chat = {
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stop": "x",
    }
    proposals = [{"token": 1, "probabilities": [[1, 0.75], [2, 0.25]]}]
    verify = {"tokens": [1, 2], "draft": proposals, "temperature": 1, "seed": 1}
    for name, body in (("completion", completion), ("chat", chat), ("verify", verify)):
        write("request_body", name, json.dumps(body))


def unfinished_seeds():
    """What this program reads of its own work: of a verifier, of an image set, of a training run."""
    answer = {"session": "verify-1", "accepted": 1, "token": 7, "length": 4}
    answer |= {"widths": "8x2", "computed": 3, "seconds": 0.25}
    write("verify_answer", "sound", json.dumps(answer))
    write("verify_answer", "no_time", json.dumps(answer | {"seconds": -1}))

    first = "mixnmatch unfinished image set identity\n"
    lines = [{"next": 10, "broken": {}}, {"next": 20, "broken": {"11": "no JPEG"}}]
    journal = first + "".join(json.dumps(line) + "\n" for line in lines)
    write("unfinished_set", "sound", journal)
    write("unfinished_set", "cut_off", journal[:-20])
    write("unfinished_set", "of_others", journal.replace("identity", "other"))
    write("unfinished_set", "beyond", first + json.dumps({"next": 2**63}) + "\n")

    layer = "model.layers.0."
    shapes = {"model.embed_tokens": [3, 2], "model.norm": [2]}
    for name in ("q", "k", "v", "o"):
        shapes[f"{layer}self_attn.{name}_proj"] = [2, 2]
    for name in ("gate", "up", "down"):
        shapes[f"{layer}mlp.{name}_proj"] = [2, 2]
    for name in ("input_layernorm", "post_attention_layernorm"):
        shapes[layer + name] = [2]
    tensors = {
        f"{part}.{name}.weight": ("F32", shape, bytes(4 * math.prod(shape)))
        for part in ("weight", "first", "second")
        for name, shape in shapes.items()
    }
    write("train_state", "sound", safetensors(tensors, {"step": "5", "seed": "1"}))
    write("train_state", "other_seed", safetensors(tensors, {"step": "5", "seed": "2"}))
    write("train_state", "no_step", safetensors(tensors, {"step": "-5", "seed": "1"}))


if __name__ == "__main__":
    array_seeds()
    companion_seeds()
    unfinished_seeds()
    checkpoint_seeds()
    tokenizer_seeds()
    token_file_seeds()
    task_file_seeds()
    store_seeds()
    gguf_seeds()
    onnx_seeds()
    image_seeds()
    image_source_seeds()
