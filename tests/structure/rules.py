"""The rules that the tree is held to (docs/architecture.md).

A rule is a function from a tree, {path: text}, to its complaints. structure_test.py tries them.
"""

import fnmatch
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Which rooms, or single headers, a room may include besides its own. `cli` sees everything. `base`
# is everybody's but the kernels'.
MAY_INCLUDE = {
    "base": set(),
    "model": set(),
    "kernels": set(),
    "heuristics": {"model"},
    "db": {"eval/metrics.h", "model", "search/budget.h"},
    "dataset": {"model"},
    "report": {"model"},
    "extract": {"model"},
    "image": {
        "dataset/npy.h",
        "dataset/pixel_scale.h",
        "extract/ordered_pipeline.h",
        "model",
    },
    "text": {"model"},
    "search": {"heuristics", "model"},
    "export": {"extract", "model", "text"},
    "eval": {"dataset", "model"},
    "fold": {"dataset", "eval", "kernels", "model"},
    "families": {
        "kernels",
        "model",
        "fold/fold.h",
        "fold/kv_block.h",
        "fold/launch.h",
        "fold/product.h",
        "export/gguf_model.h",
        "export/onnx_builder.h",
        "export/onnx_graph.h",
        "export/onnx_layers.h",
        "export/runtimes.h",
        "export/timm_model.h",
    },
    "train": {"dataset", "eval", "fold", "model"},
    "engine": {"dataset", "eval", "fold", "kernels", "model", "train"},
    "generate": {"engine", "model"},
    "cluster": {"eval", "model"},
    "study": {
        "cluster",
        "dataset",
        "db",
        "engine",
        "eval",
        "families",
        "model",
        "report",
        "search",
        "text",
    },
    "artifact": {
        "db",
        "engine",
        "eval",
        "export",
        "extract",
        "families",
        "heuristics",
        "image/preprocessor_config.h",
        "model",
        "report",
        "search/budget.h",
        "study",
    },
    "neurons": {
        "artifact",
        "dataset",
        "engine",
        "eval",
        "export",
        "extract",
        "families",
        "model",
    },
    "serve": {
        "artifact",
        "db",
        "engine",
        "families",
        "generate",
        "heuristics",
        "model",
        "text",
    },
}
ROOMS = set(MAY_INCLUDE) | {"cli"}
CPP = (".h", ".cpp", ".cu", ".inc")

# Third-party headers that belong to one room.
ONLY_IN = {
    r"sqlite3\.h": "db/*",
    r"boost/program_options.*": "cli/*",
    r"boost/(asio|beast)/.*": "serve/*",
    r"(onnx|google/protobuf)/.*": "export/onnx*",
    r"mpi\.h": "cluster/mpi_transport.cpp",
    r"(jpeglib|jerror)\.h": "image/jpeg.cpp",
    r"png\.h": "image/png.cpp",
    r"zlib\.h": "image/gzip.cpp",
}
TORCH = r"(ATen|c10|caffe2|torch)/.*"

# Families that exist or are meant to; a folder under families/ adds its own name.
FAMILIES = {"llama", "mamba", "gemma"}

# What runs, installs or configures; it fetches by package name and never from an address.
RUNS = r"(.*/)?(scripts/.*|\.ci/.*|CMake.*|.*\.(cmake|json|py|sh|cfg|toml)|requirements.*\.txt)"


def run(command, text=None):
    return subprocess.run(
        command, input=text, text=True, capture_output=True, cwd=ROOT, check=False
    )


def checkout():
    """The tracked files and those about to be, as text; None where this is no git checkout."""
    everything = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = run(["git", "-c", "safe.directory=*", *everything])
    if listed.returncode != 0:
        return None
    tree = {}
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file():
            data = path.read_bytes()
            tree[name] = "" if b"\0" in data else data.decode("utf-8", "replace")
    return tree


def room_of(path):
    return path.split("/")[0]


def room_sources(tree):
    return {p: t for p, t in tree.items() if room_of(p) in ROOMS and p.endswith(CPP)}


def without_comments(text):
    token = r'R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*(?:.|\n)*?\*/'
    return re.sub(token, lambda m: " " if m[0].startswith("/") else m[0], text)


def own_includes(text):
    return re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)


def foreign_includes(text):
    return re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.MULTILINE)


def may_include(room):
    base = set() if room == "kernels" else {"base"}
    return MAY_INCLUDE.get(room, ROOMS) | {room} | base


def rooms_include_only_their_own(tree):
    for path, text in room_sources(tree).items():
        room = room_of(path)
        for header in own_includes(text):
            allowed = may_include(room)
            if room_of(header) not in allowed and header not in allowed:
                yield f"{path} includes {header}"
            elif header not in tree:
                yield f"{path} includes {header}, which there is not"


