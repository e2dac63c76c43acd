"""Attacks run in batches, so that memory does not grow with the number of images."""

from collections.abc import Callable

import tensorflow as tf
from tqdm import tqdm

BATCH_SIZE = 256


def in_batches(attack: Callable[..., tf.Tensor], *rows: tf.Tensor, size: int = BATCH_SIZE) -> tf.Tensor:
    """``attack(*batch)`` for `size` rows of each tensor at a time; returns the results in one tensor.

    After ten seconds it shows how many batches are done, if there are several.
    """
    starts = range(0, len(rows[0]), size)
    with tqdm(starts, desc="attack", unit="batch", delay=10, leave=False, disable=len(starts) < 2) as shown:
        return tf.concat([attack(*(tensor[i : i + size] for tensor in rows)) for i in shown], axis=0)
