"""Lagrangian ascent in a generator's latent space, which the attacks `latent` and `overpowered_pairs` share.

Each row n has its own constrained problem, max over its codes of value(codes) subject to excess(codes) ≤ 0. As in the
paper's eqs. (6) and (9), its Lagrangian is value + λ·excess with **λ ≤ 0**: codes climb it by Adam while λ descends it
by gradient steps. (Eq. (3) has λ ≥ 0, with which the constraint does not bind.)
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from inc_tf.adam import adam
from inc_tf.rows import column, select

Objective = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""Maps codes, float32 [N, …], to each row's value and excess, float32 [N]."""


class Ascent(NamedTuple):
    """Where each row's search is.

    Attributes:
      t: the steps taken, float32 [N].
      codes: float32 [N, …].
      moments: Adam's.
      multiplier: λ, float32 [N], at most 0.
      best: of the codes met, float32 [N, …]: the feasible ones of the highest value; for want of any, those of the
        least excess. The first codes until a step is taken.
      value: of `best`, float32 [N].
      excess: of `best`, float32 [N].
    """

    t: tf.Tensor
    codes: tf.Tensor
    moments: tuple[tf.Tensor, tf.Tensor]
    multiplier: tf.Tensor
    best: tf.Tensor
    value: tf.Tensor
    excess: tf.Tensor


def begin(codes: tf.Tensor) -> Ascent:
    """The state before any step, from codes, float32 [N, …]."""
    n = tf.shape(codes)[0]
    zeros, infinite = tf.zeros_like(codes), tf.fill([n], float("inf"))
    return Ascent(tf.zeros([n]), codes, (zeros, zeros), tf.zeros([n]), codes, -infinite, infinite)


def ascend(
    objective: Objective,
    state: Ascent,
    steps: int | tf.Tensor,
    *,
    learning_rate: float,
    multiplier_rate: float,
    inside: float = 0.0,
) -> Ascent:
    """The state `steps` steps later; for use inside a graph.

    Args:
      objective: what is climbed and what binds.
      state: where to go on from.
      steps: how many.
      learning_rate: Adam's, on the codes.
      multiplier_rate: the step on λ for a violation of 1, at which violations are clipped: from codes far away λ would
        otherwise grow beyond what it can come back from.
      inside: how far within the constraint λ aims, in units of the excess: at 0 a search that settles comes near the
        limit from outside for ever.
    """

    def step(state: Ascent) -> tuple[Ascent]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(state.codes)
            value, excess = objective(state.codes)
            lagrangian = value + state.multiplier * excess
        gradient = tape.gradient(lagrangian, state.codes)
        t = column(state.t, state.codes.shape.rank)
        change, moments = adam(-gradient, state.moments, t, learning_rate)
        feasible, was_feasible = excess <= 0, state.excess <= 0
        better = tf.where(feasible, ~was_feasible | (value > state.value), ~was_feasible & (excess < state.excess))
        violation = tf.clip_by_value(excess + inside, -1.0, 1.0)
        best, value, excess = select(better, (state.codes, value, excess), (state.best, state.value, state.excess))
        return (
            Ascent(
                t=state.t + 1.0,
                codes=state.codes + change,
                moments=moments,
                multiplier=tf.minimum(0.0, state.multiplier - multiplier_rate * violation),
                best=best,
                value=value,
                excess=excess,
            ),
        )

    return tf.while_loop(lambda _: True, step, (state,), maximum_iterations=steps)[0]
