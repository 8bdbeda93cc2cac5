"""What Pillow makes of a few hundred pictures, for tests/image/pillow_test.cpp.

pillow_cases.py DIR writes into DIR:
  cases.json   {"decode": [...], "resize": [...], "prepare": [...]}
  expected     the pixels of all cases, one after the other
and the files that the cases of "decode" name. Everything is drawn from one seed.
"""

import json
import random
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FILTERS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class Expected:
    def __init__(self, folder):
        self.file = (folder / "expected").open("wb")

    def add(self, image):
        """Where the pixels of an image lie, and its shape."""
        pixels = np.asarray(image)
        at = self.file.tell()
        self.file.write(pixels.tobytes())
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        return {"at": at, "shape": [*pixels.shape[:2], channels]}


def picture(rng, height, width, channels):
    """Half noise, half a smooth ramp: filters ring on one, and round on the other."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = (x * 255 // max(width - 1, 1) + y * 3) % 256
    noise = rng.integers(0, 256, (height, width, channels))
    pixels = np.where((x // 5 % 2 == 0)[..., None], ramp[..., None], noise)
    return pixels.astype(np.uint8)


def as_image(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def write_png(path, pixels, kind, depth, interlaced=False):
    """Kinds that Pillow does not write: 16 bits a channel, and Adam7. pixels: [h, w, channels]."""

    def rows(part):
        kept = part.astype(">u2" if depth == 16 else "u1")
        return b"".join(b"\0" + row.tobytes() for row in kept) if part.size else b""

    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4)]
        passes += [(2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b"".join(rows(pixels[y::dy, x::dx]) for y, x, dy, dx in passes)

    def chunk(name, content):
        crc = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", crc)

    height, width = pixels.shape[:2]
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def write_jpegs(folder, rng):
    sizes = [(1, 1), (1, 40), (9, 17), (64, 48), (33, 70), (100, 101)]
    for height, width in sizes:
        for mode, channels in (("L", 1), ("RGB", 3), ("CMYK", 4)):
            pixels = picture(rng, height, width, channels)
            image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
            for quality in (40, 95):
                for subsampling in (0, 1, 2) if mode == "RGB" else (None,):
                    for progressive in (False, True):
                        name = f"{mode}-{height}x{width}-{quality}-{subsampling}"
                        options = (
                            {} if subsampling is None else {"subsampling": subsampling}
                        )
                        image.save(
                            folder / f"{name}-{int(progressive)}.jpg",
                            quality=quality,
                            progressive=progressive,
                            **options,
                        )
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = as_image(picture(rng, 20, 31, 3))
        image.save(folder / f"turned-{orientation}.jpg", exif=exif)
        image.save(folder / f"turned-{orientation}.png", exif=exif)


def write_pngs(folder, rng):
    for height, width in [(1, 1), (1, 13), (7, 1), (23, 40)]:
        for mode, channels in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)):
            pixels = picture(rng, height, width, channels)
            image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
            size = f"{height}x{width}"
            image.save(folder / f"{mode}-{size}.png")
            kind = {"L": 0, "LA": 4, "RGB": 2, "RGBA": 6}[mode]
            wide = rng.integers(0, 1 << 16, pixels.shape)
            if mode == "L":
                wide = rng.integers(0, 512, pixels.shape)
                image.save(
                    folder / f"L-{size}-key.png", transparency=int(pixels[0, 0, 0])
                )
                image.convert("1").save(folder / f"1-{size}.png")
            write_png(folder / f"{mode}-{size}-16.png", wide, kind, 16)
            write_png(
                folder / f"{mode}-{size}-adam7.png", pixels, kind, 8, interlaced=True
            )
            if mode == "RGB":
                for bits in (1, 2, 4, 8):
                    few = image.quantize(1 << bits)
                    few.save(folder / f"P-{size}-{bits}.png", bits=bits)
                    few.save(
                        folder / f"P-{size}-{bits}-key.png", bits=bits, transparency=0
                    )
        for bits in (2, 4):  # grey of few bits
            values = picture(rng, height, width, 1)[..., 0] >> (8 - bits)
            packed = np.zeros((height, -(-width * bits // 8)), np.uint8)
            for x in range(width):
                packed[:, x * bits // 8] |= (
                    values[:, x] << (8 - bits - x * bits % 8)
                ).astype(np.uint8)
            data = b"".join(b"\0" + row.tobytes() for row in packed)
            path = folder / f"L-{height}x{width}-{bits}bits.png"
            write_png(path, values[..., None], 0, 8)
            whole = path.read_bytes()
            head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)

            def chunk(name, content):
                crc = struct.pack(">I", zlib.crc32(name + content))
                return struct.pack(">I", len(content)) + name + content + crc

            parts = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
            path.write_bytes(whole[:8] + b"".join(chunk(*part) for part in parts))


def decode_cases(folder, rng, expected):
    write_jpegs(folder, rng)
    write_pngs(folder, rng)
    for path in sorted(folder.glob("*.*g")):
        for mode, channels in (("RGB", 3), ("L", 1)):
            for upright in (False, True):
                if upright and not path.name.startswith("turned"):
                    continue
                with Image.open(path) as image:
                    turned = ImageOps.exif_transpose(image) if upright else image
                    where = expected.add(turned.convert(mode))
                yield {
                    "file": path.name,
                    "channels": channels,
                    "upright": upright,
                } | where


def resize_cases(draw, rng, expected):
    sides = [1, 2, 3, 5, 16, 31, 64, 97, 180]
    for name, code in FILTERS.items():
        for number in range(100):
            height, width, to_height, to_width = draw.choices(sides, k=4)
            if number % 10 == 0:
                to_height = height
            if number % 10 == 1:
                to_width = width
            pixels = picture(rng, height, width, draw.choice((1, 3)))
            image = as_image(pixels)
            where = expected.add(image)
            resized = image.resize((to_width, to_height), code)
            yield {"filter": name, "from": where, "to": expected.add(resized)}


def shortest(image, side, code):
    width, height = image.size
    if width <= height:
        return image.resize((side, int(side * height / width)), code)
    return image.resize((int(side * width / height), side), code)


def padded_crop(image, height, width, top, left):
    """Pillow's crop fills what lies outside with zeros."""
    return image.crop((left, top, left + width, top + height))


