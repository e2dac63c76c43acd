"""From one step of a solver to its whole search: limits, draining, the best code so far, and a status for each row.

A solver defines how to begin and how to take a step; everything that all searches share is here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from inc_tf.errors import InputError
from inc_tf.projection.projection import Status
from inc_tf.projection.solvers.draining import drain
from inc_tf.projection.solvers.protocol import Solution, signature, xla_pays
from inc_tf.rows import select

_FEW = 4  # rows that are searched faster one by one


class Step(NamedTuple):
    """The result of one step of a solver, for b rows at once.

    Attributes:
      state: the solver's own, a structure of tensors [b, …].
      codes: the codes that the step evaluated, float32 [b, k]: those that it led to, or, for a solver with a `last`,
        those that it started from.
      errors: ‖G(z) − x‖₂² at these codes, float32 [b]. A row with an error that is not finite ends.
      done: whether the row has converged, bool [b].
    """

    state: Any
    codes: tf.Tensor
    errors: tf.Tensor
    done: tf.Tensor


class _Progress(NamedTuple):
    own: Any
    best: tf.Tensor
    least: tf.Tensor
    steps: tf.Tensor
    status: tf.Tensor


def minimizer(
    generator: keras.Model,
    start: Callable[[tf.Tensor, tf.Tensor], tuple[Any, tf.Tensor]],
    step: Callable[[tf.Tensor, Any, tf.Tensor], Step],
    max_steps: int,
    *,
    last: Callable[[tf.Tensor, Any], tuple[tf.Tensor, tf.Tensor]] | None = None,
    stride: int = 1,
    compilable: bool = False,
) -> tf.types.experimental.PolymorphicFunction:
    """The function that `Solver.compile` returns.

    Args:
      generator: G.
      start: maps images, float32 [B, H, W, C], and first codes, float32 [B, k], to the solver's first state, a
        structure of tensors [B, …], and ‖G(z) − x‖₂² of those codes, float32 [B].
      step: maps the images and the state of the rows that are still being searched, and the number t of steps that they
        have taken so far, int32, to a `Step`.
      max_steps: the largest number of steps for a row.
      last: for a solver whose steps evaluate the codes that they start from, maps images and the last state to the
        final codes and their errors.
      stride: steps between two checks for rows that are done: more than one if a step is so quick that a check would
        cost as much. Between checks, every row takes steps.
      compilable: whether XLA can compile `step` on one row, and, if `stride` ≥ `max_steps`, on many: no shape in it
        depends on values. If XLA pays, a search that no row leaves early is then one XLA program; in any other search,
        a batch of few rows is searched row by row in one.

    Each row keeps the best finite code that it met, including the first one; NaN and infinity never win. Raises
    `InputError` for fewer steps than one.
    """
    if max_steps < 1:
        raise InputError(f"The search has {max_steps} steps; it must have at least 1.")
    stride = min(stride, max_steps)
    looks = -(-max_steps // stride)

    def begin(images: tf.Tensor, codes: tf.Tensor) -> _Progress:
        own, errors = start(images, codes)
        finite = tf.math.is_finite(errors)
        return _Progress(
            own,
            codes,
            tf.where(finite, errors, float("inf")),
            tf.zeros_like(errors, tf.int32),
            tf.where(finite, Status.OUT_OF_STEPS, Status.NOT_FINITE),
        )

    def advance(images: tf.Tensor, progress: _Progress, taken: tf.Tensor) -> _Progress:
        new = step(images, progress.own, taken)
        best, least = select(new.errors < progress.least, (new.codes, new.errors), (progress.best, progress.least))
        status = tf.where(new.done, Status.CONVERGED, Status.OUT_OF_STEPS)
        status = tf.where(tf.math.is_finite(new.errors), status, Status.NOT_FINITE)
        return _Progress(new.state, best, least, progress.steps, status)

    def leap(images: tf.Tensor, progress: _Progress) -> _Progress:
        """All steps as far as the next look."""
        taken = 0 if looks == 1 else _taken(progress)
        ahead = stride if looks == 1 else tf.minimum(stride, max_steps - taken)
        if stride == 1:
            progress = advance(images, progress, taken)
        else:
            progress = tf.while_loop(
                lambda t, _: t < taken + ahead,
                lambda t, progress: (t + 1, advance(images, progress, t)),
                (taken, progress),
            )[1]
        return progress._replace(steps=progress.steps + ahead)

    def go_on(images: tf.Tensor, progress: _Progress) -> tuple[_Progress, tf.Tensor]:
        progress = leap(images, progress)
        return progress, ~_going(progress)

    def end(images: tf.Tensor, progress: _Progress) -> Solution:
        found = progress.best, progress.least
        if last is not None:
            codes, errors = last(images, progress.own)
            found = select(errors < progress.least, (codes, errors), found)
        return Solution(*found, progress.steps, progress.status)

    def together(images: tf.Tensor, codes: tf.Tensor) -> Solution:
        progress = begin(images, codes)
        if looks == 1:
            progress = select(_going(progress), leap(images, progress), progress)
        else:
            progress = drain(go_on, images, progress, ~_going(progress), looks)[0]
        return end(images, progress)

    @tf.function(jit_compile=True, autograph=False)
    def alone(row: tuple[tf.Tensor, tf.Tensor]) -> Solution:
        images, codes = (part[tf.newaxis] for part in row)
        progress = tf.while_loop(
            lambda progress: _going(progress)[0],
            lambda progress: (leap(images, progress),),
            (begin(images, codes),),
            maximum_iterations=looks,
        )[0]
        return tf.nest.map_structure(lambda part: part[0], end(images, progress))

    compiles = compilable and xla_pays(generator)
    specs = signature(generator)
    if looks == 1 or not compiles:
        return tf.function(together, jit_compile=compiles, input_signature=specs, autograph=False)
    solution = Solution(
        tf.TensorSpec(specs[1].shape[1:]), tf.TensorSpec([]), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)
    )

    # Draining changes the batch's size, and XLA would compile for each. Of few rows the small operations cost more
    # than the arithmetic.
    @tf.function(input_signature=specs, autograph=False)
    def minimize(images: tf.Tensor, codes: tf.Tensor) -> Solution:
        return tf.cond(
            tf.shape(images)[0] > _FEW,
            lambda: together(images, codes),  # traced first, with its errors as they are
            lambda: tf.map_fn(alone, (images, codes), fn_output_signature=solution, parallel_iterations=1),
        )

    return minimize


def _taken(progress: _Progress) -> tf.Tensor:
    """The steps that the rows which are still searched have taken: the most of any."""
    return tf.reduce_max(progress.steps)


def _going(progress: _Progress) -> tf.Tensor:
    return tf.equal(progress.status, Status.OUT_OF_STEPS)
