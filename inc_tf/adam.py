"""One step of Adam, for the searches that run inside a graph on tensors, where Keras's optimizers want variables."""

import tensorflow as tf

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


def adam(
    gradient: tf.Tensor,
    moments: tuple[tf.Tensor, tf.Tensor],
    steps: tf.Tensor,
    learning_rate: float,
    *,
    differentiable: bool = False,
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    """One step of Adam (Kingma and Ba, 2015).

    Args:
      gradient: floating, any shape.
      moments: the two moments' running means, each as the gradient; zeros at first.
      steps: taken before this one, of the gradient's type, broadcast to its shape.
      learning_rate: the step's size.
      differentiable: put Adam's ε under the root, √(v + ε²) instead of √v + ε. A step through which a gradient flows
        needs that: the derivative of √v at v = 0, as a dead code has, is infinite.

    Returns: what to add to the variables, and the new moments.
    """
    first = _BETA_1 * moments[0] + (1 - _BETA_1) * gradient
    second = _BETA_2 * moments[1] + (1 - _BETA_2) * tf.square(gradient)
    t = steps + 1.0
    rate = learning_rate * tf.sqrt(1 - _BETA_2**t) / (1 - _BETA_1**t)
    scale = tf.sqrt(second + _EPSILON**2) if differentiable else tf.sqrt(second) + _EPSILON
    return -rate * first / scale, (first, second)
