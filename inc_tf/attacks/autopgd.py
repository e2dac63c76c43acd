"""AutoPGD: projected gradient ascent with momentum that sets its own step size (Croce and Hein, 2020)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from inc_tf.attacks.ascent import along, within_ball
from inc_tf.attacks.checks import Classifier, check_positive, on_any_model
from inc_tf.attacks.losses import LOSSES, Loss, higher
from inc_tf.attacks.methods import Method, register
from inc_tf.attacks.projected_gradient import best_of_starts
from inc_tf.data import Bounds
from inc_tf.rows import column, select

_MOMENTUM = 0.25  # 1 − α of the paper
_RISES = 0.75  # ρ: the share of steps that must raise the loss for the step size to stay


@on_any_model
def auto_pgd(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    steps: int = 40,
    restarts: int = 1,
    norm: float = np.inf,
    loss: Loss = "cross-entropy",
) -> tf.Tensor:
    """Climb the loss within the ball of ε with steps of 2ε at first, which are halved for an image when they stop
    helping.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: seed of the random starts; None is 0. The starts are those of `pgd`.
      epsilon: ε, the largest change of a pixel, or of the image in ℓ2, in the images' own units.
      steps: gradient steps of each restart; 100 in Croce and Hein.
      restarts: how many random starts; the best one is kept for each image.
      norm: the ball's norm, np.inf or 2.
      loss: `"cross-entropy"`, or `"margin"`, by how much the best other class's logit is above the true one's.

    Returns: float32 [N, H, W, C]; the clean image if the attack did not raise the loss. Raises `InputError` for
    arguments that `check_inputs` or `check_epsilon` refuses, for steps or restarts below 1, and for another norm.

    Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks", 2020, Algorithm 1, with its constants.
    """
    check_positive(steps=steps)
    climb = _Climb(classifier, bounds, epsilon, steps, norm, loss)
    return best_of_starts(climb, classifier, images, labels, bounds, seed, epsilon, restarts, norm, loss)


class _Point(NamedTuple):
    """Images [N, H, W, C], their loss [N] and its gradient [N, H, W, C]."""

    images: tf.Tensor
    value: tf.Tensor
    gradient: tf.Tensor


@dataclass(frozen=True)
class _Climb:
    """One restart; the fields are `auto_pgd`'s arguments."""

    classifier: Classifier
    bounds: Bounds
    epsilon: float
    steps: int
    norm: float
    loss: Loss

    def __call__(self, images: tf.Tensor, labels: tf.Tensor, start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The best images that were met, float32 [N, H, W, C], and their loss, float64 [N]."""
        now = best = self._at(start, labels)
        before = None
        size = tf.fill([len(images)], 2 * self.epsilon)
        rises, halved, since, mark = tf.zeros(len(images)), tf.fill([len(images)], True), best.value, 0
        looks = check_points(self.steps)
        for step in range(1, self.steps):
            ahead = self._at(self._step(images, now, before, size), labels)
            rises += tf.cast(ahead.value > now.value, tf.float32)
            before, now = now.images, ahead
            best = select(now.value > best.value, now, best)
            if step in looks:
                stuck = (rises < _RISES * (step - mark)) | (~halved & (best.value <= since))
                size = tf.where(stuck, size / 2, size)
                now = select(stuck, best, now)
                rises, halved, since, mark = tf.zeros_like(rises), stuck, best.value, step
        last = self._step(images, now, before, size)
        return higher(best.images, best.value, last, LOSSES[self.loss](labels, self.classifier(last)))

    def _step(self, images: tf.Tensor, now: _Point, before: tf.Tensor | None, size: tf.Tensor) -> tf.Tensor:
        """From `now` along its gradient, a quarter of the way kept from the step before."""
        ball = (images, self.epsilon, self.norm, self.bounds)
        ahead = within_ball(now.images + along(now.gradient, column(size), self.norm), *ball)
        if before is None:
            return ahead
        moved = (1 - _MOMENTUM) * (ahead - now.images) + _MOMENTUM * (now.images - before)
        return within_ball(now.images + moved, *ball)

    def _at(self, images: tf.Tensor, labels: tf.Tensor) -> _Point:
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = LOSSES[self.loss](labels, self.classifier(images))
        return _Point(images, value, tape.gradient(value, images))


def check_points(steps: int) -> list[int]:
    """After which of `steps` steps the step size may be halved: ever closer ones."""
    percents = [0, 22]
    while percents[-1] < 100:
        percents.append(percents[-1] + max(percents[-1] - percents[-2] - 3, 6))
    return [math.ceil(percent * steps / 100) for percent in percents[1:-1]]


register(
    Method(
        "auto-pgd",
        auto_pgd,
        "AutoPGD-{steps} on C",
        left_out="`end-to-end` is the same on each control",
    )
)
_WHOLE = "AutoPGD-{steps} on the defence itself"
register(Method("end-to-end", auto_pgd, _WHOLE, target="defense"))
register(Method("end-to-end-l2", auto_pgd, f"{_WHOLE}, ℓ2", target="defense", arguments={"norm": 2}))
