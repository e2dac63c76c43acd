"""The loss that gradient attacks climb."""

import tensorflow as tf


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """L(x, y) of eq. (8), float64 [N], from labels, int64 [N], and logits [N, classes].

    In double precision, since a sure classifier's gradient is lost otherwise: at a logit margin of 17, 1 − p rounds to
    0 in float32, and the true class drops out of the direction. On the shipped MNIST classifier that alone lets FGSM
    at ε 0.3 leave 20 % right in the place of 3 %.
    """
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.cast(logits, tf.float64))
