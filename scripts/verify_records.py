"""Where an answer of a runtime is kept: in verified.json beside the export, and in a store.

Both may come from a stranger. What cannot be used as it is raises a ValueError, or the error of
SQLite or of the system, and is left as it was.
"""

import json
import os
import re
import sqlite3
import tempfile
from pathlib import Path

APPLICATION_ID = 0x6D6E6D73  # of a store: db/schema.sql


SCHEMAS = [
    Path(__file__).resolve().parent.parent / "db" / name
    for name in ("schema.sql", "old_schema_4.sql", "old_schema_3.sql")
]
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
LONGEST_VALUE = 64 << 20  # bytes
MOST_STEPS = 50_000_000  # of SQLite's virtual machine, for one statement

LARGEST_ANSWERS = 1 << 20  # bytes of verified.json


def require_size(path, most):
    if path.stat().st_size > most:
        raise ValueError(
            f"it has {path.stat().st_size} bytes, at most {most} make sense"
        )


def record_beside(directory, found):
    """Into verified.json: what each runtime said last."""
    path = directory / "verified.json"
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError("it is not a file: remove it")
    if path.exists():
        require_size(path, LARGEST_ANSWERS)
    known = json.loads(path.read_text()) if path.exists() else []
    if not isinstance(known, list) or not all(
        isinstance(one, dict) and {"artifact", "runtime"} <= one.keys() for one in known
    ):
        raise ValueError("it is not a list of answers as this writes them: remove it")
    known = [
        one
        for one in known
        if (one["artifact"], one["runtime"]) != (found["artifact"], found["runtime"])
    ]
    # A file of a new name, which no link that lies there can have.
    descriptor, part = tempfile.mkstemp(prefix=f".{path.name}.", dir=directory)
    part = Path(part)
    try:
        with open(descriptor, "w") as file:
            file.write(json.dumps([*known, found], indent=1) + "\n")
        part.chmod(0o666 & ~current_umask())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def require_own_journal(path):
    """As db/store_file.cpp demands: no links beside the store, no journal that names a file."""
    for suffix in ("-wal", "-shm", "-journal"):
        beside = path.with_name(path.name + suffix)
        if beside.is_symlink() or (beside.exists() and not beside.is_file()):
            raise ValueError(f"{beside} is not a file of its own: remove it")
        if suffix == "-journal" and beside.exists():
            with open(beside, "rb") as journal:
                size = journal.seek(0, os.SEEK_END)
                journal.seek(max(0, size - len(JOURNAL_MAGIC)))
                if size > len(JOURNAL_MAGIC) and journal.read() == JOURNAL_MAGIC:
                    raise ValueError(
                        f"{beside} names another file, which would be deleted: remove it"
                    )


def plain(sql):
    """Without comments, and with one space between words, as db/schema_check.cpp compares."""
    quoted = r"'[^']*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]"
    gap = r"(?:\s|--[^\n]*|/\*.*?(?:\*/|\Z))+"
    return re.sub(
        f"{quoted}|{gap}",
        lambda match: match[0] if match[0][0] in "'\"`[" else " ",
        sql.strip(),
        flags=re.DOTALL,
    )


def known_objects():
    """What this program makes, and what older versions made: kind, name and statement."""
    known = set()
    for schema in SCHEMAS:
        memory = sqlite3.connect(":memory:")
        memory.executescript(schema.read_text())
        rows = memory.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE sql > ''"
        )
        known |= {(kind, name, plain(sql)) for kind, name, sql in rows}
        memory.close()
    return known


def require_own_tables(store, path):
    """Error where the row would go elsewhere than into our table, or start something."""
    known = known_objects()
    touched = {"artifact", "verification"}  # of which nothing was ever altered
    schema = store.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    )
    for kind, name, table, sql in schema:
        runs = kind == "trigger" or {name.lower(), table.lower()} & touched
        if runs and (kind, name, plain(sql)) not in known:
            raise ValueError(f"{path} holds {name!r}, which mixnmatch did not make")


def require_store(path):
    """Error if the file says that it is another program's, before SQLite carries a journal out."""
    with open(path, "rb") as file:
        header = file.read(72)
    if int.from_bytes(header[68:], "big") != APPLICATION_ID:
        raise ValueError(f"{path} is no store of mixnmatch")


def record_in_store(path, directory, found):
    """A row of the table verification, for the artifact of that fingerprint."""
    path = path.resolve()
    require_own_journal(path)
    require_store(path)
    store = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=30)
    store.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    steps = iter(range(MOST_STEPS // 10_000))
    store.set_progress_handler(lambda: next(steps, None) is None, 10_000)
    with store:  # one transaction
        store.execute("PRAGMA trusted_schema = OFF")
        require_own_tables(store, path)
        store.execute("PRAGMA foreign_keys = ON")
        # Of several exports of the same bytes the one that lies there, else the last.
        artifact = store.execute(
            "SELECT id FROM artifact WHERE fingerprint = ? ORDER BY path = ?, id",
            (found["artifact"], str(directory.resolve())),
        ).fetchall()
        if not artifact:
            raise ValueError(
                f"{path} has no artifact {found['artifact']}: export with --db records it"
            )
        row = {**found, "artifact": artifact[-1][0]}
        store.execute(
            f"INSERT INTO verification ({', '.join(row)})"
            f" VALUES ({', '.join('?' * len(row))})",
            tuple(row.values()),
        )
    store.close()
