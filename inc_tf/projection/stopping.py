"""When to stop fitting an untrained network to an image: rules that look at its reconstructions, step by step.

A rule is a small serializable object. ``rule.start(shape)`` returns its state before the first reconstruction, of shape
[H, W, C]; ``rule.update(state, seen)`` returns the state after one more, inside a graph. A state's `answer` is the
reconstruction that the rule chooses of those seen so far, and `done` says whether the choice is final: then `follow`
keeps it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from inc_tf.errors import InputError
from inc_tf.rows import select
from inc_tf.saving import Settings


class Reconstruction(NamedTuple):
    """What the network makes of an image.

    Attributes:
      image: float32 [H, W, C].
      error: its mean squared error, float32.
      steps: how many steps the weights behind it have taken, int32.
    """

    image: tf.Tensor
    error: tf.Tensor
    steps: tf.Tensor


class Rule(Protocol):
    """See the module. A state has the fields `answer`, a `Reconstruction`, and `done`, bool."""

    def start(self, shape: Sequence[int]) -> Any:
        """See the module."""

    def update(self, state: Any, seen: Reconstruction) -> Any:
        """See the module."""


def nothing(shape: Sequence[int]) -> Reconstruction:
    """What stands before the first reconstruction: a grey image with an infinite error."""
    return Reconstruction(tf.zeros(shape), tf.constant(math.inf), tf.constant(-1))


def follow(rule: Rule, state: Any, seen: Reconstruction, counts: tf.Tensor) -> Any:
    """The rule's state after one more reconstruction, or with the answer it had where it is done or this one does not
    count."""
    updated = rule.update(state, seen)
    kept = state.done | ~counts
    return updated._replace(
        answer=select(kept, state.answer, updated.answer), done=tf.where(kept, state.done, updated.done)
    )


class _Waiting(NamedTuple):
    answer: Reconstruction
    done: tf.Tensor


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class ErrorBelow(Settings):
    """Stop at the first reconstruction whose mean squared error is below `mse`: the paper's rule, in [−1, 1] units."""

    mse: float = 0.005

    def start(self, shape: Sequence[int]) -> _Waiting:
        """See the module."""
        return _Waiting(nothing(shape), tf.constant(False))

    def update(self, state: _Waiting, seen: Reconstruction) -> _Waiting:
        """See the module."""
        return _Waiting(seen, seen.error < self.mse)


class _Window(NamedTuple):
    answer: Reconstruction
    done: tf.Tensor
    frames: tf.Tensor
    total: tf.Tensor
    energy: tf.Tensor
    variance: tf.Tensor
    least: tf.Tensor
    waited: tf.Tensor


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class MovingVariance(Settings):
    """The windowed moving variance (ES-WMV) of Wang et al., "Early Stopping for Deep Image Prior" (2021), Algorithm 1.

    The variance of the last `window` reconstructions, (1/W) Σ ‖x_w − x̄‖² per pixel, falls while the network learns the
    image and rises once it learns the noise. The answer is the reconstruction at the end of the window with the least
    variance; the search is done when the least variance has not fallen for `patience` steps. Until the first window is
    full, the result is the latest reconstruction. Keeps `window` reconstructions in memory.

    Attributes:
      window: W; 100 in Wang et al.
      patience: P; 1000 in Wang et al.
    """

    window: int = 100
    patience: int = 1000

    def __post_init__(self):
        if self.window < 2 or self.patience < 1:
            raise InputError(
                f"The moving variance has a window of {self.window} and a patience of {self.patience}; they must be at "
                "least 2 and 1."
            )

    def start(self, shape: Sequence[int]) -> _Window:
        """See the module."""
        size = math.prod(shape)
        infinite = tf.constant(math.inf, tf.float64)
        return _Window(
            answer=nothing(shape),
            done=tf.constant(False),
            frames=tf.zeros([self.window, size]),
            total=tf.zeros([size], tf.float64),
            energy=tf.zeros([], tf.float64),
            variance=infinite,
            least=infinite,
            waited=tf.constant(0),
        )

    def update(self, state: _Window, seen: Reconstruction) -> _Window:
        """See the module."""
        # Sums over the window are kept up to date, in double precision, rather than taken anew over W images.
        slot = seen.steps % self.window
        new = tf.reshape(seen.image, [-1])
        entering, leaving = tf.cast(new, tf.float64), tf.cast(state.frames[slot], tf.float64)
        total = state.total + entering - leaving
        energy = state.energy + tf.reduce_sum(tf.square(entering)) - tf.reduce_sum(tf.square(leaving))
        mean_square = tf.reduce_sum(tf.square(total / self.window))
        variance = (energy / self.window - mean_square) / tf.size(new, tf.float64)  # type: ignore[arg-type]
        full = seen.steps >= self.window - 1
        better = ~full | (variance < state.least)
        waited = tf.where(better, 0, state.waited + 1)
        return _Window(
            answer=select(better, seen, state.answer),
            done=waited >= self.patience,
            frames=tf.tensor_scatter_nd_update(state.frames, [[slot]], new[tf.newaxis]),
            total=total,
            energy=energy,
            variance=tf.where(full, variance, state.variance),
            least=tf.where(full & better, variance, state.least),
            waited=waited,
        )
