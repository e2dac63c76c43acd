"""Limited-memory quasi-Newton steps: for convolutional generators and codes too large for a Jacobian."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from inc_tf.checks import check_count, check_share
from inc_tf.projection.solvers.protocol import Solution, errors_and_gradients, solver
from inc_tf.projection.solvers.search import Step, minimizer
from inc_tf.rows import column, select
from inc_tf.saving import Settings

_MEMORY = 10
_LOOK = 10  # steps between two looks at the progress: a single one may be short without being the last
_SUFFICIENT = 1e-4  # Armijo's share of the decrease that the slope promises
_SHORTEST = 1e-6  # below this share of a step, float32 shows no decrease any more


class _State(NamedTuple):
    z: tf.Tensor
    errors: tf.Tensor
    milestone: tf.Tensor  # the error at the last look
    gradient: tf.Tensor
    direction: tf.Tensor
    length: tf.Tensor
    moves: tf.Tensor  # the last changes of z, oldest first, [b, memory, k]
    turns: tf.Tensor  # the changes of the gradient that went with them
    inverse_curvatures: tf.Tensor  # 1 / ⟨move, turn⟩, 0 where there is none yet


@solver("lbfgs")
@dataclass(frozen=True)
class LBFGS(Settings):
    """L-BFGS on ‖G(z) − x‖₂², each image with its own memory and line search (Nocedal and Wright, 2006, section 7.2).

    A step evaluates the error and its gradient once. If the error has not fallen enough, the same direction is tried
    again, a tenth to a half as far; the first step from a code has length 1.

    Attributes:
      steps: the largest number of evaluations for an image.
      tolerance: an image is done when ten steps lower its error by no more than this share, or its line search fails.
    """

    steps: int = 200
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        check_count(steps=self.steps)
        check_share(tolerance=self.tolerance)

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """See `Solver.compile`."""

        def start(images: tf.Tensor, codes: tf.Tensor) -> tuple[_State, tf.Tensor]:
            errors, gradient = errors_and_gradients(generator, codes, images)
            none = tf.zeros([tf.shape(codes)[0], _MEMORY, codes.shape[1]])
            state = _State(
                z=codes,
                errors=errors,
                milestone=errors,
                gradient=gradient,
                direction=-gradient / tf.maximum(tf.norm(gradient, axis=1, keepdims=True), 1e-20),
                length=tf.ones_like(errors),
                moves=none,
                turns=none,
                inverse_curvatures=tf.zeros([tf.shape(codes)[0], _MEMORY]),
            )
            return state, errors

        def step(images: tf.Tensor, state: _State, t: tf.Tensor) -> Step:
            z = state.z + column(state.length, 2) * state.direction
            errors, gradient = errors_and_gradients(generator, z, images)
            slope = tf.reduce_sum(state.gradient * state.direction, axis=1)
            accepted = errors <= state.errors + _SUFFICIENT * state.length * slope
            moved = _moved(state, z, errors, gradient)
            new = select(accepted, moved, state._replace(length=_shorter(state, errors, slope)))
            look = tf.equal((t + 1) % _LOOK, 0)
            small = look & (new.errors >= (1 - self.tolerance) * state.milestone)
            new = new._replace(milestone=tf.where(look, new.errors, state.milestone))
            return Step(new, new.z, new.errors, small | ~accepted & (state.length < _SHORTEST))

        return minimizer(generator, start, step, self.steps)

    def width(self, latent_dim: int) -> int:
        """See `Solver.width`."""
        return 1


def _moved(state: _State, z: tf.Tensor, errors: tf.Tensor, gradient: tf.Tensor) -> _State:
    """The state after an accepted step: the pair remembered where its curvature is positive, and a new direction."""
    move, turn = z - state.z, gradient - state.gradient
    curvature = tf.reduce_sum(move * turn, axis=1)
    positive = curvature > 1e-8 * tf.norm(move, axis=1) * tf.norm(turn, axis=1)

    def remembered(memory, new):
        return select(positive, tf.concat([memory[:, 1:], new[:, tf.newaxis]], axis=1), memory)

    moves, turns = remembered(state.moves, move), remembered(state.turns, turn)
    inverse = remembered(state.inverse_curvatures, tf.math.divide_no_nan(1.0, curvature))
    direction = -_two_loops(gradient, moves, turns, inverse)
    return state._replace(
        z=z,
        errors=errors,
        gradient=gradient,
        direction=direction,
        length=tf.ones_like(errors),
        moves=moves,
        turns=turns,
        inverse_curvatures=inverse,
    )


def _two_loops(gradient: tf.Tensor, moves: tf.Tensor, turns: tf.Tensor, inverse: tf.Tensor) -> tf.Tensor:
    """The inverse Hessian's approximation times the gradient, [b, k]; Nocedal and Wright's algorithm 7.4."""
    weights = []
    for i in reversed(range(_MEMORY)):
        weights.append(inverse[:, i, tf.newaxis] * tf.reduce_sum(moves[:, i] * gradient, axis=1, keepdims=True))
        gradient = gradient - weights[-1] * turns[:, i]
    square = tf.reduce_sum(tf.square(turns[:, -1]), axis=1)
    first = 1 / tf.maximum(tf.norm(gradient, axis=1), 1e-20)  # as at the start, while nothing is remembered
    scale = tf.where(square > 0, tf.math.divide_no_nan(1.0, inverse[:, -1] * square), first)
    result = gradient * scale[:, tf.newaxis]
    for i, weight in enumerate(reversed(weights)):
        correction = inverse[:, i, tf.newaxis] * tf.reduce_sum(turns[:, i] * result, axis=1, keepdims=True)
        result = result + moves[:, i] * (weight - correction)
    return result


def _shorter(state: _State, errors: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """Where the parabola through both errors and the slope is least, within a tenth and a half of the failed length."""
    excess = errors - state.errors - state.length * slope
    least = -slope * tf.square(state.length) / (2 * excess)
    least = tf.where(tf.math.is_finite(least), least, 0.1 * state.length)
    return tf.clip_by_value(least, 0.1 * state.length, 0.5 * state.length)
