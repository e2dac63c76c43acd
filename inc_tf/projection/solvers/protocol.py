"""What a solver is, and how one is declared.

A solver minimizes ‖G(z) − x‖₂² over z, for many images at once. It is one file, inside the package or outside it: a
frozen dataclass that inherits from `Settings`, is decorated with `@solver("its-name")`, and has the two methods of
`Solver`. Most solvers only define a step, and `search.minimizer` builds the whole search from it. Here is gradient
descent, complete:

    @solver("gradient-descent")
    @dataclass(frozen=True)
    class GradientDescent(Settings):
        learning_rate: float = 0.01
        steps: int = 1000

        def compile(self, generator):
            def start(images, codes):
                errors, gradient = errors_and_gradients(generator, codes, images)
                return (codes, gradient), errors

            def step(images, state, t):
                codes, gradient = state
                codes = codes - self.learning_rate * gradient
                errors, gradient = errors_and_gradients(generator, codes, images)
                return Step((codes, gradient), codes, errors, tf.norm(gradient, axis=1) < 1e-3)

            return minimizer(generator, start, step, self.steps)

        def width(self, latent_dim):
            return 1
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import keras
import psutil
import tensorflow as tf

from inc_tf.registry import Registry

MEMORY = 512 * 2**20
"""Bytes that a batch may keep."""

_LARGEST_BATCH = 512


class Solution(NamedTuple):
    """The best codes that a search saw.

    Attributes:
      codes: z*, float32 [B, k]; the first code if no error was finite.
      errors: ‖G(z*) − x‖₂², float32 [B]; infinite if none was finite, never NaN.
      steps: how many steps the search took for each row, int32 [B].
      status: how each row's search ended, int32 [B]: a `Status`.
    """

    codes: tf.Tensor
    errors: tf.Tensor
    steps: tf.Tensor
    status: tf.Tensor


class Solver(Protocol):
    """See the module."""

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """A graph function from images, float32 [B, H, W, C], and first codes, float32 [B, k], to a `Solution`.

        A row of the result depends only on that row of the input, except for rounding. Its error is never above that of
        the first code, and is finite if that is.
        """

    def width(self, latent_dim: int) -> int:
        """How many codes of one image go through the generator at once; the size of a batch depends on it."""


SOLVERS: Registry[type] = Registry("solver")
"""The solvers by name, e.g. ``SOLVERS["lbfgs"](steps=100)``."""


def solver(name: str) -> Callable[[type], type]:
    """Declare the decorated class as the solver `name`: in `SOLVERS`, and to Keras for saved projectors."""

    def declare(kind: type) -> type:
        return SOLVERS.add(name, keras.saving.register_keras_serializable(package="inc_tf")(kind))

    return declare


def squared_errors(generator: Callable[..., tf.Tensor], codes: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """‖G(z) − x‖₂² of each row, [B]."""
    return tf.reduce_sum(tf.math.squared_difference(generator(codes, training=False), images), axis=[1, 2, 3])


def errors_and_gradients(
    generator: Callable[..., tf.Tensor], codes: tf.Tensor, images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
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
    """Whether to compile with XLA: on a CPU, it speeds up dense networks and slows convolutions down threefold."""
    return bool(tf.config.list_physical_devices("GPU")) or is_dense(generator)


def is_dense(generator: keras.Model) -> bool:
    """Whether the generator has no convolution, whose kernel has more axes than a matrix."""
    return all(len(weight.shape) <= 2 for weight in generator.weights)


def rows_together(values: int) -> int:
    """How many rows make a batch if each keeps `values` float32 values: as many as fit into `MEMORY` and into a quarter
    of the free memory, and at most 512.
    """
    budget = min(MEMORY, psutil.virtual_memory().available // 4)
    return max(1, min(_LARGEST_BATCH, budget // (4 * values)))


def activations(generator: keras.Model) -> int:
    """How many values a forward pass of one code keeps."""
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
