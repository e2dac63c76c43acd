"""What the three attacks of Carlini and Wagner (2017) share: the box, the margin, Adam, and a search row by row."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from inc_tf.attacks.checks import Classifier
from inc_tf.data import Bounds

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8
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


def margins(logits: tf.Tensor, classes: tf.Tensor, targeted: bool) -> tf.Tensor:
    """How far from success each row is, float32 [N]; it succeeds with confidence κ below 0 and at most −κ.

    `classes` int64 [N]: the true ones, whose logit less the largest other it is, or the targets, for the opposite.
    """
    chosen = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False)
    own = tf.reduce_sum(tf.where(chosen, logits, 0.0), axis=1)
    other = tf.reduce_max(tf.where(chosen, logits.dtype.min, logits), axis=1)
    return other - own if targeted else own - other


def margin_and_slope(classifier: Classifier, images: tf.Tensor, classes: tf.Tensor, targeted: bool) -> tuple:
    """`margins` of the classifier on images, float32 [N], and their gradient, float32 [N, H, W, C]."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        margin = margins(classifier(images), classes, targeted)
    return margin, tape.gradient(margin, images)


def succeeds(margin: tf.Tensor, confidence: float) -> tf.Tensor:
    """Whether each margin is a success, bool [N]."""
    return (margin < 0) & (margin <= -confidence)


def adam(gradient, moments: tuple, steps: tf.Tensor, learning_rate: float) -> tuple[tf.Tensor, tuple]:
    """One step of Adam (Kingma and Ba, 2015).

    Args:
      gradient: float32 [N, …].
      moments: the two moments' running means, each as the gradient; zeros at first.
      steps: taken before this one, float32 that broadcasts to the gradient.
      learning_rate: the step's size.

    Returns: what to add to the variables, and the new moments.
    """
    first = _BETA_1 * moments[0] + (1 - _BETA_1) * gradient
    second = _BETA_2 * moments[1] + (1 - _BETA_2) * tf.square(gradient)
    t = steps + 1.0
    rate = learning_rate * tf.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
    return -rate * first / (tf.sqrt(second) + _TINY), (first, second)


def rows(values: tf.Tensor) -> tf.Tensor:
    """[N] as [N, 1, 1, 1], to go with images."""
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]


def search(step: Callable[[Any], Any], state: Any) -> tf.Tensor:
    """Take steps until every row is done; rows that are done leave the batch, so that the last ones are quick.

    Args:
      step: from a state to the next one; each row is its own search, at its own stage.
      state: a NamedTuple of tensors [N, …], with `done`, bool [N], and `best`.

    Returns: `best` of each row.
    """
    signature = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), state)

    @tf.function(input_signature=[signature])
    def advance(state):
        return tf.while_loop(
            lambda state: ~tf.reduce_all(state.done),
            lambda state: (_where(state.done, state, step(state)),),
            (state,),
            maximum_iterations=_STEPS_A_CALL,
        )[0]

    best = state.best.numpy()
    waiting = np.arange(len(best))
    while len(waiting):
        state = advance(state)
        done = state.done.numpy()
        best[waiting[done]] = state.best.numpy()[done]
        waiting = waiting[~done]
        state = tf.nest.map_structure(lambda part: part[~done], state)  # noqa: B023
    return tf.constant(best)


def _where(condition: tf.Tensor, state: Any, other: Any) -> Any:
    """The rows of `state` where the condition holds, else those of `other`."""
    return tf.nest.map_structure(
        lambda a, b: tf.where(tf.reshape(condition, [-1] + [1] * (a.shape.rank - 1)), a, b), state, other
    )
