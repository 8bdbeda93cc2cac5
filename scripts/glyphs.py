"""Pictures of characters in many fonts, as IDX files.

usage: glyphs.py FONTS OUT

FONTS is a table of Debian packages (data/glyphs/fonts.tsv): package, version, licence, and the part
of the set that its fonts are for. OUT gets PART-images-idx3-ubyte and PART-labels-idx1-ubyte for
the parts fit, search and confirm, and classes.txt. A character is a class. Every part has as many
images of one class as of another, to within one.

An image is one character of one font, light on dark, under a random affine map, with an outline that
makes its strokes stronger, and with noise. It follows from the seed, the part and its number alone.
Needs fc-query (Debian's fontconfig) and Pillow; other versions of FreeType or of the fonts may give
other pixels.
"""

import re
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 16  # pixels of an image's side
FINER = 4  # an image is drawn so many times larger, and averaged
EM = 48  # pixels of the em of the glyph that is mapped into it
CANVAS = 3 * EM
SEED = 1
IMAGES = {"fit": 200_000, "search": 2_000, "confirm": 5_000}

# One character of those that look alike once they are moved and scaled: of c and C, of A and of the
# Greek and the Cyrillic one, of l, I and |. Most accents are on letters that look alike in both
# cases or have one case here.
CHARACTERS = (
    "123456789"
    "ABCDEFGHJKLMNOPQRSTUVWXYZ"
    "abdefghijkmnrt"
    "ÁÄĄáäąÇČĎďĐÉËĘéëęĞĢĦħĶķŁłÑñŋÓÖØŘřŠŞŤŢţÚÜŮŲŴÝŸŽŻßÆæŒœÞð"
    "ΓΔΘΛΞΠΣΦΨΩαγδεζηλμξω"
    "БДЖИЙЛЦЧШЩЪЫЭЮЯЂЋЃЄЉЊЎ"
    '!?#$%&@*+=(){}[]<>/\\~":;'
    "§¶©®£¥€¢¿«»÷±¬¤…“¼½¾‰†‡™√∞∫≈≠≤≥∂◊№"
)
WITHOUT_CASE = re.compile(r"initials|keyboard|small ?caps|\bSC\b", re.IGNORECASE)
# In these fonts no two classes may look alike.
PLAIN = ("DejaVu Sans", "DejaVu Serif", "FreeSans", "FreeSerif")
ALIKE = 0.025  # of the ink of two glyphs that fill the same square


def packages(table):
    """{part: [package]} of the table."""
    parts = {part: [] for part in IMAGES}
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        package, _version, _licence, part = line.split("\t")
        parts[part].append(package)
    return parts


def fonts_of(package):
    """(family, style, file, the CHARACTERS it has), one for each font file of a package."""
    listed = subprocess.run(
        ["dpkg", "-L", package], check=True, capture_output=True, text=True
    )
    files = [f for f in listed.stdout.splitlines() if f.endswith((".ttf", ".otf"))]
    row = "%{family[0]}\t%{style[0]}\t%{fullname[0]}\t%{charset}\n"
    for file in sorted(files):
        query = subprocess.run(
            ["fc-query", "--index", "0", "--format", row, file],
            capture_output=True,
            text=True,
            check=True,
        )
        family, style, name, charset = query.stdout.rstrip("\n").split("\t")
        spans = [span.partition("-") for span in charset.split()]
        spans = [(int(first, 16), int(last or first, 16)) for first, _, last in spans]
        has = [c for c in CHARACTERS if any(a <= ord(c) <= b for a, b in spans)]
        if not WITHOUT_CASE.search(f"{family} {style} {name}"):
            yield family, style, file, has


def families(parts):
    """{part: {family: [(file, characters)]}} of the fonts that have half of the CHARACTERS."""
    found = {}
    for part, names in parts.items():
        found[part] = {}
        for family, _style, file, has in (f for p in names for f in fonts_of(p)):
            if 2 * len(has) >= len(CHARACTERS):
                found[part].setdefault(family, []).append((file, frozenset(has)))
    return found


@cache
def font(file):
    return ImageFont.truetype(file, EM, layout_engine=ImageFont.Layout.BASIC)


