"""Iteration that drains: a row that has converged costs nothing any more."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def drain(
    step: Callable[[tf.Tensor, Any], tuple[Any, tf.Tensor]], images: tf.Tensor, state: Any, max_steps: int
) -> tuple[Any, tf.Tensor, tf.Tensor]:
    """Take steps, each on the rows that have not converged yet, until none is left or `max_steps` are taken.

    Args:
      step: maps images [b, H, W, C] and the state of the same rows to their next state and whether each has converged,
        bool [b]; b ≥ 1 shrinks as rows converge.
      images: float32 [B, H, W, C].
      state: a structure of tensors [B, …].
      max_steps: the limit.

    Returns: the final state, the steps that each row took, int32 [B], and whether it converged, bool [B].
    """

    def body(state, steps, converged):
        rows = tf.where(~converged)
        new, done = step(
            tf.gather_nd(images, rows), tf.nest.map_structure(lambda part: tf.gather_nd(part, rows), state)
        )
        state = tf.nest.map_structure(lambda old, part: tf.tensor_scatter_nd_update(old, rows, part), state, new)
        steps = steps + tf.cast(~converged, tf.int32)
        return state, steps, tf.tensor_scatter_nd_update(converged, rows, done)

    size = tf.shape(images)[0]
    return tf.while_loop(
        lambda state, steps, converged: ~tf.reduce_all(converged),
        body,
        (state, tf.zeros([size], tf.int32), tf.zeros([size], tf.bool)),
        maximum_iterations=max_steps,
    )
