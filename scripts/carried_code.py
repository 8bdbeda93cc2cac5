"""What of an export a runtime would run as code: see scripts/verify.

An export comes from a stranger. Its config.json may name Python files that transformers imports, and
its genai_config.json libraries that onnxruntime-genai loads. What this program ships is known by its
bytes; anything else is for the user to trust.
"""

import json
import re
from pathlib import Path

FAMILIES = Path(__file__).resolve().parent.parent / "families"
LARGEST_CONFIG = 64 << 20  # bytes, as the program reads


def shipped_bridges():
    """The bridges of this program: name to bytes."""
    return {path.name: path.read_bytes() for path in FAMILIES.glob("*/modeling_*.py")}


def once_each(pairs):
    """A dict of what JSON says once: of two values readers may take either."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"its configuration says {twice!r} twice")
    return dict(pairs)


def read_config(path):
    """An object of JSON from a plain file; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    if path.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{path.name} has more than {LARGEST_CONFIG >> 20} MiB")
    config = json.loads(path.read_text(), object_pairs_hook=once_each)
    if not isinstance(config, dict):
        raise ValueError(f"{path.name} is no object")  # noqa: TRY004
    return config


def auto_map_classes(config):
    """What auto_map names: "module.Class", each once."""
    auto_map = config.get("auto_map", {})
    if not isinstance(auto_map, dict):
        raise ValueError("the auto_map of config.json is no object")  # noqa: TRY004
    named = []
    for value in auto_map.values():
        named += value if isinstance(value, list) else [value]
    return sorted({str(name) for name in named if name is not None})


def inner_auto_maps(value, path=""):
    """Where an auto_map stands inside another object, of which transformers may run it, too."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return []
    found = [path] if path and "auto_map" in value else []
    for key, inner in value.items():
        found += inner_auto_maps(inner, f"{path}.{key}" if path else str(key))
    return found


def python_files(directory):
    """Every Python file under the directory: whatever one imports, it may find."""
    return sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*.py")
    )


def holds(path, content):
    """Whether it is a file of these bytes. Another one is not read, whatever its size."""
    return (
        content is not None
        and path.is_file()
        and path.stat().st_size == len(content)
        and path.read_bytes() == content
    )


def named_kernels(value, key=""):
    """What settings such as _attn_implementation name of another repository, at any depth."""
    if isinstance(value, dict):
        inside = "implementation" in key  # of one for each part of the model
        return [
            n
            for k, inner in value.items()
            for n in named_kernels(inner, key if inside else k)
        ]
    if isinstance(value, list):
        return [n for inner in value for n in named_kernels(inner, key)]
    named = "implementation" in key and isinstance(value, str) and "/" in value
    return [f"the kernel {value} that its {key} names"] if named else []


def foreign_python(directory):
    """What transformers would run of the export that is not this program's, in words."""
    config = read_config(directory / "config.json")
    if "configuration_files" in config:
        raise ValueError(
            "its config.json names other files to be read in its place (configuration_files),"
            " which no export does: remove them"
        )
    if inner := inner_auto_maps(config):
        raise ValueError(
            f"its config.json names code inside {inner[0]} (auto_map), which no export does:"
            " remove it"
        )
    classes = auto_map_classes(config)
    for name in classes:
        if "--" in name or "/" in name:
            raise ValueError(
                f"its auto_map names code of another repository, {name}, which is not fetched:"
                " put the code beside the weights"
            )
    kernels = named_kernels(config)
    if not classes:
        return kernels  # transformers runs none of the files then
    bridges = shipped_bridges()
    foreign = [
        name
        for name in python_files(directory)
        if not holds(directory / name, bridges.get(name))
    ]
    missing = [
        f"{module}.py"
        for module in (name.rpartition(".")[0] for name in classes)
        if not (directory / f"{module}.py").is_file()
    ]
    if missing:
        raise ValueError(f"its auto_map names {missing[0]}, which is not there")
    return kernels + foreign


def strings_in(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value


def settings_of_sessions(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "session_options":
                yield inner
            else:
                yield from settings_of_sessions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from settings_of_sessions(inner)


def foreign_libraries(directory):
    """Settings of onnxruntime-genai that this program does not write, in words: some load code."""
    config = read_config(directory / "genai_config.json")
    foreign = [
        f"session_options {json.dumps(settings)[:200]}"
        for settings in settings_of_sessions(config)
        if settings not in ({}, {"provider_options": []})
    ]
    library = re.compile(r"library|\.(so|dll|dylib)(\.|$)")
    foreign += [text for text in strings_in(config) if library.search(text)]
    return sorted(set(foreign))