def torchvision_crop(image, height, width):
    """transforms.CenterCrop: pads a smaller side, the odd pixel behind; then rounds half to even."""
    have = {"h": image.size[1], "w": image.size[0]}

    def begin(side, want):
        if want > have[side]:
            return -((want - have[side]) // 2)
        return round((have[side] - want) / 2.0)

    return padded_crop(image, height, width, begin("h", height), begin("w", width))


def transformers_crop(image, height, width):
    """image_transforms.center_crop: floors, and pads the odd pixel in front."""
    top = (image.size[1] - height) // 2
    left = (image.size[0] - width) // 2
    return padded_crop(image, height, width, top, left)


def prepare_cases(draw, rng, expected):
    crops = {
        "torchvision": torchvision_crop,
        "timm": torchvision_crop,
        "transformers": transformers_crop,
    }
    for convention, crop in crops.items():
        for number in range(60):
            height, width = draw.randint(1, 90), draw.randint(1, 90)
            name = draw.choice(sorted(FILTERS))
            fit = ("keep", "shortest", "squash")[number % 3]
            size = [draw.randint(1, 70), draw.randint(1, 70)]
            want = [draw.randint(1, 60), draw.randint(1, 60)] if number % 4 else None
            image = as_image(picture(rng, height, width, 3))
            case = {"convention": convention, "filter": name, "fit": fit, "size": size}
            case |= {"crop": want, "from": expected.add(image)}
            if fit == "shortest":
                image = shortest(image, size[0], FILTERS[name])
            elif fit == "squash":
                image = image.resize((size[1], size[0]), FILTERS[name])
            if want:
                image = crop(image, *want)
            yield case | {"to": expected.add(image)}


def main():
    folder = Path(sys.argv[1])
    rng, draw = np.random.default_rng(17), random.Random(17)
    expected = Expected(folder)
    cases = {
        "decode": list(decode_cases(folder, rng, expected)),
        "resize": list(resize_cases(draw, rng, expected)),
        "prepare": list(prepare_cases(draw, rng, expected)),
    }
    expected.file.close()
    (folder / "cases.json").write_text(json.dumps(cases))


main()
