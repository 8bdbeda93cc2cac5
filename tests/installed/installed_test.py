"""What `cmake --install` gives to other people: examples/ built against it, engines found and refused.

Usage: installed_test.py BUILD TREE --install | Installed.test_NAME...
"""

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import unittest
from pathlib import Path

BUILD, TREE = Path(sys.argv[1]), Path(sys.argv[2])
SOURCE = Path(__file__).resolve().parents[2]
MODEL = SOURCE / "data/reference"
BUDGET = "1.2M"


def run(*command, **environment):
    """Its standard output and error together, and its exit status."""
    env = {**os.environ, "MNM_ENGINE_DIR": "", **environment}
    done = subprocess.run(
        [str(word) for word in command],
        env=env,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.stdout, done.returncode


def demand(*command, **environment):
    said, status = run(*command, **environment)
    assert status == 0, f"{command}: {said}"
    return said


def library_directory():
    return next((TREE / "prefix").glob("lib*/**/libmixnmatch.so")).parent


def install():
    """The installed tree, and the examples built against it."""
    shutil.rmtree(TREE, ignore_errors=True)
    demand(
        "cmake",
        "--install",
        BUILD,
        "--prefix",
        TREE / "prefix",
        "--component",
        "Unspecified",
    )
    demand(
        "cmake",
        "-S",
        SOURCE / "examples",
        "-B",
        TREE / "examples",
        f"-DCMAKE_PREFIX_PATH={TREE / 'prefix'}",
    )
    demand("cmake", "--build", TREE / "examples", "-j", "2")


def search(store, **environment):
    return run(
        TREE / "examples/search_under_budget",
        MODEL,
        TREE / "search.bin",
        TREE / "confirm.bin",
        store,
        BUDGET,
        "24",
        **environment,
    )


class Installed(unittest.TestCase):
    def setUp(self):
        # A thousand targets of each part are enough to be scored.
        for part in ("search", "confirm"):
            tokens = (MODEL / f"{part}.bin").read_bytes()
            (TREE / f"{part}.bin").write_bytes(tokens[:2049])
        self.store = TREE / f"{self._testMethodName}.db"
        for old in TREE.glob(f"{self._testMethodName}*"):
            shutil.rmtree(old) if old.is_dir() else old.unlink()

    def test_tree(self):
        """Headers below include/mixnmatch, names of versions, and no path into the build."""
        prefix = TREE / "prefix"
        self.assertTrue((prefix / "include/mixnmatch/study/session.h").is_file())
        self.assertEqual(
            [p.name for p in (prefix / "include").iterdir()], ["mixnmatch"]
        )
        libraries = library_directory()
        names = {
            "libmixnmatch.so": r"libmixnmatch\.so\.\d+\.\d+",
            "libmnm_engine_cpu.so": r"libmnm_engine_cpu\.so\.\d+\.\d+\.\d+",
        }
        for name, soname in names.items():
            said = demand("readelf", "-d", libraries / name)
            self.assertRegex(said, rf"SONAME.*\[{soname}\]", name)
            self.assertNotIn(str(BUILD), said)
        self.assertIn("libmixnmatch.so", demand("ldd", TREE / "examples/export_best"))
        self.assertIn("submodels", demand(prefix / "bin/mixnmatch", "inspect", MODEL))

    def test_headers(self):
        """What a header includes is installed too; none names a type of LibTorch or SQLite."""
        root = TREE / "prefix/include/mixnmatch"
        headers = list(root.rglob("*.h"))
        self.assertGreater(len(headers), 100)
        for header in headers:
            for quote, name in re.findall(
                r'^#include ([<"])([^>"]+)', header.read_text(), re.MULTILINE
            ):
                self.assertNotRegex(
                    name, r"^(ATen|c10|torch|sqlite3|fold/|kernels/)", header
                )
                if quote == '"':
                    self.assertTrue(
                        (root / name).is_file(), f"{header} includes {name}"
                    )

    def test_examples(self):
        """A search, the export of its best, and the store read in Python."""
        said, status = search(self.store)
        self.assertEqual(status, 0, said)
        front = re.findall(
            r"^(\S+) +(\d+) parameters, loss ([\d.]+) \+- ([\d.]+)$", said, re.MULTILINE
        )
        self.assertGreater(len(front), 1, said)
        self.assertTrue(all(int(row[1]) <= 1_200_000 for row in front), said)
        out = TREE / "test_examples.out"
        said = demand(
            TREE / "examples/export_best", MODEL, self.store, BUDGET, "gguf", out
        )
        self.assertTrue((out / "model.gguf").is_file(), said)
        widths = re.search(r": (\S+) with", said)[1]
        self.assertIn(widths, [row[0] for row in front])
        said = demand(sys.executable, SOURCE / "examples/read_store.py", self.store)
        self.assertIn(widths, said)
        rows = (
            sqlite3.connect(self.store)
            .execute("select widths from artifact")
            .fetchall()
        )
        self.assertEqual(rows, [(widths,)])

    def test_engines(self):
        """They are found beside the library and by MNM_ENGINE_DIR, and else named as missing."""
        libraries, elsewhere = library_directory(), TREE / "test_engines.elsewhere"
        elsewhere.mkdir()
        engines = list(libraries.glob("libmnm_engine_cpu.so*"))
        for engine in engines:
            shutil.move(engine, elsewhere / engine.name)
        try:
            said, status = search(self.store)
            self.assertEqual(status, 1, said)
            self.assertIn(f"{libraries}/libmnm_engine_cpu.so is not there", said)
            said, status = search(self.store, MNM_ENGINE_DIR=str(elsewhere))
            self.assertEqual(status, 0, said)
        finally:
            for engine in engines:
                shutil.move(elsewhere / engine.name, engine)

    def test_stale_engine(self):
        """One of another version is refused, and both versions are named."""
        stale = TREE / "test_stale_engine.d"
        stale.mkdir()
        code = stale / "stale.cpp"
        code.write_text(
            'extern "C" const char* mnm_version() { return "0.1.9"; }\n'
            'extern "C" void* mnm_make_engine() { return nullptr; }\n'
        )
        demand("c++", "-shared", "-fPIC", code, "-o", stale / "libmnm_engine_cpu.so")
        said, status = search(self.store, MNM_ENGINE_DIR=str(stale))
        self.assertEqual(status, 1, said)
        self.assertRegex(
            said, r"belongs to 0\.1\.9 of mixnmatch, and this is \d+\.\d+\.\d+"
        )


if __name__ == "__main__":
    if sys.argv[3] == "--install":
        install()
    else:
        unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
