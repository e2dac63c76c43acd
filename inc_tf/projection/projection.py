"""What every projector answers."""

from typing import NamedTuple

import tensorflow as tf


class Projection(NamedTuple):
    """The projection of a batch of images onto the range of a generator.

    Attributes:
      images: G(z*), float32 [N, H, W, C].
      codes: z*, float32 [N, k].
      distances: ‖G(z*) − x‖₂ over a whole image, float32 [N]: the root of the summed squares.
    """

    images: tf.Tensor
    codes: tf.Tensor
    distances: tf.Tensor
