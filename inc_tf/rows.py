"""Operations row by row: a batch's tensors are [N, …], and a number or a condition for each row is [N]."""

from typing import Any

import tensorflow as tf


def column(values: tf.Tensor, rank: int = 4) -> tf.Tensor:
    """[N] as [N, 1, …] of `rank` axes, to be broadcast along rows; images have rank 4. A scalar becomes [1, …]."""
    return values[(..., *[tf.newaxis] * (rank - len(values.shape)))]


def select(condition: tf.Tensor, yes: Any, no: Any) -> Any:
    """`tf.where` on equal structures of tensors [N, …]: the rows of `yes` where the condition, bool [N], holds.

    A scalar condition chooses one whole structure.
    """
    return tf.nest.map_structure(lambda a, b: tf.where(column(condition, len(a.shape)), a, b), yes, no)
