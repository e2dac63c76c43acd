"""SPSA: gradient ascent along a gradient that is estimated from the classifier's output (Uesato et al., 2018).

cleverhans's SPSA takes one image at a time and does not run under Keras 3.
"""

import tensorflow as tf

from inc_tf.adam import adam
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import Classifier, check_answers, check_epsilon, check_positive, on_any_model
from inc_tf.attacks.losses import higher, margin
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds
from inc_tf.seeds import derive

_IMAGES = 16
"""Images whose probes are shown to the classifier at once."""


@on_any_model
def spsa(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    steps: int = 100,
    samples: int = 128,
    learning_rate: float = 0.01,
    delta: float = 0.01,
) -> tf.Tensor:
    """Adam on the margin within the ℓ∞ ball of ε, with a gradient estimated from pairs of random probes.

    Args:
      classifier: from images to logits; it needs no gradient, so it may be a whole defence.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: seed of the probes; None is 0.
      epsilon: ε, the largest change of a pixel, in the images' own units.
      steps: Adam steps.
      samples: probes in a step, an even number, since each direction is tried both ways.
      learning_rate: Adam's, as a share of the bounds' width.
      delta: how far a probe changes each pixel, likewise.

    Returns: float32 [N, H, W, C]; the clean image if the attack did not raise the margin. Raises `InputError` for
    arguments that `check_answers` or `check_epsilon` refuses, and for numbers that are not above 0.
    """
    inputs = check_answers(classifier, images, labels, bounds)
    check_epsilon(epsilon, bounds)
    check_positive(steps=steps, samples=samples // 2, learning_rate=learning_rate, delta=delta)
    width = bounds[1] - bounds[0]
    reach = delta * width
    key = derive(0 if seed is None else seed, "spsa")

    def estimate(x: tf.Tensor, labels: tf.Tensor, t: int) -> tf.Tensor:
        shape = [samples // 2, *x.shape]
        signs = tf.sign(tf.random.stateless_uniform(shape, [key, t], -1.0, 1.0))
        values = []
        for probes in (x + reach * signs, x - reach * signs):
            logits = classifier(tf.clip_by_value(tf.reshape(probes, [-1, *x.shape[1:]]), *bounds))
            values.append(tf.cast(margin(tf.tile(labels, [samples // 2]), logits), tf.float32))
        slope = tf.reshape(values[0] - values[1], [samples // 2, len(x), 1, 1, 1]) / (2 * delta)
        return tf.reduce_mean(slope * signs, axis=0)

    def attack(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        x, moments = images, (tf.zeros_like(images), tf.zeros_like(images))
        best, highest = images, margin(labels, classifier(images))
        for t in range(steps):
            change, moments = adam(-estimate(x, labels, t), moments, tf.constant(float(t)), learning_rate)
            x = images + tf.clip_by_value(x + width * change - images, -epsilon, epsilon)
            x = tf.clip_by_value(x, *bounds)
            best, highest = higher(best, highest, x, margin(labels, classifier(x)))
            if tf.reduce_all(highest > 0):
                break
        return best

    return in_batches(attack, *inputs, size=_IMAGES)


register(
    Method(
        "spsa",
        spsa,
        "SPSA, {steps} steps of {samples} queries",
        target="defense",
        arguments={"steps": 20, "samples": 32, "learning_rate": 0.05},
        gradient=False,
    )
)
