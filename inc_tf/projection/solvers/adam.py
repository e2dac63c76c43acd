"""Algorithm 1's own search: a fixed number of Adam steps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from inc_tf.adam import adam
from inc_tf.checks import check_above_zero, check_count, check_tolerance
from inc_tf.projection.solvers.draining import drain
from inc_tf.projection.solvers.protocol import (
    Solution,
    errors_and_gradients,
    signature,
    squared_errors,
    xla_pays,
)
from inc_tf.saving import Settings

_ROUND = 50  # steps between two looks at the progress


class _State(NamedTuple):
    t: tf.Tensor
    z: tf.Tensor
    moments: tuple[tf.Tensor, tf.Tensor]
    best: tf.Tensor
    errors: tf.Tensor


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class Adam(Settings):
    """Adam on ‖G(z) − x‖₂² (Algorithm 1 of the paper; Kingma and Ba, 2015).

    Attributes:
      learning_rate: 0.1 on MNIST, 0.01 on CelebA in the paper.
      steps: T.
      tolerance: an image whose least error fell by no more than this share over 50 steps is done; 0, the default and
        the paper's way, takes all T steps on every image.
    """

    learning_rate: float = 0.1
    steps: int = 2000
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        check_count(steps=self.steps)
        check_above_zero(learning_rate=self.learning_rate)
        check_tolerance(self.tolerance)

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """See `Solver.compile`."""
        # Draining changes the batch's size, and XLA would compile for each.
        drains = self.tolerance > 0

        @tf.function(
            jit_compile=xla_pays(generator) and not drains, input_signature=signature(generator), autograph=False
        )
        def minimize(images, codes):
            size = tf.shape(codes)[0]
            zeros = tf.zeros_like(codes)
            time = tf.zeros([size, 1]) if drains else tf.constant(0.0)
            state = _State(time, codes, (zeros, zeros), codes, tf.fill([size], float("inf")))
            if drains:
                rounds = -(-self.steps // _ROUND)
                state, taken, converged = drain(self._round(generator), images, state, rounds)
                steps = tf.minimum(taken * _ROUND, self.steps)
            else:
                state = self._take(generator, images, state, self.steps)
                steps, converged = tf.fill([size], self.steps), tf.zeros([size], tf.bool)
            best, errors = _better(state, squared_errors(generator, state.z, images))
            return Solution(best, errors, steps, converged)

        return minimize

    def width(self, latent_dim: int) -> int:
        """See `Solver.width`."""
        return 1

    def _round(self, generator):
        def step(images, state):
            left = self.steps - tf.cast(state.t[0, 0], tf.int32)
            new = self._take(generator, images, state, tf.minimum(_ROUND, left))
            return new, new.errors >= (1 - self.tolerance) * state.errors

        return step

    def _take(self, generator, images, state, steps):
        def step(state):
            errors, gradient = errors_and_gradients(generator, state.z, images)
            best, least = _better(state, errors)
            change, moments = adam(gradient, state.moments, state.t, self.learning_rate)
            return (_State(state.t + 1.0, state.z + change, moments, best, least),)

        return tf.while_loop(lambda _: True, step, (state,), maximum_iterations=steps)[0]


def _better(state: _State, errors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The better of the best code so far and the present one, with its error, row by row; NaN never wins."""
    wins = errors < state.errors
    return tf.where(wins[:, tf.newaxis], state.z, state.best), tf.where(wins, errors, state.errors)
