"""The attack in the latent space: it looks for a misclassified image on the generator's range, near the attacked image.

A projection leaves an image on the range where it is: so the classifier is attacked with images that the defence
accepts as they are. This is how Athalye, Carlini and Wagner (2018) broke Defense-GAN.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from inc_tf.attacks import lagrangian
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import (
    check_epsilon,
    check_inputs,
    check_norm,
    check_number,
    check_positive,
    check_whole,
)
from inc_tf.attacks.losses import higher, margin
from inc_tf.attacks.methods import Method, register
from inc_tf.checks import check_bounds
from inc_tf.data import Bounds
from inc_tf.defense import InvertAndClassify
from inc_tf.rows import column
from inc_tf.seeds import derive


def latent(
    defense: InvertAndClassify,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    norm: float = np.inf,
    distance: float | None = None,
    steps: int = 500,
    learning_rate: float = 0.05,
    multiplier_rate: float = 0.1,
    restarts: int = 1,
    spread: float = 0.3,
    reprojections: int = 1,
) -> tf.Tensor:
    """max over z near z*(x) of the margin by which C has G(z) wrong, G(z) within a distance of the ball around x.

    The result is the point of the ball closest to G(z). The search is Lagrangian ascent, with a multiplier for each
    image; of the restarts, it keeps the one that the defence, which projects it again, gets most wrong.

    Args:
      defense: C behind a projector with a `generator`.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: seed of the restarts and of the projections; None is 0.
      epsilon: ε, the radius of the ball.
      norm: the ball's norm, np.inf or 2.
      distance: how far G(z) may be from the result, in ℓ2: η, for an attacker who knows the threshold. None: as far as
        the defence's own projection is from the clean image.
      steps: steps of each restart.
      learning_rate: Adam's, on the codes.
      multiplier_rate: the step on the multiplier, for a violation in units of the squared distance, counted up to one.
      restarts: how many searches, the first from z*(x), the others from codes around it.
      spread: σ of the codes around z*(x).
      reprojections: the seeds of the defence over which a restart is judged (EOT).

    Returns: float32 [N, H, W, C]; the clean image if the defence does no worse on the image that was found. Raises
    `InputError` for arguments that `check_inputs` or `check_epsilon` refuses, and for numbers that are not above 0.
    """
    check_whole(defense, "generator")
    bounds, epsilon = check_bounds(bounds), check_number(epsilon=epsilon)
    inputs = check_inputs(defense.classifier, images, labels, bounds)
    check_norm(norm)
    check_epsilon(epsilon, bounds, norm, inputs.images.shape)
    check_positive(steps=steps, learning_rate=learning_rate, restarts=restarts, reprojections=reprojections)
    if distance is not None:
        check_positive(distance=distance)
    seed = 0 if seed is None else seed
    rates = {"learning_rate": learning_rate, "multiplier_rate": multiplier_rate}
    search = _search(defense, bounds, epsilon, norm, steps, **rates)

    def attack(images: tf.Tensor, labels: tf.Tensor, *offsets: tf.Tensor) -> tf.Tensor:
        clean = defense.projector(images, seed=seed)
        allowed = clean.distances if distance is None else tf.fill(tf.shape(labels), float(distance))
        best, highest = images, _wrong(defense, images, labels, seed, reprojections)
        for offset in offsets:
            found = search(images, labels, clean.codes + offset, allowed)
            best, highest = higher(best, highest, found, _wrong(defense, found, labels, seed, reprojections))
        return best

    shape = [len(inputs.images), defense.projector.generator.input_shape[1]]
    key = derive(seed, "latent")
    offsets = [spread * (i > 0) * tf.random.stateless_normal(shape, [key, i]) for i in range(restarts)]
    return in_batches(attack, *inputs, *offsets)


def _wrong(defense, images, labels, seed: int, reprojections: int) -> tf.Tensor:
    """The mean margin, over the defence's seeds, by which it has the images wrong, float64 [N]."""
    seeds = range(seed, seed + reprojections)
    return tf.add_n([margin(labels, defense(images, seed=one).logits) for one in seeds]) / reprojections


def _search(
    defense: InvertAndClassify,
    bounds: Bounds,
    epsilon: float,
    norm: float,
    steps: int,
    **rates: float,
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]:
    """The ascent of one defence and ball: from images, labels, first codes and allowed distances to the points of the
    ball closest to the best G(z), float32 [N, H, W, C].
    """
    generator, classifier = defense.projector.generator, defense.classifier

    def nearest(generated: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        change = tf.clip_by_value(generated, *bounds) - images
        if norm == np.inf:
            return images + tf.clip_by_value(change, -epsilon, epsilon)
        length = tf.norm(tf.reshape(change, [tf.shape(change)[0], -1]), axis=1)
        return images + change * column(tf.minimum(1.0, tf.math.divide_no_nan(epsilon, length)))

    @tf.function(reduce_retracing=True, autograph=False)
    def search(images: tf.Tensor, labels: tf.Tensor, codes: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
        def objective(codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            generated = generator(codes, training=False)
            value = tf.cast(margin(labels, classifier(generated, training=False)), tf.float32)
            off = tf.reduce_sum(tf.math.squared_difference(generated, nearest(generated, images)), axis=[1, 2, 3])
            return value, off / tf.square(allowed) - 1.0

        last = lagrangian.ascend(objective, lagrangian.begin(codes), steps, **rates)
        return nearest(generator(last.best, training=False), images)

    return search


register(
    Method(
        "latent",
        latent,
        "latent, {restarts} restarts",
        target="search",
        arguments={"restarts": 3, "reprojections": 2},
    )
)
