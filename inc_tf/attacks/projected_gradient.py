"""Projected gradient descent from a random start (Madry et al., 2018)."""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from inc_tf.attacks.ascent import ascend
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import Classifier, check_epsilon, check_inputs, check_norm, check_positive, on_any_model
from inc_tf.attacks.losses import LOSSES, Loss, higher
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds
from inc_tf.seeds import derive


@on_any_model
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
    restarts: int = 1,
    norm: float = np.inf,
    loss: Loss = "cross-entropy",
) -> tf.Tensor:
    """Gradient ascent on the loss within the ball of ε, from a uniformly random point in it; the best restart is kept.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: seed of the random start; None is 0.
      epsilon: ε, the largest change of a pixel, or of the image in ℓ2, in the images' own units.
      steps: Madry et al.'s 40 for MNIST.
      step_size: length of a step, in the images' own units; None is 2.5·ε/steps, Madry et al.'s rule.
      restarts: how many random starts.
      norm: the ball's norm, np.inf or 2.
      loss: `"cross-entropy"`, or `"margin"`, by how much the best other class's logit is above the true one's.

    Returns: float32 [N, H, W, C]; the clean image if the attack did not raise the loss. Raises `InputError` for
    arguments that `check_inputs` or `check_epsilon` refuses, for steps, restarts or a step size not above 0, and for
    another norm.
    """
    check_positive(steps=steps, **({} if step_size is None else {"step_size": step_size}))

    def climb(images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = ascend(
            classifier,
            start,
            images,
            labels,
            bounds=bounds,
            epsilon=epsilon,
            step_size=2.5 * epsilon / steps if step_size is None else step_size,
            steps=steps,
            norm=norm,
            loss=loss,
        )
        return found, LOSSES[loss](labels, classifier(found))

    return best_of_starts(climb, classifier, images, labels, bounds, seed, epsilon, restarts, norm, loss)


def best_of_starts(
    climb: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    bounds: Bounds,
    seed: int | None,
    epsilon: float,
    restarts: int,
    norm: float,
    loss: Loss,
) -> tf.Tensor:
    """The best restart of `climb` for each image, from random points in the ball, after `pgd`'s checks.

    `climb` takes images, labels and starts, and returns images and their losses; the others are `pgd`'s arguments.
    """
    inputs = check_inputs(classifier, images, labels, bounds)
    check_norm(norm)
    check_epsilon(epsilon, bounds, norm, inputs.images.shape)
    check_positive(restarts=restarts)
    key = derive(0 if seed is None else seed, "pgd")

    def attack(images: tf.Tensor, labels: tf.Tensor, *noises: tf.Tensor) -> tf.Tensor:
        best, highest = images, LOSSES[loss](labels, classifier(images))
        for noise in noises:
            best, highest = higher(best, highest, *climb(images, labels, tf.clip_by_value(images + noise, *bounds)))
        return best

    noises = [_random_point(inputs.images.shape, [key, restart], epsilon, norm) for restart in range(restarts)]
    return in_batches(attack, *inputs, *noises)


def _random_point(shape: tf.TensorShape, seed: list[int], epsilon: float, norm: float) -> tf.Tensor:
    """A uniformly random point of each image's ball."""
    if norm == np.inf:
        return tf.random.stateless_uniform(shape, seed, -epsilon, epsilon)
    directions = tf.math.l2_normalize(tf.random.stateless_normal(shape, seed), axis=[1, 2, 3])
    radii = tf.random.stateless_uniform([shape[0], 1, 1, 1], [seed[0], -1 - seed[1]]) ** (1 / math.prod(shape[1:]))
    return epsilon * radii * directions


register(Method("pgd", pgd, "PGD-{steps} on C"))
register(Method("pgd-l2", pgd, "PGD-{steps} on C, ℓ2", arguments={"norm": 2}))