def every_permission_is_used(tree):
    used = {
        (room_of(path), name)
        for path, text in room_sources(tree).items()
        for header in own_includes(text)
        for name in (header, room_of(header))
    }
    for room, allowed in MAY_INCLUDE.items():
        for name in sorted(allowed):
            if (room, name) not in used:
                yield f"{room} may include {name}, and does not"


def page_says_what_rooms_include(tree):
    """The table of docs/architecture.md is MAY_INCLUDE."""
    page = tree["docs/architecture.md"].split("\n## The rooms\n")[1].split("\n## ")[0]
    said = {}
    for rooms, allowed in re.findall(
        r"^\| (`[^|]*) \| ([^|]*) \|$", page, re.MULTILINE
    ):
        for room in re.findall(r"`(.+?)`", rooms):
            said[room] = set(re.findall(r"`(.+?)`", allowed))
    for room, allowed in MAY_INCLUDE.items():
        if said.get(room) != allowed:
            yield f"docs/architecture.md does not say what {room} may include: {sorted(allowed)}"


def types_have_names_of_their_own(tree):
    """All rooms share a namespace: two types of one name are one to the linker."""
    homes = {}
    for path, text in room_sources(tree).items():
        if path.endswith(".h"):
            definition = r"^(?:class|struct|enum class) (\w+)(?!:)\b(?: final)?(?:\s*:[^;{]*)?\s*\{"
            for name in re.findall(definition, without_comments(text), re.MULTILINE):
                first = homes.setdefault(name, path)
                if first != path:
                    yield f"{path} defines {name}, as {first} does"


def libraries_stay_in_their_room(tree):
    for path, text in room_sources(tree).items():
        for header in foreign_includes(text):
            for pattern, home in ONLY_IN.items():
                if re.fullmatch(pattern, header) and not fnmatch.fnmatch(path, home):
                    yield f"{path} includes <{header}>, which belongs in {home}"


def torch_is_behind_the_door(tree):
    """Only what is compiled into the engine's library may reach a Torch header."""
    sources = room_sources(tree)

    def reach(path, seen):
        text = sources.get(path, "")
        if any(re.fullmatch(TORCH, h) for h in foreign_includes(text)):
            return True
        new = [h for h in own_includes(text) if h not in seen]
        seen.update(new)
        return any(reach(h, seen) for h in new)

    listed = " ".join(
        re.findall(r"set\(_\w+_sources\b([^)]*)\)", tree["engine/CMakeLists.txt"])
    )
    engine = ["families/*/*fold.cpp"]
    for name in re.findall(r"\S+\.cpp", listed):
        inside = name.removeprefix("${PROJECT_SOURCE_DIR}/")
        engine.append(inside if inside != name else f"engine/{name}")
    for path in sources:
        compiled = path.endswith((".cpp", ".cu"))
        inside = any(fnmatch.fnmatch(path, e) for e in engine)
        if compiled and not inside and reach(path, {path}):
            yield f"{path} reaches a Torch header and is not one of the engine's sources"


# What writes to standard output or standard error. base/file alone writes files.
PRINTS = (
    r"\b(?:(?:fmt|std)::v?print\w*|std::w?(?:cout|cerr|clog)\b|"
    r"(?:v?[df]?w?printf|f?puts|f?putws|f?putw?c|putw?char|fwrite)(?:_unlocked)?\s*\(|"
    r"(?:perror|psignal|psiginfo|v?(?:warn|err)x?|error_at_line)\s*\(|"
    r"p?writev?2?\s*\(\s*(?:STDOUT_FILENO|STDERR_FILENO|fileno\s*\(\s*std\w+\s*\)|[12])\s*,)"
)
PRINTER = "cli/print.cpp"
SIGNALS = "cli/signals.cpp"  # constant sentences, where nothing else may be called
# What a model generated goes as it is to whoever reads it from a pipe.
RAW = r"\bwrite_raw\b"
RAW_FROM = {"cli/print.h", PRINTER, "cli/generate.cpp"}


def only_one_file_prints(tree):
    """What comes from outside reaches a terminal as cli/print makes it, or not at all."""
    for path, text in room_sources(tree).items():
        code = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', without_comments(text))
        around = [] if path in (PRINTER, SIGNALS) else re.findall(PRINTS, code)
        around += [] if path in RAW_FROM else re.findall(RAW, code)
        for call in around:
            yield f"{path} goes around {PRINTER}: {call}"


# Names that others fixed: a runtime's, that of a way to split text, and that of an algorithm.
FOREIGN = r"""llama[._]cpp(?:\.Llama)?|llama-bpe|kSentencePiece = "llama"|"ViT"|ViT's|mamba2_scan"""


