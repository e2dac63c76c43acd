"""Defense-GAN's search: gradient descent with momentum (Samangouei et al., 2018)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from inc_tf.checks import check_above_zero, check_count, check_share
from inc_tf.projection.solvers.protocol import Solution, errors_and_gradients, solver, squared_errors
from inc_tf.projection.solvers.search import Step, minimizer
from inc_tf.saving import Settings

_DECAY, _DECAY_AT = 0.1, 0.8


@solver("momentum")
@dataclass(frozen=True)
class Momentum(Settings):
    """Gradient descent with momentum on the mean squared error per value, ‖G(z) − x‖₂² / (H·W·C).

    As in Defense-GAN's code for MNIST: v ← m·v + g, z ← z − rate·v; the rate falls to a tenth after 0.8 L steps. Its R
    = 10 restarts belong to the start: ``Normal(restarts=10, stddev=k ** -0.5)`` for codes of k dimensions.

    Attributes:
      learning_rate: 10 in that code.
      momentum: m, from 0 to 1; 0.7 in that code.
      steps: L; 200 in that code.
    """

    learning_rate: float = 10.0
    momentum: float = 0.7
    steps: int = 200

    def __post_init__(self) -> None:
        check_count(steps=self.steps)
        check_above_zero(learning_rate=self.learning_rate)
        check_share(momentum=self.momentum)

    def rate(self, t: tf.Tensor) -> tf.Tensor:
        """The learning rate of step t, float32, counted from 0."""
        return tf.where(t < math.ceil(_DECAY_AT * self.steps), self.learning_rate, _DECAY * self.learning_rate)

    def descend(
        self,
        generator: Callable[..., tf.Tensor],
        images: tf.Tensor,
        codes: tf.Tensor,
        velocity: tf.Tensor,
        t: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """‖G(z) − x‖₂² at the codes z, [B]; and the codes and the velocity v after step t, counted from 0, [B, k]."""
        errors, gradient = errors_and_gradients(generator, codes, images)
        velocity = self.momentum * velocity + gradient / math.prod(images.shape[1:])
        return errors, codes - tf.cast(self.rate(t), codes.dtype) * velocity, velocity

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """See `Solver.compile`."""

        def start(images: tf.Tensor, codes: tf.Tensor):
            return (codes, tf.zeros_like(codes)), squared_errors(generator, codes, images)

        def step(images: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor], t: tf.Tensor) -> Step:
            errors, *moved = self.descend(generator, images, *state, t)
            return Step(tuple(moved), state[0], errors, tf.zeros_like(errors, tf.bool))

        def last(images: tf.Tensor, state: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            return state[0], squared_errors(generator, state[0], images)

        return minimizer(generator, start, step, self.steps, last=last, stride=self.steps, compilable=True)

    def width(self, latent_dim: int) -> int:
        """See `Solver.width`."""
        return 1
