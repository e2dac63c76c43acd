"""What a solver is, and how one is declared.

A solver minimizes ‖G(z) − x‖₂² over z, for many images at once. It is one file, inside the package or outside it: a
frozen dataclass that inherits `Settings` and says `@solver("its-name")`, with the two methods of `Solver`. Most need
only say how they take a step; `search.minimizer` makes the whole search of that. Gradient descent, complete:

    @solver("gradient-descent")
    @dataclass(frozen=True)
    class GradientDescent(Settings):
        learning_rate: float = 0.01
        max_steps: int = 1000

        def compile(self, generator):
            def start(images, codes):
                errors, gradient = errors_and_gradients(generator, codes, images)
                return (codes, gradient), errors

            def step(images, state, t):
                codes, gradient = state
                codes = codes - self.learning_rate * gradient
                errors, gradient = errors_and_gradients(generator, codes, images)
                return Step((codes, gradient), codes, errors, tf.norm(gradient, axis=1) < 1e-3)

            return minimizer(generator, start, step, self.max_steps)

        def width(self, latent_dim):
            return 1
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import keras
import tensorflow as tf

from inc_tf.errors import InputError
from inc_tf.registry import Registry


class Solution(NamedTuple):
    """The best codes that a search saw.

    Attributes:
      codes: z*, float32 [B, k]; the first codes where no error was finite.
      errors: ‖G(z*) − x‖₂², float32 [B]; infinite where none was finite, never NaN.
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

        A row of what it returns depends on that row of the input alone, but for rounding. Its error is never above that
        of the first code, and it is finite where that one is.
        """

    def width(self, latent_dim: int) -> int:
        """How many codes of an image are in the generator at once; batches are sized by it."""


SOLVERS: Registry[type] = Registry("solver")
"""The solvers by name, e.g. ``SOLVERS["lbfgs"](max_steps=100)``."""


def solver(name: str) -> Callable[[type], type]:
    """Declare the class below as the solver `name`: in `SOLVERS`, and to Keras, so that a saved projector has it."""

    def declare(kind: type) -> type:
        return SOLVERS.add(name, keras.saving.register_keras_serializable(package="inc_tf")(kind))

    return declare


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
    return bool(tf.config.list_physical_devices("GPU")) or is_dense(generator)


def is_dense(generator: keras.Model) -> bool:
    """Whether no layer convolves: a convolution's kernel has more axes than a matrix."""
    return all(len(weight.shape) <= 2 for weight in generator.weights)


def check_generator(generator: keras.Model) -> None:
    """Refuse what cannot be searched.

    Raises `InputError`: not a map from codes [N, k] to images [N, H, W, C], k unknown or zero, or no gradient of the
    image with respect to the code (a rounding, or a `stop_gradient`, between the two).
    """
    if len(generator.input_shape) != 2 or len(generator.output_shape) != 4 or generator.input_shape[1] is None:
        raise InputError(
            f"The generator maps {generator.input_shape} to {generator.output_shape}; "
            "it must map codes (None, k) to images (None, H, W, C)."
        )
    if generator.input_shape[1] < 1:
        raise InputError(
            f"The generator's codes have {generator.input_shape[1]} dimensions; they must have at least 1."
        )
    code = tf.zeros([1, generator.input_shape[1]], generator.compute_dtype)
    with tf.GradientTape() as tape:
        tape.watch(code)
        image = generator(code, training=False)
    if tape.gradient(image, code) is None:
        raise InputError(
            f"The generator {generator.name!r} has no gradient with respect to its code; "
            "every operation between the two must be differentiable."
        )


def activations(generator: keras.Model) -> int:
    """The values that a forward pass of one code keeps."""
    return sum(math.prod(layer.output.shape[1:]) for layer in generator.layers)
