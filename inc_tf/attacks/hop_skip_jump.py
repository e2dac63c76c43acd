"""An attack that sees only the predicted class: Foolbox's HopSkipJump (Chen et al., 2020) along the boundary."""

import hashlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import Classifier, check_answers, check_epsilon, check_norm, check_positive, on_any_model
from inc_tf.attacks.methods import Method, register
from inc_tf.attacks.toolboxes import device
from inc_tf.data import Bounds
from inc_tf.data.scaling import from_unit, to_unit
from inc_tf.errors import InputError
from inc_tf.rows import select
from inc_tf.seeds import derive


@on_any_model
def boundary(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    norm: float = np.inf,
    steps: int = 10,
    probes: int = 100,
) -> tf.Tensor:
    """Walk along the decision boundary towards the image, from an image of the batch that is classified differently.

    Args:
      classifier: from images to logits, of which only the class is used.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: seed of the probes; None is 0. Foolbox draws them from TensorFlow's global generator, whose seed this attack
        sets.
      epsilon: ε, the largest change of a pixel, or of the image in ℓ2, in the images' own units.
      norm: the ball's norm, np.inf or 2.
      steps: steps along the boundary.
      probes: probes of the boundary's direction at the first step; their number grows with the square root of the
        step's.

    Returns: float32 [N, H, W, C]; the clean image if the walk ends outside the ball, or if no other image of the batch
    can start it. Raises `InputError` if Foolbox is not installed, and for arguments that `check_answers` or
    `check_epsilon` refuses.
    """
    try:
        from foolbox import TensorFlowModel
        from foolbox.attacks import HopSkipJumpAttack
    except ModuleNotFoundError as error:
        raise InputError(f"This attack needs {error.name!r}: pip install 'inc-tf[attacks]'.") from error

    inputs = check_answers(classifier, images, labels, bounds)
    check_norm(norm)
    check_epsilon(epsilon, bounds, norm, inputs.images.shape)
    check_positive(steps=steps, probes=probes)
    model = TensorFlowModel(remembered(classifier), bounds=bounds, device=device()).transform_bounds((0, 1))
    walk = HopSkipJumpAttack(
        steps=steps, initial_gradient_eval_steps=probes, constraint="linf" if norm == np.inf else "l2"
    )
    tf.random.set_seed(derive(0 if seed is None else seed, "boundary"))

    def attack(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        # Foolbox's walk clips to [0, 1], and is to find each answer that is relied on here as it was.
        unit = tf.clip_by_value(to_unit(images, bounds), 0.0, 1.0)
        answers = tf.argmax(model(unit), axis=1)
        starts = _starts(images, answers, labels)
        rows = tf.where((answers == labels) & (starts >= 0))[:, 0]
        if not len(rows):
            return images
        origins = tf.gather(images, rows)
        first = tf.gather(unit, tf.gather(starts, rows))
        found = walk.run(model, tf.gather(unit, rows), tf.gather(labels, rows), starting_points=first)
        change = tf.clip_by_value(from_unit(found, bounds), *bounds) - origins
        lengths = tf.norm(tf.reshape(change, [len(rows), -1]), ord=norm, axis=1)
        kept = select(lengths <= epsilon, change, tf.zeros_like(change))
        return tf.tensor_scatter_nd_update(images, rows[:, tf.newaxis], origins + kept)

    return in_batches(attack, *inputs)


def remembered(classifier) -> Callable[[tf.Tensor], tf.Tensor]:
    """The classifier, asked once for each image and believed from then on.

    A search's answer for an image between two minima can change with the rounding of its batch, and Foolbox gives up if
    a point that was adversarial no longer is.
    """
    known: dict[bytes, np.ndarray] = {}

    def classify(images: tf.Tensor) -> tf.Tensor:
        keys = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images.numpy()]
        new = {key: row for row, key in enumerate(keys) if key not in known}
        if new:
            known.update(zip(new, classifier(tf.gather(images, list(new.values()))).numpy(), strict=True))
        return tf.constant(np.stack([known[key] for key in keys]))

    return classify


def _starts(images: tf.Tensor, answers: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """For each image, the row of the closest one whose class is not this image's label; -1 if there is none."""
    flat = tf.reshape(images, [len(images), -1])
    squares = tf.reduce_sum(tf.square(flat), axis=1)
    distances = squares[:, tf.newaxis] + squares - 2 * tf.matmul(flat, flat, transpose_b=True)
    other = labels[:, tf.newaxis] != answers
    nearest = tf.argmin(tf.where(other, distances, distances.dtype.max), axis=1)
    return tf.where(tf.reduce_any(other, axis=1), nearest, -1)


register(
    Method(
        "boundary",
        boundary,
        "HopSkipJump, {steps} steps",
        target="defense",
        arguments={"steps": 5, "probes": 50},
        gradient=False,
        least_change=True,
    )
)