def drawn(file, character, outline):
    """A character amid an empty canvas, and the box of its ink; None where there is no ink."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    ImageDraw.Draw(canvas).text(
        (CANVAS / 2, CANVAS / 2), character, 255, font(file), "mm", stroke_width=outline
    )
    return canvas, canvas.getbbox()


def mapped(canvas, box, turn, shear, width, height, right, down):
    """The box of a canvas as an image of SIZE: turned and sheared by so many radians, its sides
    scaled by two factors (pixels of the image for one of the canvas), and then moved, in pixels."""
    shape = np.diag((width, height))
    shape = np.array([[1, np.tan(shear)], [0, 1]]) @ shape
    shape = (
        np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ shape
    )
    back = np.linalg.inv(shape * FINER)  # from the finer image to the canvas
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    start = middle - back @ ((np.array([right, down]) + SIZE / 2) * FINER)
    rows = [*back[0], start[0], *back[1], start[1]]
    side = SIZE * FINER
    large = canvas.transform(
        (side, side), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR
    )
    return np.asarray(large.reduce(FINER), dtype=np.float64) / 255


def image(part, number, character, fonts):
    """Image `number` of a part, uint8 [SIZE, SIZE]."""
    random = np.random.default_rng((SEED, list(IMAGES).index(part), number))
    able = [
        [file for file, has in files if character in has] for files in fonts.values()
    ]
    able = [files for files in able if files]
    while True:
        files = able[random.integers(len(able))]
        outline = EM * max(0.0, random.uniform(-0.025, 0.04))
        canvas, box = drawn(files[random.integers(len(files))], character, outline)
        if box:
            break
    scale = random.uniform(9, 13) / max(box[2] - box[0], box[3] - box[1])
    stretch = random.uniform(-0.2, 0.2)
    ink = mapped(
        canvas,
        box,
        turn=random.uniform(-0.2, 0.2),
        shear=random.uniform(-0.2, 0.2),
        width=scale * np.exp(stretch / 2),
        height=scale * np.exp(-stretch / 2),
        right=random.uniform(-1, 1),
        down=random.uniform(-1, 1),
    )
    dark = random.uniform(0, 0.2)
    light = random.uniform(0.5, 1)
    noise = random.normal(0, random.uniform(0, 0.1), ink.shape)
    return np.clip((dark + (light - dark) * ink + noise) * 255, 0, 255).astype(np.uint8)


def write_idx(path, array):
    with path.open("wb") as file:
        file.write(struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape))
        file.write(array.tobytes())


def write_part(out, part, fonts):
    count = IMAGES[part]
    labels = np.resize(np.arange(len(CHARACTERS), dtype=np.uint8), count)
    labels = np.random.default_rng((SEED, list(IMAGES).index(part))).permutation(labels)
    images = np.zeros((count, SIZE, SIZE), np.uint8)
    for number, label in enumerate(labels):
        images[number] = image(part, number, CHARACTERS[label], fonts)
    write_idx(out / f"{part}-images-idx3-ubyte", images)
    write_idx(out / f"{part}-labels-idx1-ubyte", labels)


def plain(file, character):
    """A character without distortion, its ink as large as the image allows."""
    canvas, box = drawn(file, character, 0)
    scale = SIZE / max(box[2] - box[0], box[3] - box[1])
    return mapped(canvas, box, 0, 0, scale, scale, 0, 0)


def alike(fonts):
    """[(distance, pair)] of CHARACTERS, the nearest first: the least share of their ink that two
    of them differ by in the PLAIN families, where both have them."""
    distance = np.full((len(CHARACTERS),) * 2, np.inf)
    for family in PLAIN:
        file, has = fonts[family][0]
        ink = {i: plain(file, c).ravel() for i, c in enumerate(CHARACTERS) if c in has}
        known, pixels = list(ink), np.array(list(ink.values()))
        differ = np.abs(pixels[:, None] - pixels[None]).sum(-1)
        total = pixels.sum(-1)
        here = differ / (total[:, None] + total[None])
        distance[np.ix_(known, known)] = np.minimum(
            distance[np.ix_(known, known)], here
        )
    upper = np.triu_indices(len(CHARACTERS), 1)
    order = np.argsort(distance[upper], kind="stable")
    pairs = [CHARACTERS[i] + CHARACTERS[j] for i, j in zip(*upper)]
    return [(float(distance[upper][k]), pairs[k]) for k in order]


def main():
    table, out = Path(sys.argv[1]), Path(sys.argv[2])
    assert len(set(CHARACTERS)) == len(CHARACTERS) <= 256
    fonts = families(packages(table))
    for a, b in (("fit", "search"), ("fit", "confirm"), ("search", "confirm")):
        if shared := set(fonts[a]) & set(fonts[b]):
            sys.exit(f"glyphs: {a} and {b} share {', '.join(sorted(shared))}")
    if (nearest := alike(fonts["fit"])[0])[0] < ALIKE:
        sys.exit(f"glyphs: two classes look alike: {nearest[1]}, {nearest[0]:.3f}")
    out.mkdir(parents=True, exist_ok=True)
    (out / "classes.txt").write_text("\n".join(CHARACTERS) + "\n", encoding="utf-8")
    for part, found in fonts.items():
        files = sum(len(files) for files in found.values())
        print(
            f"{part}: {len(found)} families, {files} fonts, {IMAGES[part]} images",
            flush=True,
        )
        write_part(out, part, found)


if __name__ == "__main__":
    main()
