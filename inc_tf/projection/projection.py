"""What every projector answers."""

from typing import NamedTuple

import tensorflow as tf


class Projection(NamedTuple):
    """The projection of a batch of images onto the range of a generator.

    Attributes:
      images: G(z*), float32 [N, H, W, C].
      codes: z*, float32 [N, k].
      distances: ‖G(z*) − x‖₂ over a whole image, float32 [N]: the root of the summed squares.
      steps: how many steps the search for z* took, int32 [N]; of several restarts, those of the best.
      converged: whether that search stopped because it no longer improved, rather than at its limit, bool [N].
    """

    images: tf.Tensor
    codes: tf.Tensor
    distances: tf.Tensor
    steps: tf.Tensor
    converged: tf.Tensor
