"""Iteration that drains: once a row is done, it costs nothing more."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def drain(
    step: Callable[[tf.Tensor, Any], tuple[Any, tf.Tensor]],
    images: tf.Tensor,
    state: Any,
    done: tf.Tensor,
    max_steps: int | tf.Tensor,
) -> tuple[Any, tf.Tensor, tf.Tensor]:
    """Take steps, each on the rows that are not done yet, until none is left or `max_steps` are taken.

    Args:
      step: maps images [b, H, W, C] and the state of the same rows to their next state and whether each is done,
        bool [b]; b ≥ 1 shrinks as rows finish.
      images: float32 [B, H, W, C].
      state: a structure of tensors [B, …].
      done: the rows that are not to be stepped at all, bool [B].
      max_steps: the limit.

    Returns: the final state, the steps that each row took, int32 [B], and whether it is done, bool [B].
    """

    def body(state, steps, done):
        rows = tf.where(~done)
        new, finished = step(
            tf.gather_nd(images, rows), tf.nest.map_structure(lambda part: tf.gather_nd(part, rows), state)
        )
        state = tf.nest.map_structure(lambda old, part: tf.tensor_scatter_nd_update(old, rows, part), state, new)
        return state, steps + tf.cast(~done, tf.int32), tf.tensor_scatter_nd_update(done, rows, finished)

    return tf.while_loop(
        lambda state, steps, done: ~tf.reduce_all(done),
        body,
        (state, tf.zeros_like(done, tf.int32), done),
        maximum_iterations=max_steps,
    )
