"""Images in memory with their labels: one split of a data set, or a user's own."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from inc_tf.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Attributes:
      name: `"mnist"`, `"celeb_a"`, `"digits"`, `"imagenet2012"`, or the name of a folder or an archive.
      split: `"train"`, `"validation"` or `"test"`; `""` for a folder or an archive.
      images: float32 [N, H, W, C] within `bounds`.
      labels: int64 [N].
      bounds: (lowest, highest) value that a pixel may take; every attack clips to it.
      start: where in the split the images begin.
      skipped: the names of files that were left out because they are not images.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    bounds: Bounds
    start: int = 0
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @functools.cached_property
    def digest(self) -> dict[str, object]:
        """The key of finished work on these images: hashes of the bytes of images and labels, and the bounds."""
        return {
            "images": hashlib.sha256(repr(self.images.shape).encode() + self.images.tobytes()).hexdigest(),
            "labels": hashlib.sha256(self.labels.tobytes()).hexdigest(),
            "bounds": [float(bound) for bound in self.bounds],
        }

    def take(self, n: int) -> Dataset:
        """The first `n` images; raises `InputError` if there are fewer, or `n` is below 1."""
        if not 1 <= n <= len(self):
            where = f"{self.name}'s {self.split} split" if self.split else repr(self.name)
            raise InputError(f"{n} images were asked for; it must be 1 to {len(self)}, which is all that {where} has.")
        return replace(self, images=self.images[:n], labels=self.labels[:n])

    def shards(self, size: int) -> Iterator[Dataset]:
        """The images in parts of `size`, in order; the last part may be shorter."""
        for i in range(0, len(self), size):
            part = slice(i, i + size)
            yield replace(self, images=self.images[part], labels=self.labels[part], start=self.start + i)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of (images, labels), in order, for `evaluate` and `predict`."""
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices((self.images, self.labels)).batch(batch_size)
