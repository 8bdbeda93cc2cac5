"""Holds the tree to its own rules (rules.py).

Every rule is tried on the checkout, where it must find nothing, and on a small tree that breaks it,
where it must find just that.
"""

import shutil
import unittest

from rules import (
    MAY_INCLUDE,
    ROOMS,
    ROOT,
    checkout,
    every_check_is_listed,
    every_permission_is_used,
    every_test_is_registered,
    families_are_named_only_in_families,
    formats_are_drawn,
    headers_are_used_as_agreed,
    libraries_stay_in_their_room,
    may_include,
    no_machine_is_named,
    only_one_file_prints,
    page_says_what_rooms_include,
    pages_are_whole,
    rooms_include_only_their_own,
    run,
    torch_is_behind_the_door,
    types_have_names_of_their_own,
)


def tool(name):
    beside = ROOT / ".venv" / "bin" / name
    return str(beside) if beside.exists() else shutil.which(name)


class Structure(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.tree = checkout()

    def setUp(self):
        if self.tree is None:
            self.skipTest("not a git checkout")

    def holds(self, rule, *broken):
        """`broken`: trees that each break the rule once, and the complaint."""
        for tree, complaint in broken:
            self.assertEqual([complaint], list(rule(tree)))
        self.assertEqual([], list(rule(self.tree)))

    def test_includes(self):
        broken = []
        for room in MAY_INCLUDE:
            for other in ROOMS - may_include(room):
                text = f'#include "{other}/b.h"\n'
                tree = {f"{room}/a.cpp": text, f"{other}/b.h": ""}
                broken.append((tree, f"{room}/a.cpp includes {other}/b.h"))
        gone = {"model/a.h": '#include "model/gone.h"'}
        broken.append((gone, "model/a.h includes model/gone.h, which there is not"))
        self.holds(rooms_include_only_their_own, *broken)

    def test_permissions(self):
        tree = {
            f"{room}/{number}.cpp": f'#include "{name}"\n'
            for room, allowed in MAY_INCLUDE.items()
            for number, name in enumerate(sorted(allowed))
            if (room, name) != ("text", "model")
        }
        complaint = "text may include model, and does not"
        self.holds(every_permission_is_used, (tree, complaint))

    def test_includes_page(self):
        rows = [
            f"| `{room}` | {', '.join(f'`{name}`' for name in allowed)} |"
            for room, allowed in MAY_INCLUDE.items()
            if room not in ("extract", "text")
        ]
        page = "\n".join(
            ["", "## The rooms", *rows, "| `extract`, `text` | `model`, `db` |"]
        )
        complaints = [
            f"docs/architecture.md does not say what {room} may include: ['model']"
            for room in ("extract", "text")
        ]
        broken = {"docs/architecture.md": page}
        self.assertEqual(complaints, list(page_says_what_rooms_include(broken)))
        self.holds(page_says_what_rooms_include)

    def test_type_names(self):
        tree = {
            "db/a.h": "class A {\n};\n",
            "eval/b.h": "class A;\nstruct A final : B {\n};\n",
        }
        self.holds(
            types_have_names_of_their_own,
            (tree, "eval/b.h defines A, as db/a.h does"),
        )

    def test_libraries(self):
        text = "#include <sqlite3.h>\n"
        tree = {"search/a.cpp": text, "db/a.cpp": text}
        complaint = "search/a.cpp includes <sqlite3.h>, which belongs in db/*"
        self.holds(libraries_stay_in_their_room, (tree, complaint))

    def test_torch_door(self):
        tree = {
            "engine/CMakeLists.txt": "set(_engine_sources a.cpp "
            "${PROJECT_SOURCE_DIR}/eval/b.cpp)",
            "engine/a.cpp": "#include <ATen/ATen.h>\n",
            "eval/b.cpp": '#include "fold/fold.h"\n',
            "fold/fold.h": '#include "eval/state.h"\n',
            "eval/state.h": "#include <ATen/core/Tensor.h>\n",
            "families/x/fold.cpp": '#include "fold/fold.h"\n',
            "families/x/x.cpp": '#include "fold/fold.h"\n',
        }
        complaint = (
            "families/x/x.cpp reaches a Torch header and is not one of the engine's "
            "sources"
        )
        self.holds(torch_is_behind_the_door, (tree, complaint))

    def test_printing(self):
        broken = {
            "cli/print.cpp": "fwrite(a, 1, 2, stdout);",
            "cli/a.cpp": '// fmt::print(x)\nnote("puts(x)"); print(x); snprintf(b, 1, c);',
        }
        around = ["fmt::print", "fmt::vprint", "fmt::println", "std::print"]
        around += ["std::vprint_unicode", "std::cerr", "std::wcout", "printf(", "puts("]
        around += [
            "dprintf(",
            "vdprintf(",
            "fputs(",
            "fputs_unlocked(",
            "putchar_unlocked(",
        ]
        around += [
            "fwrite_unlocked(",
            "perror(",
            "warnx(",
            "vwarn(",
            "err(",
            "write(2,",
        ]
        around += ["writev(1,", "write(fileno(stderr),", "write_raw"]
        self.holds(
            only_one_file_prints,
            *(
                (
                    broken | {"db/b.cpp": f"x = 1; {call} x);"},
                    f"db/b.cpp goes around cli/print.cpp: {call}",
                )
                for call in around
            ),
        )

    def test_family_names(self):
        tree = {
            "families/otter/otter.cpp": "otter",
            "eval/a.cpp": '// otter\nauto a = "//"; /* otter */ int OtterWidth;',
            "eval/CMakeLists.txt": "# otter\n",
        }
        complaint = "eval/a.cpp names the family 'otter'"
        self.holds(families_are_named_only_in_families, (tree, complaint))

    def test_headers(self):
        late = '#include <map>\n#include "model/a.h"'
        self.holds(
            headers_are_used_as_agreed,
            (
                {"model/a.h": "#pragma once", "model/a.cpp": late},
                "model/a.cpp does not start with model/a.h",
            ),
            ({"model/a.h": "#pragma twice"}, "model/a.h lacks #pragma once"),
        )

    def test_registration(self):
        unnamed = {
            "tests/CMakeLists.txt": "foreach(room db)",
            "tests/db/CMakeLists.txt": "mnm_test(db big_store_test.cpp) # store_test.cpp",
            "tests/db/big_store_test.cpp": "",
            "tests/db/store_test.cpp": "",
        }
        outside = {
            "tests/CMakeLists.txt": "foreach(room model)",
            "tests/db/CMakeLists.txt": "store_test.cpp",
            "tests/db/store_test.cpp": "",
        }
        test = "tests/db/store_test.cpp is"
        self.holds(
            every_test_is_registered,
            (unnamed, f"{test} not named in tests/db/CMakeLists.txt"),
            (outside, f"{test} in a folder that tests/CMakeLists.txt does not name"),
        )

    def test_checks(self):
        folder = "tests/structure"
        tree = {
            f"{folder}/structure_test.py": "    def test_a(self):\n    def test_b(self):\n"
        }
        self.holds(
            every_check_is_listed,
            (
                tree | {f"{folder}/CMakeLists.txt": "foreach(check a)"},
                f"{folder}/CMakeLists.txt lacks the check b",
            ),
            (
                tree | {f"{folder}/CMakeLists.txt": "foreach(check a\n b c)"},
                f"{folder}/structure_test.py lacks the check c",
            ),
        )

    def test_machine_paths(self):
        here = "/" + "home/someone"
        there = "https:" + "//packages.example"
        page = {"docs/a.md": f"see {here}, {there}, not at home/work or ./root"}
        self.holds(
            no_machine_is_named,
            (page, f"docs/a.md holds the path {here}"),
            ({"scripts/a": f"{there}/x"}, f"scripts/a holds the address {there}"),
        )

    def test_pages(self):
        whole = {
            "cli/commands.inc": "MNM_COMMAND(look, eval, 1)",
            "docs/commands.md": "### eval",
        }
        unfilled = whole | {"docs/a.md": "<!-- FILL: x -->"}
        dangling = whole | {"docs/a.md": "[b](b.md#c)"}
        silent = whole | {"docs/commands.md": ""}
        self.holds(
            pages_are_whole,
            (unfilled, "docs/a.md has places still to be filled"),
            (dangling, "docs/a.md links to b.md, which there is not"),
            (silent, "docs/commands.md describes [], cli/commands.inc lists ['eval']"),
        )

    def test_formats(self):
        pictured = {"docs/flow.svg": "Hugging Face, DeciLM"}
        options = "### eval\n  --format x\n### export\n  --format decilm|gguf   where"
        self.holds(
            formats_are_drawn,
            (
                pictured | {"docs/commands.md": options},
                "docs/flow.svg lacks the format gguf",
            ),
            (
                pictured | {"docs/commands.md": "### export\n### eval\n  --format x"},
                "docs/commands.md says no format of export",
            ),
        )

    def accepts(self, command, files, broken):
        """`broken` is a text on standard input that the tool must refuse."""
        program = tool(command[0])
        if program is None:
            self.skipTest(f"{command[0]} is not installed")
        command = [program, *command[1:]]
        self.assertNotEqual(0, run([*command, "-"], broken).returncode)
        done = run(command + files)
        self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_cpp_format(self):
        # Other versions break lines elsewhere: Debian 12's is the one that counts.
        if (
            "version 14."
            not in run([tool("clang-format") or "false", "--version"]).stdout
        ):
            self.skipTest("clang-format 14 is not installed")
        files = [p for p in self.tree if p.endswith((".h", ".cpp", ".cu"))]
        self.accepts(["clang-format", "--dry-run", "-Werror"], files, "int  a;\n")

    def test_python(self):
        files = [p for p in self.tree if p.endswith(".py")]
        self.accepts(["ruff", "check", "--no-cache"], files, "import os\n")
        self.accepts(["ruff", "format", "--no-cache", "--check"], files, "a  = 1\n")

    def test_shell(self):
        first = "#!/usr/bin/env bash\n"
        files = [p for p, text in self.tree.items() if text.startswith(first)]
        self.accepts(["shellcheck"], files, first + "ls $1\n")


if __name__ == "__main__":
    unittest.main()
