"""Algorithm 1's own search: a fixed number of Adam steps."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import tensorflow as tf

from inc_tf.projection.solvers.protocol import Solution, signature, squared_errors, xla_pays
from inc_tf.serialization import Settings

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class Adam(Settings):
    """Adam on ‖G(z) − x‖₂² (Algorithm 1 of the paper; Kingma and Ba, 2015).

    Attributes:
      learning_rate: 0.1 on MNIST, 0.01 on CelebA in the paper.
      steps: T.
    """

    learning_rate: float = 0.1
    steps: int = 2000

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """See `Solver.compile`."""

        @tf.function(jit_compile=xla_pays(generator), input_signature=signature(generator))
        def minimize(images, codes):
            def step(t, z, momentum, variance, best):
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(z)
                    errors = squared_errors(generator, z, images)
                gradient = tape.gradient(errors, z)
                best = _better(best, Solution(z, errors))
                t += 1.0
                momentum = _BETA_1 * momentum + (1 - _BETA_1) * gradient
                variance = _BETA_2 * variance + (1 - _BETA_2) * tf.square(gradient)
                rate = self.learning_rate * tf.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
                return t, z - rate * momentum / (tf.sqrt(variance) + _TINY), momentum, variance, best

            zeros = tf.zeros_like(codes)
            nothing = Solution(codes, tf.fill([tf.shape(codes)[0]], float("inf")))
            _, z, _, _, best = tf.while_loop(
                lambda *_: True,
                step,
                (tf.constant(0.0), codes, zeros, zeros, nothing),
                maximum_iterations=self.steps,
            )
            return _better(best, Solution(z, squared_errors(generator, z, images)))

        return minimize


def _better(best: Solution, new: Solution) -> Solution:
    """The better of two solutions, row by row; NaN never wins."""
    wins = new.errors < best.errors
    return Solution(tf.where(wins[:, tf.newaxis], new.codes, best.codes), tf.where(wins, new.errors, best.errors))
