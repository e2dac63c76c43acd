"""Projected gradient descent from a random start (Madry et al., 2018)."""

import tensorflow as tf

from inc_tf.attacks.ascent import ascend
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import Classifier, check_epsilon, check_inputs, check_positive
from inc_tf.attacks.losses import cross_entropy
from inc_tf.data import Bounds
from inc_tf.seeds import derive


def pgd(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    steps: int = 40,
    step_size: float | None = None,
) -> tf.Tensor:
    """Sign-gradient ascent on the cross-entropy within the ℓ∞ ball, from a uniformly random point of it.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: of the random start; None is 0.
      epsilon: ε, the largest change of a pixel, in the images' own units.
      steps: Madry et al.'s 40 for MNIST.
      step_size: in the images' own units; None is 2.5·ε/steps, Madry et al.'s rule.

    Returns: float32 [N, H, W, C]; the clean image where the attack did not raise the cross-entropy. Raises `InputError`
    for what `check_inputs` and `check_epsilon` refuse, and for steps or a step size not above 0.
    """
    inputs = check_inputs(classifier, images, labels, bounds)
    check_epsilon(epsilon, bounds)
    check_positive(steps=steps, **({} if step_size is None else {"step_size": step_size}))
    key = [derive(0 if seed is None else seed, "pgd"), 0]
    noise = tf.random.stateless_uniform(inputs.images.shape, key, -epsilon, epsilon)

    def attack(images: tf.Tensor, labels: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        found = ascend(
            classifier,
            tf.clip_by_value(images + noise, *bounds),
            images,
            labels,
            bounds=bounds,
            epsilon=epsilon,
            step_size=2.5 * epsilon / steps if step_size is None else step_size,
            steps=steps,
        )
        raised = cross_entropy(labels, classifier(found)) > cross_entropy(labels, classifier(images))
        return tf.where(raised[:, tf.newaxis, tf.newaxis, tf.newaxis], found, images)

    return in_batches(attack, *inputs, noise)
