"""Steps of gradient ascent within an ℓ∞ or ℓ2 ball, for BIM and PGD; each step is cleverhans's.

cleverhans's own loops suit neither: they refuse steps longer than ε, which the paper's BIM takes, and draw PGD's start
from TensorFlow's global generator, which cannot be seeded without disturbing the caller's.
"""

import numpy as np
import tensorflow as tf
from cleverhans.tf2.utils import clip_eta, compute_gradient, optimize_linear

from inc_tf.attacks.checks import Classifier
from inc_tf.attacks.losses import LOSSES, Loss
from inc_tf.data import Bounds


def ascend(
    classifier: Classifier,
    start: tf.Tensor,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    epsilon: float,
    step_size: float,
    steps: int,
    norm: float = np.inf,
    loss: Loss = "cross-entropy",
) -> tf.Tensor:
    """x ← Π(x + α·sign ∇ₓL(x, y)), `steps` times from `start`; Π clips to ε around `images`, then to the bounds.

    In ℓ2 (`norm` 2) the step goes along the gradient itself, to a length of α. `step_size` is α; the others are the
    attack's own arguments. Returns float32 [N, H, W, C].
    """
    x = start
    for _ in range(steps):
        gradient = compute_gradient(classifier, LOSSES[loss], x, labels, targeted=False)
        x = within_ball(x + along(gradient, step_size, norm), images, epsilon, norm, bounds)
    return x


def along(gradient: tf.Tensor, size: float | tf.Tensor, norm: float) -> tf.Tensor:
    """The change of length `size` in the norm that goes along the gradient, however small the gradient is.

    cleverhans takes at least 1e-12 for the square of a length. The gradient of a confident classifier is smaller,
    especially if the bounds are wide.
    """
    if norm == 2:
        largest = tf.reduce_max(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
        gradient = tf.math.divide_no_nan(gradient, largest)
    return optimize_linear(gradient, size, norm)


def within_ball(others: tf.Tensor, images: tf.Tensor, epsilon: float, norm: float, bounds: Bounds) -> tf.Tensor:
    """Π: `others` clipped to ε around `images`, then to the bounds."""
    return tf.clip_by_value(images + clip_eta(others - images, norm, epsilon), *bounds)
