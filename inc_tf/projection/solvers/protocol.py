"""What a solver is, and what solvers share."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import keras
import tensorflow as tf


class Solution(NamedTuple):
    """The best codes that a search saw.

    Attributes:
      codes: z*, float32 [B, k].
      errors: ‖G(z*) − x‖₂², float32 [B].
    """

    codes: tf.Tensor
    errors: tf.Tensor


class Solver(Protocol):
    """A solver is one file: a frozen dataclass that inherits `Settings`, registered with Keras, with `compile`."""

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """A graph function from images, float32 [B, H, W, C], and first codes, float32 [B, k], to a `Solution`.

        A row of the answer depends on that row of the input alone.
        """


def squared_errors(generator: keras.Model, codes: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """‖G(z) − x‖₂² of each row, float32 [B]."""
    return tf.reduce_sum(tf.math.squared_difference(generator(codes, training=False), images), axis=[1, 2, 3])


def signature(generator: keras.Model) -> list[tf.TensorSpec]:
    """The signature of a compiled solver: any batch size, one trace."""
    image_shape, code_shape = generator.output_shape[1:], generator.input_shape[1:]
    return [tf.TensorSpec([None, *image_shape], tf.float32), tf.TensorSpec([None, *code_shape], tf.float32)]


def xla_pays(generator: keras.Model) -> bool:
    """Whether to compile with XLA: on a CPU it gains on dense networks and loses threefold on convolutions."""
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    return on_gpu or not any("Conv" in type(layer).__name__ for layer in generator._flatten_layers())
