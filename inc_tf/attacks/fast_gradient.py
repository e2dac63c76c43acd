"""The fast gradient sign method, by cleverhans."""

import numpy as np
import tensorflow as tf
from cleverhans.tf2.attacks.fast_gradient_method import fast_gradient_method

from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import Classifier, check_epsilon, check_inputs, on_any_model
from inc_tf.attacks.losses import cross_entropy
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds


@on_any_model
def fgsm(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
) -> tf.Tensor:
    """x + ε·sign ∇ₓL(x, y), clipped to the bounds; eq. (8) of the paper, L the cross-entropy.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: unused; nothing in this attack is random.
      epsilon: ε, the largest change of a pixel, in the images' own units.

    Returns: float32 [N, H, W, C]. Raises `InputError` for arguments that `check_inputs` or `check_epsilon` refuses.
    """
    inputs = check_inputs(classifier, images, labels, bounds)
    check_epsilon(epsilon, bounds)

    def attack(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return fast_gradient_method(
            classifier, images, epsilon, np.inf, cross_entropy, clip_min=bounds[0], clip_max=bounds[1], y=labels
        )

    return in_batches(attack, *inputs)


register(Method("fgsm", fgsm, "FGSM on C"))
