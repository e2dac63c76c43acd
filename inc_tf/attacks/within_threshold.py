"""An attack that knows η: it looks for a misclassified image near the attacked one that is not rejected.

With its argument `distance`, `inc_tf.attacks.latent` has the same aim, but looks for such an image on the generator's
range.
"""

from collections.abc import Callable

import tensorflow as tf

from inc_tf.attacks import lagrangian
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import check_epsilon, check_inputs, check_positive
from inc_tf.attacks.losses import margin
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds


def within_threshold(
    defense: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    distance: float,
    steps: int = 40,
    learning_rate: float = 0.3,
    multiplier_rate: float = 1.0,
) -> tf.Tensor:
    """max over x′ in the ℓ∞ ball of the margin by which x′ is misclassified, subject to ‖G(z*(x′)) − x′‖₂ < η.

    Lagrangian ascent along the gradient of both, every image with its own multiplier (`inc_tf.attacks.lagrangian`), in
    a variable w with x′ = x + ε·tanh w. Nothing is random.

    Args:
      defense: from images to logits, [N, classes], and distances, [N], both differentiable; e.g.
        `inc_tf.attacks.differentiable.implicit_with_distances`.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: unused.
      epsilon: ε, the largest change of a pixel, in the images' own units.
      distance: η, in the distance's unit.
      steps: gradient steps.
      learning_rate: Adam's, on w.
      multiplier_rate: the step on the multiplier, for a violation in units of η², counted up to one.

    Returns: float32 [N, H, W, C]: the accepted image with the largest margin that the search met; if it met none, the
    one closest to being accepted. Raises `InputError` for arguments that `check_inputs` or `check_epsilon` refuses, and
    for numbers that are not above 0.
    """
    inputs = check_inputs(lambda batch: defense(batch)[0], images, labels, bounds)
    check_epsilon(epsilon, bounds)
    check_positive(distance=distance, steps=steps, learning_rate=learning_rate, multiplier_rate=multiplier_rate)

    def attack(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        def changed(w: tf.Tensor) -> tf.Tensor:
            return tf.clip_by_value(images + epsilon * tf.tanh(w), *bounds)

        def objective(w: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits, distances = defense(changed(w))
            return tf.cast(margin(labels, logits), tf.float32), tf.square(distances / distance) - 1.0

        found = lagrangian.ascend(
            objective,
            lagrangian.begin(tf.zeros_like(images)),
            steps,
            learning_rate=learning_rate,
            multiplier_rate=multiplier_rate,
        )
        return changed(found.best)

    return in_batches(attack, *inputs)


register(
    Method(
        "within-threshold",
        within_threshold,
        "Lagrangian on η, {steps} steps",
        target="thresholded",
        left_out="it needs η, and is scored by what is accepted",
    )
)
