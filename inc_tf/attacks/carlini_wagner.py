"""What the three attacks of Carlini and Wagner (2017) share: the box, the margin, and Adam row by row."""

import tensorflow as tf

from inc_tf.data import Bounds

_BETA_1, _BETA_2, _TINY = 0.9, 0.999, 1e-8
_INSIDE = 0.999999  # keeps the values at the bounds at a finite arctanh


def to_box(images: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """The free variables w of images: x = low + (tanh w + 1)/2 · (high − low)."""
    low, high = bounds
    return tf.atanh((2.0 * (images - low) / (high - low) - 1.0) * _INSIDE)


def from_box(variables: tf.Tensor, bounds: Bounds) -> tf.Tensor:
    """The images of free variables; always within the bounds."""
    low, high = bounds
    return low + (tf.tanh(variables) + 1.0) / 2.0 * (high - low)


def margins(logits: tf.Tensor, classes: tf.Tensor, targeted: bool) -> tf.Tensor:
    """How far from success each row is, float32 [N]; it succeeds with confidence κ below 0 and at most −κ.

    `classes` int64 [N]: the true ones, whose logit less the largest other it is, or the targets, for the opposite.
    """
    chosen = tf.one_hot(classes, logits.shape[1], on_value=True, off_value=False)
    own = tf.reduce_sum(tf.where(chosen, logits, 0.0), axis=1)
    other = tf.reduce_max(tf.where(chosen, logits.dtype.min, logits), axis=1)
    return other - own if targeted else own - other


def succeeds(margin: tf.Tensor, confidence: float) -> tf.Tensor:
    """Whether each margin is a success, bool [N]."""
    return (margin < 0) & (margin <= -confidence)


def adam(gradient, moments: tuple, steps: tf.Tensor, learning_rate: float) -> tuple[tf.Tensor, tuple]:
    """One step of Adam in which every row counts its own steps.

    Args:
      gradient: float32 [N, …].
      moments: the two moments' running means, each as the gradient; zeros at first.
      steps: taken before this one, float32 [N].
      learning_rate: the step's size.

    Returns: what to add to the variables, and the new moments.
    """
    first = _BETA_1 * moments[0] + (1 - _BETA_1) * gradient
    second = _BETA_2 * moments[1] + (1 - _BETA_2) * tf.square(gradient)
    t = rows(steps + 1.0)
    rate = learning_rate * tf.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
    return -rate * first / (tf.sqrt(second) + _TINY), (first, second)


def rows(values: tf.Tensor) -> tf.Tensor:
    """[N] as [N, 1, 1, 1], to go with images."""
    return values[:, tf.newaxis, tf.newaxis, tf.newaxis]
