"""What the three attacks of Carlini and Wagner (2017) share: the box, the margin, and a search row by row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf.adam import adam
from inc_tf.attacks.checks import Classifier
from inc_tf.attacks.losses import margin
from inc_tf.data import Bounds
from inc_tf.rows import column, select

_REACH = 0.99
_STEPS_A_CALL = 50


def to_box(images: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """The free variables w of images: x = middle + half the width · tanh w / 0.99, clipped to the bounds.

    The reference's box ends at the bounds, where tanh is flat and a pixel, as of MNIST's background, hardly moves; this
    one is 1 % wider. It needs no smoothing, so that the start is the clean image itself.
    """
    low, high = bounds
    return tf.atanh(_REACH * (2.0 * (images - low) / (high - low) - 1.0))


def from_box(variables: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """The images of free variables; always within the bounds."""
    low, high = bounds
    return tf.clip_by_value((low + high) / 2.0 + (high - low) / 2.0 * tf.tanh(variables) / _REACH, low, high)


def box_slope(variables: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """The derivative of `from_box` before its clip, element by element, so that a clipped pixel can come back."""
    low, high = bounds
    return (high - low) / 2.0 * (1.0 - tf.square(tf.tanh(variables))) / _REACH


def shortfall(logits: tf.Tensor, classes: tf.Tensor, targeted: bool) -> tf.Tensor:
    """How far from success each row is, float32 [N]; it succeeds with confidence κ below 0 and at most −κ.

    `classes` int64 [N]: the true ones, whose logit less the largest other it is, or the targets, for the opposite.
    """
    beyond = margin(classes, logits, logits.dtype)
    return beyond if targeted else -beyond


def shortfall_and_slope(classifier: Classifier, images: tf.Tensor, classes: tf.Tensor, targeted: bool) -> tuple:
    """`shortfall` of the classifier on images, float32 [N], and its gradient, float32 [N, H, W, C]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        short = shortfall(classifier(images), classes, targeted)
    return short, tape.gradient(short, images)


def succeeds(short: tf.Tensor, confidence: float) -> tf.Tensor:
    """Whether each `shortfall` is a success, bool [N]."""
    return (short < 0) & (short <= -confidence)


class Stage(NamedTuple):
    """Where the search of each row is, for ℓ0 and ℓ∞: its constant, and Adam's state since it last started."""

    images: tf.Tensor
    classes: tf.Tensor
    const: tf.Tensor
    own: Any
    """What the attack itself keeps: tensors [N, …]."""
    start: tf.Tensor
    variables: tf.Tensor
    moments: tuple[tf.Tensor, tf.Tensor]
    steps: tf.Tensor
    best: tf.Tensor
    done: tf.Tensor


def first_stage(images: tf.Tensor, classes: tf.Tensor, const: float, own: Any, bounds: Bounds) -> Stage:
    """Every row at its clean image, with the first constant."""
    n = len(images)
    start = to_box(images, bounds)
    moments = (tf.zeros_like(images), tf.zeros_like(images))
    nothing_done = tf.zeros(n, tf.bool)
    return Stage(images, classes, tf.fill([n], const), own, start, start, moments, tf.zeros(n), images, nothing_done)


def next_stage(stage: Stage, gradient: tf.Tensor, won: tf.Tensor, iterations: int, learning_rate: float) -> Stage:
    """Every row one step of Adam on.

    A row that has `won` starts again from where it is; one that has not within `iterations` starts again from where it
    last started, with its constant doubled.
    """
    change, moments = adam(gradient, stage.moments, column(stage.steps), learning_rate)
    lost = ~won & (stage.steps + 1 >= iterations)
    again = won | lost
    start = select(won, stage.variables, stage.start)
    return stage._replace(
        const=tf.where(lost, 2.0 * stage.const, stage.const),
        start=start,
        variables=select(again, start, stage.variables + change),
        moments=select(again, tf.nest.map_structure(tf.zeros_like, moments), moments),
        steps=tf.where(again, 0.0, stage.steps + 1),
    )


def search(step: Callable[[Any], Any], state: Any) -> tf.Tensor:
    """Take steps until every row is done; rows that are done leave the batch, so that the last ones are quick.

    Args:
      step: from a state to the next one; each row is its own search, at its own stage.
      state: a NamedTuple of tensors [N, …], with `done`, bool [N], and `best`.

    Returns: `best` of each row. After ten seconds it shows how many rows are done.
    """
    signature = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), state)

    @tf.function(input_signature=[signature], autograph=False)
    def advance(state):
        return tf.while_loop(
            lambda state: ~tf.reduce_all(state.done),
            lambda state: (select(state.done, state, step(state)),),
            (state,),
            maximum_iterations=_STEPS_A_CALL,
        )[0]

    best = state.best.numpy()
    waiting = np.arange(len(best))
    with tqdm(total=len(best), desc="attack", unit="image", delay=10, leave=False) as shown:
        while len(waiting):
            state = advance(state)
            done = state.done.numpy()
            best[waiting[done]] = state.best.numpy()[done]
            waiting = waiting[~done]
            state = tf.nest.map_structure(lambda part: part[~done], state)  # noqa: B023
            shown.update(int(done.sum()))
    return tf.constant(best)
