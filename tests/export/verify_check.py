"""What scripts/verify.py does with text, stores and computations of strangers: argv[1] is a scratch
directory."""

import importlib.util
import json
import os
import sqlite3
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
spec = importlib.util.spec_from_file_location("verify", ROOT / "scripts/verify.py")
verify = importlib.util.module_from_spec(spec)
spec.loader.exec_module(verify)
import verify_records

scratch = Path(sys.argv[1])


def error_of(action, *arguments):
    try:
        action(*arguments)
    except ValueError as error:
        return str(error)
    return ""


def check_text():
    # The program's own table, of which tests/report/escape_test.cpp tests more.
    for c in (
        "\x1b\x9b\u00ad\u034f\u115f\u200d\u202e\u2028\u2800\u3164\ufe0f\U000e0041\ud800"
    ):
        assert verify.shown(f"a{c}b") == f"a{ascii(c)[1:-1]}b", ascii(c)
    assert verify.shown("1.39 ± 0.02 µ 模 😀") == "1.39 ± 0.02 µ 模 😀"


def new_store(name, changes=""):
    path = scratch / name
    with sqlite3.connect(path) as store:
        for pragma_and_schema in (verify_records.SCHEMAS[0].read_text(), changes):
            store.executescript(pragma_and_schema)
    store.close()
    return path


def check_stores():
    found = {"artifact": "0" * 32}
    sound = new_store(
        "sound.db", "CREATE TABLE mine (a); CREATE INDEX by_a ON mine (a)"
    )
    said = error_of(verify.record_in_store, sound, scratch, found)
    assert "has no artifact" in said, said
    changes = (
        "CREATE INDEX zz ON verification (hex(zeroblob(30000000)))",
        "CREATE INDEX zz ON Artifact (hex(zeroblob(30000000)))",
        "CREATE TRIGGER zz AFTER INSERT ON verification BEGIN SELECT 1; END",
        """DROP TRIGGER record_stays;
        CREATE TRIGGER record_stays BEFORE UPDATE ON record BEGIN SELECT 1; END""",
        """DROP TABLE verification;
        CREATE TABLE Verification (artifact, runtime, version, worst, tolerance, agrees, machine,
        created, x DEFAULT (hex(zeroblob(30000000))))""",
    )
    for number, change in enumerate(changes):
        path = new_store(f"{number}.db", change)
        said = error_of(verify.record_in_store, path, scratch, found)
        assert "which mixnmatch did not make" in said, (change, said)
    assert verify_records.plain("a --x\n b '-- c' /* d */ e") == "a b '-- c' e"


def check_foreign_journal():
    """SQLite would carry out what a killed writer left, whosever database it is."""
    path = scratch / "theirs.db"
    child = os.fork()
    if child == 0:
        theirs = sqlite3.connect(path, isolation_level=None)
        theirs.execute("CREATE TABLE photos (x)")
        theirs.execute("PRAGMA cache_size = 2")
        theirs.execute("BEGIN")
        for _ in range(100):
            theirs.execute("INSERT INTO photos VALUES (zeroblob(4000))")
        os._exit(0)
    os.waitpid(child, 0)
    journal = scratch / "theirs.db-journal"
    before = path.read_bytes(), journal.read_bytes()
    assert len(before[1]) > 512
    found = {"artifact": "0" * 32}
    said = error_of(verify.record_in_store, path, scratch, found)
    assert "is no store of mixnmatch" in said, said
    assert (path.read_bytes(), journal.read_bytes()) == before


def check_limits():
    """A runtime that wants more memory, ends badly, or gives another shape."""

    def run_alone(runtime):
        verify.RUNTIMES["own"] = verify.Runtime(runtime, "numpy")
        return verify.run_alone("own", scratch, [1, 2], (2, 3), 60)

    verify.MEMORY = 1 << 29
    assert (run_alone(lambda *_: np.eye(2, 3)) == np.eye(2, 3)).all()
    cases = (
        (lambda *_: np.ones(1 << 27), "allocate"),
        (lambda *_: np.ones((3, 2)), "shape (3, 2), where the probe has (2, 3)"),
        (lambda *_: os.abort(), "it ended by SIGABRT"),
        (lambda *_: {}["logits"], "there is no 'logits'"),
    )
    for runtime, phrase in cases:
        said = error_of(run_alone, runtime)
        assert phrase in said, said


def check_what_runtimes_print():
    """It comes from an export, too: none of it steers the terminal, or fills it."""

    def printed_by(text):
        def runtime(*_):
            os.write(1, text)
            os.write(2, text)
            return np.eye(2, 3)

        verify.RUNTIMES["own"] = verify.Runtime(runtime, "numpy")
        with tempfile.TemporaryFile() as caught:
            kept = [os.dup(1), os.dup(2)]
            sys.stdout.flush()
            os.dup2(caught.fileno(), 1)
            os.dup2(caught.fileno(), 2)
            try:
                verify.run_alone("own", scratch, [1, 2], (2, 3), 60)
            finally:
                sys.stderr.flush()
                for stream, old in zip((1, 2), kept):
                    os.dup2(old, stream)
                    os.close(old)
            caught.seek(0)
            return caught.read().decode()

    said = printed_by(b"key \x1b]0;mine\x07\xc2\x9b31m \xe2\x80\xae \xff\n")
    assert said == 2 * "key \\x1b]0;mine\\x07\\x9b31m \\u202e \ufffd\n", ascii(said)
    assert len(printed_by(b"x" * (1 << 20))) < 2 * verify.MOST_SAID


def check_timm():
    """A config.json gets no argument into timm that this program does not write."""
    images = np.zeros((1, 3, 4, 4), dtype=np.float32)
    cases = (
        ({}, images, "no architecture and model_args"),
        ({"architecture": "hf-hub:a/b", "model_args": {}}, images, "architecture is"),
        ({"architecture": "resnet18", "model_args": {}}, images, "architecture is"),
        (
            {
                "architecture": "vit_base_patch16_224",
                "model_args": {"checkpoint_path": "weights.pth"},
            },
            images,
            "['checkpoint_path'], which mixnmatch does not write",
        ),
        (
            {"architecture": "vit_base_patch16_224", "model_args": {"depth": 100_000}},
            images,
            "at most 1024",
        ),
        (
            {"architecture": "vit_base_patch16_224", "model_args": {}},
            [1, 2],
            "the probe has tokens",
        ),
    )
    for config, inputs, phrase in cases:
        (scratch / "config.json").write_text(json.dumps(config))
        said = error_of(verify.run_timm, scratch, inputs)
        assert phrase in said, said


check_text()
check_stores()
check_foreign_journal()
check_what_runtimes_print()
check_limits()
check_timm()
