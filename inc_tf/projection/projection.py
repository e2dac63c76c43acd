"""What every projector returns."""

import enum
from typing import NamedTuple

import tensorflow as tf


class Status(enum.IntEnum):
    """How the search for an image's projection ended; in graphs, an int32."""

    OUT_OF_STEPS = 0
    """At its limit of steps: more might have brought it closer."""
    CONVERGED = 1
    """By its own rule, before the limit."""
    NOT_FINITE = 2
    """At an error that is NaN or infinite. The best finite code seen before is returned; if
    there was none, the first code and a distance that is not finite."""


class Projection(NamedTuple):
    """The projection of a batch of images onto the range of a generator.

    Attributes:
      images: G(z*), float32 [N, H, W, C].
      codes: z*, float32 [N, k].
      distances: ‖G(z*) − x‖₂ over a whole image, float32 [N]: the root of the summed squares.
      steps: how many steps the search for z* took, int32 [N]; with several restarts, how many the best one took.
      status: how that search ended, int32 [N]: a `Status`.
    """

    images: tf.Tensor
    codes: tf.Tensor
    distances: tf.Tensor
    steps: tf.Tensor
    status: tf.Tensor

    @property
    def converged(self) -> tf.Tensor:
        """Whether the search stopped by its own rule, bool [N]."""
        return tf.equal(self.status, Status.CONVERGED)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in the middle of a projection, after some of its batches were done.

    Attributes:
      projection: the projection of the first images, as many as were done.
    """

    def __init__(self, projection: Projection, n: int):
        self.projection = projection
        super().__init__(
            f"{len(projection.images)} of {n} images were projected; this exception's `projection` has them."
        )


def in_one_pass(images: tf.Tensor, projected: tf.Tensor, codes: tf.Tensor | None = None) -> Projection:
    """The projection of a batch that needed no search: 0 steps, and converged if the distance is finite.

    Args:
      images: x, float32 [N, H, W, C].
      projected: their projections, float32 [N, H, W, C].
      codes: float32 [N, k]; None: there are none, k is 0.
    """
    squared = tf.reduce_sum(tf.math.squared_difference(projected, images), axis=[1, 2, 3])
    status = tf.where(tf.math.is_finite(squared), Status.CONVERGED, Status.NOT_FINITE)
    codes = tf.zeros([tf.shape(images)[0], 0]) if codes is None else codes
    return Projection(projected, codes, tf.sqrt(squared), tf.zeros_like(status), status)
