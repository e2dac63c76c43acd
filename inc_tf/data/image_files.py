"""Image files in and out: PNG, JPEG, GIF and BMP as arrays of a model's size and range, and back."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from inc_tf.data.dataset import Bounds
from inc_tf.data.scaling import from_bytes, to_bytes
from inc_tf.errors import InputError


def read(paths: list[Path], shape: Sequence[int | None], bounds: Bounds) -> np.ndarray:
    """Image files (PNG, JPEG, GIF, BMP) as float32 [N, H, W, C] of `shape` within `bounds`.

    They are made to fit as `decode` says. Raises `InputError` for a file that is missing or no image.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"There is no file {str(path)!r}.")
    return np.stack([decode(path.read_bytes(), str(path), shape, bounds) for path in paths])


def decode(encoded: bytes, name: str, shape: Sequence[int | None], bounds: Bounds) -> np.ndarray:
    """An encoded image as float32 [H, W, C] of `shape` within `bounds`.

    It is resized to `shape` with antialiasing; a colour image becomes grey where C is 1, a grey one coloured where it
    is 3. Raises `InputError`, which calls it `name`, for what is no image.
    """
    try:
        pixels = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise InputError(f"{name!r} is no image that can be read; PNG, JPEG, GIF and BMP can.") from error
    pixels = tf.image.rgb_to_grayscale(pixels) if shape[2] == 1 else pixels
    resized = tf.image.resize(pixels, shape[:2], antialias=True)
    return np.clip(from_bytes(resized.numpy(), bounds), *bounds).astype(np.float32)


def write(path: Path, image: np.ndarray, bounds: Bounds) -> None:
    """Write one image, float32 [H, W, C] within `bounds`, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(to_bytes(image, bounds)).numpy())
