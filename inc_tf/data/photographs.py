"""Photographs of any size, cut to squares in [−1, 1], from a folder with a list of labels."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf.data.dataset import Dataset
from inc_tf.errors import InputError

BOUNDS = (-1.0, 1.0)
_SHORTER_SIDE = 256 / 224  # to which a photograph is scaled before its middle is cut out, in sizes of the cut


def load_folder(path: Path, n: int | None = None, size: int = 224) -> Dataset:
    """The first `n` photographs, or all, that a folder's `labels.txt` lists, one a line: its file name and its class.

    The shorter side is scaled to 8/7 of `size`, and the middle `size`×`size` is taken, RGB in [−1, 1]; grey photographs
    become RGB too. A file that is not an image (JPEG, PNG, BMP, GIF) is skipped, and named in `skipped`. Raises
    `InputError` if the folder, its list or a listed file is missing, a line is wrong, or there are fewer images.
    """
    listed = path / "labels.txt"
    if not listed.is_file():
        raise InputError(
            f"{str(path)!r} has no labels.txt, which has a line for each image: its file name and its class."
        )
    rows = [line.rsplit(maxsplit=1) for line in listed.read_text().splitlines() if line.strip()]
    for row in rows:
        if len(row) != 2 or not row[1].isdigit():
            raise InputError(
                f"{str(listed)!r} has the line {' '.join(row)!r}; it must be a file name and a class, 0 or more."
            )
        if not (path / row[0]).is_file():
            raise InputError(f"{str(listed)!r} lists {row[0]!r}, which is not in the folder.")
    examples = ((name, (path / name).read_bytes(), int(label)) for name, label in rows)
    return read(path.resolve().name, "", examples, n, size)


def read(name: str, split: str, examples: Iterable[tuple[str, bytes, int]], n: int | None, size: int) -> Dataset:
    images, labels, skipped = [], [], []
    for file_name, encoded, label in tqdm(examples, desc=name, unit="image", total=n, delay=2, leave=False):
        try:
            images.append(_photograph(encoded, size))
            labels.append(label)
        except tf.errors.InvalidArgumentError:
            skipped.append(file_name)
        if len(images) == n:
            break
    if not images or (n is not None and len(images) < n):
        raise InputError(
            f"{'All' if n is None else n} images were asked for; {name} has {len(images)}"
            + (f", and {len(skipped)} files that are no images, {skipped[0]!r} first." if skipped else ".")
        )
    return Dataset(name, split, np.stack(images), np.array(labels, np.int64), BOUNDS, skipped=tuple(skipped))


def _photograph(encoded: bytes, size: int) -> np.ndarray:
    """The middle of an encoded image, float32 [size, size, 3] in [−1, 1]."""
    decoded = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    scale = round(size * _SHORTER_SIDE) / min(decoded.shape[:2])
    scaled = [max(size, round(side * scale)) for side in decoded.shape[:2]]
    resized = tf.image.resize(decoded, scaled, method="bilinear", antialias=True)
    return np.clip(tf.image.resize_with_crop_or_pad(resized, size, size).numpy() / 127.5 - 1.0, -1.0, 1.0)
