"""How hostile_fuzz.py damages files: JSON values, bytes, lengths, a store's columns."""

import json
import sqlite3
import struct

# Values that no writer means. The text is JSON as it stands in the file, sound or not.
HOSTILE = [
    *(
        "-1",
        "0",
        "1",
        "2",
        "0.5",
        "1e308",
        "-1e308",
        "1e400",
        "1e-400",
        "NaN",
        "Infinity",
    ),
    *("2147483647", "2147483648", "4294967295", "4294967296", "9007199254740993"),
    *("9223372036854775807", "9223372036854775808", "18446744073709551615"),
    *("18446744073709551616", "1" + "0" * 400, "true", "false", "null", '""', '"0"'),
    *("[]", "{}", "[[]]", "[null]", '{"": 0}', "[0]", "[1, 2]", "[-1]", "[1e300]"),
    *("[" * 5000 + "]" * 5000, '{"a":' * 5000 + "0" + "}" * 5000, "[" * 100000),
    *(
        '"' + "x" * 70000 + '"',
        '"\\ud800"',
        '"\\u0000"',
        '"\\u001b[2J"',
        '"../../etc/passwd"',
    ),
    *('"\xff\xfe"', '"\xc0\x80"', '"/"', '"\\n"', "[" + "0," * 50000 + "0]"),
    *("[4294967296, 4294967296, 4294967296]", "[18446744073709551615, 1]"),
]
EXTREMES = [
    0,
    1,
    0x7F,
    0xFF,
    2**31 - 1,
    2**32 - 1,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
]


def places(value, path=()):
    """Paths to every value of a JSON tree."""
    found = [path]
    if isinstance(value, (dict, list)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, below in items:
            found += places(below, (*path, key))
    return found


def damaged_json(tree, generator):
    """The text, as bytes, of a tree with one to three places damaged."""
    tree = json.loads(json.dumps(tree))
    texts = {}
    for _ in range(generator.choice([1, 1, 1, 2, 3])):
        path = generator.choice(places(tree)[1:] or [()])
        if not path:
            break
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        key = path[-1]
        action = generator.random()
        if action < 0.12:
            del parent[key]
        elif action < 0.2 and isinstance(parent, dict):  # another name for it
            parent[generator.choice([*parent, "", "x", "__metadata__"])] = parent[key]
        elif action < 0.4 and isinstance(parent[key], int):
            parent[key] += generator.choice(
                [-1, 1, 8, -8, 1 << 20, 1 << 33, -(1 << 33)]
            )
        elif action < 0.45 and isinstance(parent, list):
            parent.insert(generator.randrange(len(parent) + 1), parent[key])
        else:
            name = f"@{len(texts)}@"
            texts[f'"{name}"'] = generator.choice(HOSTILE)
            parent[key] = name
    text = json.dumps(tree)
    for name, hostile in texts.items():
        text = text.replace(name, hostile)
    if generator.random() < 0.05:  # a key that is there twice
        text = text.replace("{", '{"a":1,"a":2,', 1)
    return text.encode(
        "latin-1" if any(ord(c) in range(128, 256) for c in text) else "utf-8"
    )


def damaged_bytes(data, generator, head=4096):
    """Bits, lengths and stretches of it wrong, most of them near its beginning."""
    data = bytearray(data)
    for _ in range(generator.choice([1, 1, 2, 4])):
        if not data:
            break
        end = min(len(data), head) if generator.random() < 0.8 else len(data)
        at = generator.randrange(end)
        action = generator.randrange(8)
        if action == 0:
            data[at] ^= 1 << generator.randrange(8)
        elif action == 1:
            data[at] = generator.choice([0, 0xFF, 0x7F, 0x80, ord('"'), ord("{")])
        elif action == 2:
            del data[at:]
        elif action == 3:
            del data[at : at + generator.choice([1, 4, 8, 100])]
        elif action == 4:
            data[at:at] = generator.randbytes(generator.choice([1, 4, 8, 100]))
        elif action == 5:
            text, size = generator.choice([("<I", 4), ("<Q", 8)])
            value = generator.choice(EXTREMES) % (1 << 8 * size)
            data[at : at + size] = struct.pack(text, value)
        elif action == 6:
            data[at:at] = data[at : at + generator.choice([8, 64, 512])]
        else:
            data += generator.randbytes(generator.choice([1, 8, 4096]))
    return bytes(data)


def damaged_text(data, generator):
    """A JSON file: its values, or its bytes."""
    if generator.random() < 0.75:
        return damaged_json(json.loads(data), generator)
    return damaged_bytes(data, generator, len(data))


def damaged_safetensors(data, generator):
    if generator.random() < 0.3:
        return damaged_bytes(data, generator)
    (length,) = struct.unpack("<Q", data[:8])
    head = damaged_json(json.loads(data[8 : 8 + length]), generator)
    claimed = len(head) if generator.random() < 0.9 else generator.choice(EXTREMES)
    return struct.pack("<Q", claimed) + head + data[8 + length :]


def damage_row(path, generator):
    database = sqlite3.connect(path)
    database.execute("pragma foreign_keys = off")
    database.execute("pragma ignore_check_constraints = on")
    tables = [
        name
        for (name,) in database.execute(
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite%'"
        )
    ]
    for _ in range(generator.choice([1, 1, 3])):
        table = generator.choice(tables)
        column = generator.choice(
            [row[1] for row in database.execute(f"pragma table_info({table})")]
        )
        value = generator.choice(
            [
                None,
                0,
                -1,
                2**63 - 1,
                -(2**63),
                1e308,
                float("inf"),
                "",
                "x",
                b"",
                b"\xff" * 7,
            ]
            + [
                "\x1b[2J",
                "9" * 400,
                "1x" * 9999,
                "-",
                "8x99999999999999999999",
                "[" * 9999,
            ]
        )
        try:
            database.execute(f"update {table} set {column} = ?", (value,))
        except sqlite3.Error:
            pass
    if generator.random() < 0.1:
        database.execute(f"pragma user_version = {generator.choice([0, 99, -1])}")
    database.commit()
    database.close()
