"""Reading image files as arrays of a model's size and range, and writing them as PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from inc_tf.data.dataset import Bounds
from inc_tf.data.scaling import from_bytes, from_unit, to_bytes
from inc_tf.descriptors import stderr_aside
from inc_tf.errors import InputError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
PIXELS = 50_000_000
"""The largest number of pixels in an image file; a larger image is refused before it is decoded."""

_TINY = 8  # pixels of the shorter side
_SQUARE = 2.0  # the longer side in shorter ones, beyond which an image is said to be far from the model's shape
_BLANK = 0.02  # of the range: the least that a picture's values spread
_BRIGHT = 0.6  # of the range: a border of paper


def read(path: Path, shape: Sequence[int | None], bounds: Bounds, *, invert: bool = False) -> np.ndarray:
    """An image file as float32 [H, W, C] of `shape` within `bounds`; see `decode`.

    Raises `InputError` for a file that is missing, a folder, or not an image.
    """
    try:
        if path.is_dir():
            raise InputError(f"{str(path)!r} is a folder; name image files, or project a folder with `inc project`.")
        if not path.exists():
            raise InputError(f"There is no file {str(path)!r}.")
        if not path.is_file():
            raise InputError(f"{str(path)!r} is a pipe or a device; save the image as a file, and name that.")
        encoded = path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    return decode(encoded, str(path), shape, bounds, invert=invert)


def decode(
    encoded: bytes, name: str, shape: Sequence[int | None], bounds: Bounds, *, invert: bool = False
) -> np.ndarray:
    """An encoded image as float32 [H, W, C] of `shape` within `bounds`.

    Only the first frame is read. It is rotated as its EXIF data says; transparent parts are laid on black. 16-bit
    values are divided by the largest value that the file's depth allows; 32-bit values, by the smallest of 1 (if they
    are floating-point), 255 and 65535 that no value exceeds. The image is converted to grey if C is 1 and to RGB if C
    is 3, and is resized to `shape` with antialiasing.

    Args:
      encoded: the file's content, of one of `FORMATS`.
      name: its name in messages.
      shape: (H, W, C) of the model; if a side is None, the image keeps its own.
      bounds: (lowest, highest) value of a pixel.
      invert: whether to swap dark and bright, e.g. for dark ink on paper with a model of MNIST.

    Raises `InputError` for a file that is not such an image, has more than `PIXELS` pixels, or holds 16- or 32-bit
    values outside these ranges.
    """
    try:
        with _opened(encoded) as image:
            if image.width * image.height > PIXELS:
                raise InputError(
                    f"{name!r} has {image.width} × {image.height} pixels, more than {PIXELS:,}: scale it down first."
                )
            if image.format == "PNG":
                _match_transparency(image, bits=encoded[24])
            depth = _Depth.of(image)
            unit = _unit(ImageOps.exif_transpose(image), name, shape[2] or 3, depth)
    except Image.DecompressionBombError as error:
        raise InputError(f"{name!r} has more than {PIXELS:,} pixels: scale it down first.") from error
    except (OSError, ValueError, SyntaxError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{name!r} is not an image that can be read; {', '.join(FORMATS[:-1])} and {FORMATS[-1]} can."
        ) from error
    unit = 255 - unit if invert else unit
    size = [own if wanted is None else wanted for own, wanted in zip(unit.shape, shape[:2], strict=False)]
    resized = tf.image.resize(unit, size, antialias=True)
    return np.clip(from_bytes(resized.numpy(), bounds), *bounds).astype(np.float32)


@contextmanager
def _opened(encoded: bytes) -> Iterator[Image.Image]:
    """The image, without warnings: Pillow's of sizes, which are checked here, and of damaged EXIF data; libtiff's of
    damage, which the exception tells.
    """
    of_libtiff = stderr_aside(on_error=False) if encoded[:4] in (b"II*\0", b"MM\0*") else nullcontext()
    with (
        warnings.catch_warnings(action="ignore"),
        of_libtiff,
        Image.open(io.BytesIO(encoded), formats=FORMATS) as image,
    ):
        yield image


def _match_transparency(image: Image.Image, bits: int) -> None:
    """Scale a PNG's transparent colour, which Pillow leaves in the file's `bits`, to those of the pixels it reads."""
    colour = image.info.get("transparency")
    if image.mode == "L" and bits < 8 and colour is not None:
        image.info["transparency"] = colour * 255 // (2**bits - 1)
    if image.mode == "RGB" and bits == 16 and colour is not None:
        image.info["transparency"] = tuple(value >> 8 for value in colour)


class _Depth(NamedTuple):
    """What the numbers of a file of 16 or 32 bits of grey mean, where Pillow reads them as they are.

    Attributes:
      largest: the candidates for the value of white, ascending.
      inverted: whether 0 is white.
      unsigned: whether 32 bits, which Pillow takes for signed, have no sign.
    """

    largest: tuple[float, ...]
    inverted: bool
    unsigned: bool

    @classmethod
    def of(cls, image: Image.Image) -> _Depth:
        tags = getattr(image, "tag_v2", {})  # of TIFF
        bits, sign = tags.get(258, (16,))[0], tags.get(339, (1,))[0]
        largest = [1.0] * (image.mode == "F") + [255.0] * (not image.mode.startswith("I;16"))
        deepest = 2.0 ** (bits - (sign == 2)) - 1 if bits < 32 else 65535.0
        return cls((*largest, deepest), tags.get(262) == 0, (bits, sign) == (32, 1))


def _unit(image: Image.Image, name: str, channels: int, depth: _Depth) -> np.ndarray:
    """The values of an image, 0 to 255, float32 [H, W, channels]."""
    if image.mode.startswith(("I", "F")):
        return np.repeat(_numbers(image, name, depth)[..., np.newaxis], channels, axis=2)
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    values = np.asarray(image.convert("RGB"))
    return np.asarray(tf.image.rgb_to_grayscale(values) if channels == 1 else values, np.float32)


def _numbers(image: Image.Image, name: str, depth: _Depth) -> np.ndarray:
    """The values of an image of 16 or 32 bits of grey, scaled to 0 to 255, float32 [H, W]."""
    values = np.asarray(image)
    values = np.asarray(values.view(np.uint32) if depth.unsigned else values, np.float32)
    low, high = float(values.min()), float(values.max())
    white = next((largest for largest in depth.largest if high <= largest), None)
    if white is None or not low >= 0:
        raise InputError(
            f"{name!r} has values from {low:g} to {high:g}; they must be 0 to 1 (of floating-point numbers), to "
            "255 or to 65535."
        )
    transparent = values == image.info.get("transparency", -1)
    unit = 255 * values / white
    return np.where(transparent, 0, 255 - unit if depth.inverted else unit)


def remarks(encoded: bytes, image: np.ndarray, bounds: Bounds) -> list[str]:
    """Remarks on an image that was read, a few words each: that it is blank, tiny, far from square, or inverted.

    Args:
      encoded: the file's content.
      image: what `decode` made of it, float32 [H, W, C].
      bounds: (lowest, highest) value of a pixel.
    """
    with _opened(encoded) as file:
        sides = sorted(file.size)
    low, high = bounds
    found = []
    if image.max() - image.min() < _BLANK * (high - low):
        found.append("it is blank")
    if sides[0] < _TINY:
        found.append(f"it is tiny, {file.width} × {file.height} pixels")
    if sides[1] > _SQUARE * sides[0]:
        found.append(f"it is far from square, {file.width} × {file.height} pixels, and was squeezed")
    border = np.concatenate([image[0].ravel(), image[-1].ravel(), image[:, 0].ravel(), image[:, -1].ravel()])
    if image.shape[2] == 1 and np.median(border) > from_unit(np.float32(_BRIGHT), bounds):
        found.append("it is dark on bright, where the model knows bright on dark; --invert turns it round")
    return found


def write(path: Path, image: np.ndarray, bounds: Bounds) -> None:
    """Write one image, float32 [H, W, C] within `bounds`, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(to_bytes(image, bounds)).numpy())
