"""Algorithm 1's own search: a fixed number of Adam steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from inc_tf.adam import adam
from inc_tf.checks import check_above_zero, check_count, check_share
from inc_tf.projection.rewriting import activated_by_tanh
from inc_tf.projection.solvers.protocol import Solution, solver, squared_errors
from inc_tf.projection.solvers.search import Step, minimizer
from inc_tf.saving import Settings

_LOOK = 50  # steps between two looks at the progress


class _State(NamedTuple):
    z: tf.Tensor
    moments: tuple[tf.Tensor, tf.Tensor]
    least: tf.Tensor
    milestone: tf.Tensor  # the least error at the last look


@solver("adam")
@dataclass(frozen=True)
class Adam(Settings):
    """Adam on ‖G(z) − x‖₂² (Algorithm 1 of the paper; Kingma and Ba, 2015).

    Attributes:
      learning_rate: in the paper, 0.1 on MNIST and 0.01 on CelebA.
      steps: T, the number of steps.
      tolerance: an image is done when its least error fell by no more than this share over 50 steps; 0, the default,
        takes all T steps on every image, as the paper does.
    """

    learning_rate: float = 0.1
    steps: int = 2000
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_count(steps=self.steps)
        check_above_zero(learning_rate=self.learning_rate)
        check_share(tolerance=self.tolerance)

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """See `Solver.compile`."""
        generator = activated_by_tanh(generator)

        def start(images: tf.Tensor, codes: tf.Tensor) -> tuple[_State, tf.Tensor]:
            errors, zeros = squared_errors(generator, codes, images), tf.zeros_like(codes)
            return _State(codes, (zeros, zeros), errors, errors), errors

        def step(images: tf.Tensor, state: _State, t: tf.Tensor) -> Step:
            errors, gradient = _errors_and_gradients(generator, state.z, images)
            change, moments = adam(gradient, state.moments, tf.cast(t, tf.float32), self.learning_rate)
            least = tf.minimum(state.least, errors)
            look = tf.equal((t + 1) % _LOOK, 0)
            done = look & (self.tolerance > 0) & (least >= (1 - self.tolerance) * state.milestone)
            milestone = tf.where(look, least, state.milestone)
            return Step(_State(state.z + change, moments, least, milestone), state.z, errors, done)

        def last(images: tf.Tensor, state: _State) -> tuple[tf.Tensor, tf.Tensor]:
            return state.z, squared_errors(generator, state.z, images)

        stride = _LOOK if self.tolerance > 0 else self.steps
        return minimizer(generator, start, step, self.steps, last=last, stride=stride, compilable=True)

    def width(self, latent_dim: int) -> int:
        """See `Solver.width`."""
        return 1


def _errors_and_gradients(generator: keras.Model, codes: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """As `protocol.errors_and_gradients`, in the order in which XLA is fastest: it adds up values that lie side by side
    one by one, but rows of an image all at once. Without `abs`, which changes nothing, it would make one sum of both.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(codes)
        output = generator(codes, training=False)
    residual = output - images
    errors = tf.reduce_sum(tf.abs(tf.reduce_sum(tf.square(residual), axis=1)), axis=[1, 2])
    return errors, tape.gradient(output, codes, output_gradients=2.0 * residual)
