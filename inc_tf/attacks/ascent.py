"""Steps of gradient ascent within an ℓ∞ or ℓ2 ball, of which BIM and PGD are made; each step is cleverhans's.

cleverhans's own loops serve neither: they refuse steps longer than ε, which the paper's BIM takes, and draw PGD's start
from TensorFlow's global generator, which cannot be seeded without disturbing the caller's.
"""

import numpy as np
import tensorflow as tf
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method
from cleverhans.tf2.utils import clip_eta

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
        stepped = fast_gradient_method(classifier, x, step_size, norm, LOSSES[loss], y=labels)
        x = within_ball(stepped, images, epsilon, norm, bounds)
    return x


def within_ball(others: tf.Tensor, images: tf.Tensor, epsilon: float, norm: float, bounds: Bounds) -> tf.Tensor:
    """Π: `others` clipped to ε around `images`, then to the bounds."""
    return tf.clip_by_value(images + clip_eta(others - images, norm, epsilon), *bounds)
