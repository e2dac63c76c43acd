"""What a solver is, and what solvers share."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import keras
import tensorflow as tf


class Solution(NamedTuple):
    """The best codes that a search saw.

    Attributes:
      codes: z*, float32 [B, k].
      errors: ‖G(z*) − x‖₂², float32 [B].
      steps: how many steps the search took for each row, int32 [B].
      converged: whether the row stopped because it no longer improved, rather than at the limit of steps, bool [B].
    """

    codes: tf.Tensor
    errors: tf.Tensor
    steps: tf.Tensor
    converged: tf.Tensor


class Solver(Protocol):
    """A solver is one file: a frozen dataclass that inherits `Settings`, registered with Keras, with these methods."""

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """A graph function from images, float32 [B, H, W, C], and first codes, float32 [B, k], to a `Solution`.

        A row of the answer depends on that row of the input alone. Its error is never above that of the first code,
        and it is finite where that one is.
        """

    def width(self, latent_dim: int) -> int:
        """How many codes of an image are in the generator at once; batches are sized by it."""


def squared_errors(generator: keras.Model, codes: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """‖G(z) − x‖₂² of each row, [B]."""
    return tf.reduce_sum(tf.math.squared_difference(generator(codes, training=False), images), axis=[1, 2, 3])


def errors_and_gradients(generator: keras.Model, codes: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """‖G(z) − x‖₂² of each row, [B], and its gradient with respect to z, [B, k]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(codes)
        errors = squared_errors(generator, codes, images)
    return errors, tape.gradient(errors, codes)


def signature(generator: keras.Model) -> list[tf.TensorSpec]:
    """The signature of a compiled solver: any batch size, one trace."""
    image_shape, code_shape = generator.output_shape[1:], generator.input_shape[1:]
    return [tf.TensorSpec([None, *image_shape], tf.float32), tf.TensorSpec([None, *code_shape], tf.float32)]


def xla_pays(generator: keras.Model) -> bool:
    """Whether to compile with XLA: on a CPU it gains on dense networks and loses threefold on convolutions."""
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    return on_gpu or not any("Conv" in type(layer).__name__ for layer in generator._flatten_layers())


def activations(generator: keras.Model) -> int:
    """The values that a forward pass of one code keeps."""
    try:
        return sum(_activations(layer) for layer in generator.layers)
    except (AttributeError, TypeError):  # a subclassed model, a shared layer, a size that is known at run time alone
        call = tf.function(lambda codes: generator(codes, training=False), autograph=False)
        graph = call.get_concrete_function(tf.TensorSpec([1, *generator.input_shape[1:]])).graph
        kept = (out for op in graph.get_operations() if op.type not in _NOTHING_KEPT for out in op.outputs)
        return sum(out.shape.num_elements() or 0 for out in kept)


_NOTHING_KEPT = {"Const", "Identity", "Placeholder", "ReadVariableOp", "Reshape"}


def _activations(layer: keras.Layer) -> int:
    if isinstance(layer, keras.Model):
        return sum(_activations(inner) for inner in layer.layers)
    return math.prod(layer.output.shape[1:])
