"""Damped Gauss–Newton with an explicit Jacobian: for codes of up to about 64 dimensions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

from inc_tf.checks import check_count, check_share
from inc_tf.errors import InputError
from inc_tf.projection.solvers.protocol import Solution, solver, squared_errors
from inc_tf.projection.solvers.search import Step, minimizer
from inc_tf.rows import select
from inc_tf.saving import Settings

# A Jacobian costs as much as k images, so each is used for several trial steps, of which the best is kept.
_TRIALS = (1 / 32, 1 / 4, 2.0, 16.0)
_FIRST_DAMPING = 0.01
_LEAST_DAMPING = 1e-6  # keeps the Cholesky factor of a singular matrix finite in float32
_GREATEST_DAMPING = 1e4


class _State(NamedTuple):
    z: tf.Tensor
    errors: tf.Tensor
    damping: tf.Tensor
    moved: tf.Tensor
    normal: tf.Tensor  # JᵀJ and Jᵀr at z, out of date where z has moved
    gradient: tf.Tensor


@solver("levenberg-marquardt")
@dataclass(frozen=True)
class LevenbergMarquardt(Settings):
    """z ← z − (JᵀJ + λ·max diag(JᵀJ)·1)⁻¹ Jᵀ(G(z) − x), J = ∂G/∂z (Levenberg, 1944; Marquardt, 1963).

    Every image has its own λ. A step tries four values of it, 512-fold apart, and keeps the one with the least error; λ
    goes on from there. If none improves, the codes stay, λ grows, and the Jacobian is used again. A singular JᵀJ is
    solved with λ ≥ 1e-6; if the generator is dead (J = 0), the image keeps its first code and has converged.

    Attributes:
      steps: the largest number of steps for an image; each computes at most one Jacobian.
      tolerance: an image is done when a step (with λ ≤ 1) lowers its error by no more than this share, or no step
        lowers it.

    `compile` raises `InputError` if a layer's gradient cannot itself be differentiated.
    """

    steps: int = 30
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        check_count(steps=self.steps)
        check_share(tolerance=self.tolerance)

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        """See `Solver.compile`."""

        def start(images: tf.Tensor, codes: tf.Tensor) -> tuple[_State, tf.Tensor]:
            errors = squared_errors(generator, codes, images)
            size, k = tf.shape(codes)[0], codes.shape[1]
            damping = tf.fill([size], _FIRST_DAMPING)
            moved = tf.ones([size], tf.bool)
            return _State(codes, errors, damping, moved, tf.zeros([size, k, k]), tf.zeros([size, k])), errors

        def step(images: tf.Tensor, state: _State, t: tf.Tensor) -> Step:
            state = _refreshed(generator, images, state)
            z, errors, damping = _best_trial(generator, images, state)
            wins = errors < state.errors
            small = (state.errors - errors <= self.tolerance * state.errors) & (damping <= 1.0)
            done = tf.where(wins, small, state.damping > _GREATEST_DAMPING)
            z, errors, damping = select(
                wins, (z, errors, damping), (state.z, state.errors, state.damping * 4 * _TRIALS[-1])
            )
            return Step(state._replace(z=z, errors=errors, damping=damping, moved=wins), z, errors, done)

        minimize = minimizer(generator, start, step, self.steps, compilable=True)
        minimize.get_concrete_function()  # so that a generator that will not do is refused here
        return minimize

    def width(self, latent_dim: int) -> int:
        """See `Solver.width`: the columns of a Jacobian, or the trials."""
        return max(latent_dim, len(_TRIALS))


def _refreshed(generator: keras.Model, images: tf.Tensor, state: _State) -> _State:
    """The state with JᵀJ and Jᵀr computed anew where z has moved."""

    def refreshed():
        if images.shape[0] == 1:  # XLA compiles this
            return normal_equations(generator, state.z, images)
        rows = tf.where(state.moved)
        normal, gradient = normal_equations(generator, tf.gather_nd(state.z, rows), tf.gather_nd(images, rows))
        return (
            tf.tensor_scatter_nd_update(state.normal, rows, normal),
            tf.tensor_scatter_nd_update(state.gradient, rows, gradient),
        )

    # An empty batch is more than some operations can take.
    normal, gradient = tf.cond(tf.reduce_any(state.moved), refreshed, lambda: (state.normal, state.gradient))
    return state._replace(normal=normal, gradient=gradient)


def _best_trial(generator: keras.Model, images: tf.Tensor, state: _State) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The codes [b, k], errors [b] and dampings [b] of each row's best trial; errors are infinite for want of any."""
    trials, k = len(_TRIALS), state.z.shape[1]
    dampings = tf.maximum(state.damping[:, tf.newaxis] * _TRIALS, _LEAST_DAMPING)
    scale = tf.maximum(tf.reduce_max(tf.linalg.diag_part(state.normal), axis=1), 1e-20)
    ridge = (dampings * scale[:, tf.newaxis])[..., tf.newaxis, tf.newaxis] * tf.eye(k)
    factor = tf.linalg.cholesky(state.normal[:, tf.newaxis] + ridge)
    right = tf.repeat(state.gradient[:, tf.newaxis, :, tf.newaxis], trials, axis=1)
    codes = state.z[:, tf.newaxis] - tf.linalg.cholesky_solve(factor, right)[..., 0]
    errors = squared_errors(generator, tf.reshape(codes, [-1, k]), tf.repeat(images, trials, axis=0))
    errors = tf.reshape(tf.where(tf.math.is_finite(errors), errors, float("inf")), [-1, trials])
    best = tf.argmin(errors, axis=1)
    return tuple(tf.gather(part, best, batch_dims=1) for part in (codes, errors, dampings))


def normal_equations(generator: keras.Model, codes: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """JᵀJ, [b, k, k], and Jᵀ(G(z) − x), [b, k], of each row; J = ∂G/∂z.

    The columns of J come together from one forward-mode sweep. It is written as the transpose of the transpose, since
    u ↦ Jᵀu is linear and its gradient is J itself: so G is evaluated once rather than k times.
    """
    size, k = tf.shape(codes)[0], codes.shape[1]
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as reverse:
        reverse.watch(codes)
        output = generator(codes, training=False)
    cotangent = tf.zeros_like(output)
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as forward:
        forward.watch(cotangent)
        pulled_back = reverse.gradient(output, codes, output_gradients=cotangent)

    def column(direction):
        tangent = tf.broadcast_to(direction, tf.shape(codes))
        along = forward.gradient(pulled_back, cotangent, output_gradients=tangent)
        if along is None:
            raise LookupError("as that of a bilinear resizing")
        return along

    try:
        columns = tf.vectorized_map(column, tf.eye(k, dtype=codes.dtype))
    except LookupError as error:
        raise InputError(
            f"The generator {generator.name!r} has an operation whose gradient cannot be differentiated ({error}); "
            "LevenbergMarquardt needs that: use LBFGS, or another layer."
        ) from error
    pixels = math.prod(output.shape[1:])
    jacobian = tf.transpose(tf.reshape(columns, [k, size, pixels]), [1, 0, 2])
    residual = tf.reshape(output - images, [size, pixels])
    return tf.matmul(jacobian, jacobian, transpose_b=True), tf.linalg.matvec(jacobian, residual)
