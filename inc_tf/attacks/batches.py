"""Attacks run in batches, so that memory does not grow with the number of images."""

from collections.abc import Callable

import tensorflow as tf

BATCH_SIZE = 256


def in_batches(attack: Callable[..., tf.Tensor], *rows: tf.Tensor) -> tf.Tensor:
    """``attack(*batch)`` for `BATCH_SIZE` rows of each tensor at a time; the answers in one tensor."""
    n = len(rows[0])
    answers = [attack(*(tensor[i : i + BATCH_SIZE] for tensor in rows)) for i in range(0, n, BATCH_SIZE)]
    return tf.concat(answers, axis=0)