def families_are_named_only_in_families(tree):
    names = FAMILIES | {
        p.split("/")[1] for p in tree if p.count("/") > 1 and room_of(p) == "families"
    }
    for path, text in tree.items():
        if room_of(path) not in ROOMS - {"families"}:
            continue
        code = (
            re.sub(r"#.*", "", text)
            if path.endswith("CMakeLists.txt")
            else without_comments(text)
        )
        code = re.sub(FOREIGN, "", code)
        for name in sorted(names):
            # In a longer word the name counts from its capital on: OtterWidth, isOtter.
            word = rf"(?<![a-z])(?i:{name})(?![a-z])|{name.capitalize()}(?![a-z])"
            if re.search(word, code) or re.search(word, re.sub(FOREIGN, "", path)):
                yield f"{path} names the family '{name}'"


def headers_are_used_as_agreed(tree):
    for path, text in room_sources(tree).items():
        if path.endswith(".h") and "#pragma once" not in text:
            yield f"{path} lacks #pragma once"
        header = str(pathlib.PurePosixPath(path).with_suffix(".h"))
        if path.endswith((".cpp", ".cu")) and header in tree:
            first = re.search(r'^\s*#\s*include\s*[<"]([^>"]+)', text, re.MULTILINE)
            if not first or first[1] != header:
                yield f"{path} does not start with {header}"


def every_check_is_listed(tree):
    """CTest runs what tests/structure/CMakeLists.txt lists, and that is all there is."""
    folder = "tests/structure"
    lists = tree[f"{folder}/CMakeLists.txt"]
    listed = re.search(r"foreach\(check ([^)]*)\)", lists)[1].split()
    written = re.findall(
        r"^    def test_(\w+)\(", tree[f"{folder}/structure_test.py"], re.MULTILINE
    )
    for name in sorted(set(listed) ^ set(written)):
        where = "structure_test.py" if name in listed else "CMakeLists.txt"
        yield f"{folder}/{where} lacks the check {name}"


def every_test_is_registered(tree):
    rooms = tree["tests/CMakeLists.txt"]
    for path in tree:
        if not re.fullmatch(r"tests/.*_test\.\w+", path):
            continue
        folder, name = path.rsplit("/", 1)
        lists = re.sub(r"#.*", "", tree.get(f"{folder}/CMakeLists.txt", ""))
        if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", lists):
            yield f"{path} is not named in {folder}/CMakeLists.txt"
        room = folder.split("/")[1] if "/" in folder else None
        if room and not re.search(rf"\b{re.escape(room)}\b", re.sub(r"#.*", "", rooms)):
            yield f"{path} is in a folder that tests/CMakeLists.txt does not name"


def no_machine_is_named(tree):
    folder = r"(?<![\w./}])/(?:work|root|home)\b(?:/[\w.-]*)?"
    for path, text in tree.items():
        for match in re.finditer(folder, text):
            yield f"{path} holds the path {match[0]}"
        if re.fullmatch(RUNS, path):
            for match in re.finditer(r"\b[a-z+]+://[^/\s\"'<>):]+", text):
                yield f"{path} holds the address {match[0]}"


def pages_are_whole(tree):
    """Links lead somewhere, every command has its section, no figure is still to come."""
    for path, text in tree.items():
        if not path.endswith(".md"):
            continue
        if "<!-- FILL" in text:
            yield f"{path} has places still to be filled"
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            target = os.path.normpath(os.path.join(os.path.dirname(path), link))
            if target not in tree and not any(p.startswith(target + "/") for p in tree):
                yield f"{path} links to {link}, which there is not"
    commands = re.findall(
        r"^MNM_COMMAND\(\w+, (\w+)", tree["cli/commands.inc"], re.MULTILINE
    )
    page = tree["docs/commands.md"]
    described = re.findall(r"^### (\w+)$", page, re.MULTILINE)
    if commands != described:
        yield f"docs/commands.md describes {described}, cli/commands.inc lists {commands}"


def formats_are_drawn(tree):
    """The picture of the flow says what `export --format` takes."""
    drawn = re.sub(r"\s", "", tree["docs/flow.svg"]).lower()
    page = tree["docs/commands.md"]
    section = re.search(r"^### export$.*?(?=^### |\Z)", page, re.MULTILINE | re.DOTALL)
    formats = section and re.search(r"^ *--format ([\w|]+)", section[0], re.MULTILINE)
    if not formats:
        yield "docs/commands.md says no format of export"
        return
    for name in formats[1].split("|"):
        if name not in drawn:
            yield f"docs/flow.svg lacks the format {name}"
