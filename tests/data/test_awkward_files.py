"""Image files of awkward kinds: read right, or one sentence."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inc_tf.data.image_files import decode, read, remarks
from inc_tf.errors import InputError

PICTURE = np.zeros((28, 28), np.uint8)
PICTURE[8:20, 12:16] = 255
ONE, COLOUR = Image.fromarray(PICTURE), Image.fromarray(np.stack([PICTURE] * 3, axis=-1))
OTHER = Image.fromarray(255 - PICTURE)
FRAMES = {"save_all": True, "append_images": [OTHER]}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    written = io.BytesIO()
    image.save(written, kind, **options)
    return written.getvalue()


def of_numbers(values: np.ndarray) -> bytes:
    return encoded(Image.fromarray(values), "TIFF")


def tiff(values: np.ndarray, tags: dict[int, tuple[int, int]]) -> bytes:
    """A TIFF file of these values in which tags of one short each have another value than Pillow gives them."""
    content = of_numbers(values)
    for tag, (before, after) in tags.items():
        assert content.count(struct.pack("<HHIHH", tag, 3, 1, before, 0)) == 1
        content = content.replace(
            struct.pack("<HHIHH", tag, 3, 1, before, 0), struct.pack("<HHIHH", tag, 3, 1, after, 0)
        )
    return content


def packed_12_bits() -> bytes:
    pairs = (PICTURE.astype(np.uint32) * 4095 // 255).reshape(-1, 2)
    whole = (pairs[:, 0] << 12 | pairs[:, 1]).astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    return tiff(PICTURE.astype(np.uint16), {258: (16, 12)})[: -PICTURE.size * 2] + whole.tobytes()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, transparent: bytes | None = None) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    clear = b"" if transparent is None else chunk(b"tRNS", transparent)
    return b"\x89PNG\r\n\x1a\n" + header + clear + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def colour_of_16_bits() -> bytes:
    rows = (row.astype(">u2") * 257 for row in np.asarray(COLOUR))
    return png(28, 28, 16, 2, b"".join(b"\0" + row.tobytes() for row in rows))


def of_16_bits_on(clear: int, channels: int) -> bytes:
    """The picture in 16 bits of grey or colour, on a background of a value that the file calls transparent."""
    values = np.where(PICTURE[..., np.newaxis].repeat(channels, axis=2), 65535, clear).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    return png(28, 28, 16, 0 if channels == 1 else 2, rows, struct.pack(">H", clear) * channels)


def of_2_bits_on(clear: int) -> bytes:
    four = np.where(PICTURE, 3, clear).astype(np.uint8).reshape(28, 7, 4)
    rows = (four << [6, 4, 2, 0]).sum(axis=2).astype(np.uint8)
    return png(28, 28, 2, 0, b"".join(b"\0" + row.tobytes() for row in rows), struct.pack(">H", clear))


KINDS = {
    "CMYK JPEG": lambda: encoded(COLOUR.convert("CMYK"), "JPEG", quality=100),
    "CMYK TIFF": lambda: encoded(COLOUR.convert("CMYK"), "TIFF"),
    "LAB TIFF": lambda: encoded(COLOUR.convert("LAB"), "TIFF"),
    "palette with a transparent colour": lambda: encoded(ONE.convert("P"), "PNG", transparency=0),
    "grey and alpha": lambda: encoded(Image.merge("LA", (Image.new("L", ONE.size, 255), ONE)), "PNG"),
    "animated GIF": lambda: encoded(ONE, "GIF", **FRAMES),
    "animated PNG": lambda: encoded(ONE, "PNG", **FRAMES),
    "animated WebP": lambda: encoded(ONE, "WEBP", lossless=True, **FRAMES),
    "TIFF of several pages": lambda: encoded(ONE, "TIFF", **FRAMES),
    "one bit": lambda: encoded(ONE.convert("1"), "PNG"),
    "one bit, fax": lambda: encoded(ONE.convert("1"), "TIFF", compression="group4"),
    "16 bits": lambda: encoded(Image.fromarray(PICTURE.astype(np.uint16) * 257), "PNG"),
    "16 bits of colour": colour_of_16_bits,
    "16 bits on a transparent grey": lambda: of_16_bits_on(40000, 1),
    "16 bits on a transparent colour": lambda: of_16_bits_on(40000, 3),
    "2 bits on a transparent grey": lambda: of_2_bits_on(1),
    "16 bits, 0 is white": lambda: tiff((255 - PICTURE).astype(np.uint16) * 257, {262: (1, 0)}),
    "floating-point, 0 is white": lambda: tiff((1 - PICTURE / 255).astype(np.float32), {262: (1, 0)}),
    "12 bits": packed_12_bits,
    "whole numbers of 32 bits": lambda: of_numbers(PICTURE.astype(np.int32) * 257),
    "floating-point, 0 to 1": lambda: of_numbers((PICTURE / 255).astype(np.float32)),
    "floating-point, 0 to 255": lambda: of_numbers(PICTURE.astype(np.float32)),
    "damaged EXIF": lambda: encoded(COLOUR, "JPEG", quality=100, exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 30),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_is_read_as_the_picture_that_it_shows(kind, channels):
    content = KINDS[kind]()
    found = decode(content, "a file", (28, 28, channels), (-1.0, 1.0))
    np.testing.assert_allclose(found, np.repeat(PICTURE[..., np.newaxis] / 127.5 - 1.0, channels, axis=2), atol=0.1)
    assert remarks(content, found, (-1.0, 1.0)) == []


NOT_READ = {
    "nothing": (lambda: b"", "is not an image that can be read"),
    "truncated JPEG": (lambda: encoded(COLOUR, "JPEG")[:-200], "is not an image that can be read"),
    "truncated TIFF": (lambda: encoded(ONE, "TIFF")[:60], "is not an image that can be read"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "PNG, JPEG, GIF, BMP, WEBP and TIFF can"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic" + b"\0" * 100, "is not an image that can be read"),
    "a header of many pixels": (lambda: png(8000, 8000, 8, 0, b"\0"), "has 8000 × 8000 pixels, more than 50,000,000"),
    "a header of more": (lambda: png(2**31 - 1, 2**31 - 1, 8, 0, b"\0"), "has more than 50,000,000 pixels"),
    "NaN": (lambda: of_numbers(np.full((8, 8), np.nan, np.float32)), "has values from nan to nan; they must be 0 to 1"),
    "-1 to 1": (lambda: of_numbers((PICTURE / 127.5 - 1).astype(np.float32)), "has values from -1 to 1; they must"),
    "above 16 bits, no sign": (
        lambda: tiff(PICTURE.astype(np.int32) * 2**24, {339: (2, 1)}),
        r"values from 0 to 4.27819e\+09; they",
    ),
    "above 16 bits": (lambda: of_numbers(PICTURE.astype(np.int32) * 2**20), r"values from 0 to 2.67387e\+08; they"),
}


@pytest.mark.parametrize("kind", NOT_READ)
def test_says_what_cannot_be_read(kind):
    make, sentence = NOT_READ[kind]
    with pytest.raises(InputError, match=sentence) as error:
        decode(make(), "a file", (28, 28, 1), (0.0, 1.0))
    assert str(error.value).startswith("'a file' ")


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path)


def unreadable(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (folder, "is a folder; name image files"),
        (loop, "There is no file"),
        (os.mkfifo, "is a pipe or a device; save the image as a file"),
        (unreadable, "cannot be read: "),
    ],
)
def test_says_what_is_not_a_file_that_can_be_read(make, sentence, tmp_path):
    make(tmp_path / "a.png")
    with pytest.raises(InputError, match=sentence):
        read(tmp_path / "a.png", (28, 28, 1), (0.0, 1.0))
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read(tmp_path / ("a" * 300), (28, 28, 1), (0.0, 1.0))


def test_damage_that_libtiff_finds_is_the_sentence_alone(capfd):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    with pytest.raises(InputError, match="is not an image that can be read"):
        decode(encoded(noise, "TIFF", compression="tiff_lzw")[:-50], "a file", (28, 28, 1), (0.0, 1.0))
    assert capfd.readouterr().err == ""
