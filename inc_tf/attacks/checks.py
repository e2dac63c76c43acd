"""What every attack asks of its input before any work: one sentence that names the value and what would be right."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from inc_tf.checks import check_images
from inc_tf.data import Bounds
from inc_tf.errors import InputError

Classifier = Callable[[tf.Tensor], tf.Tensor]

_TRIED_IMAGES = 2


class Inputs(NamedTuple):
    """Images and labels that passed `check_inputs`: float32 [N, H, W, C] and int64 [N]."""

    images: tf.Tensor
    labels: tf.Tensor


def check_inputs(classifier: Classifier, images, labels, bounds: Bounds) -> Inputs:
    """Refuse what no attack by gradients can work with; answer the images and labels as tensors.

    Raises `InputError` for what `check_answers` refuses, and for a classifier that has no gradient.
    """
    return check_answers(classifier, images, labels, bounds, gradient=True)


def check_answers(classifier: Classifier, images, labels, bounds: Bounds, *, gradient: bool = False) -> Inputs:
    """Refuse what no attack can work with; answer the images and labels as tensors.

    Raises `InputError`: bounds that are not (lowest, highest); images that are not float [N, H, W, C], finite and
    within the bounds; labels that are not integers, of another length or out of range; a classifier that returns
    something other than logits [N, classes], probabilities above all, or has no gradient where one is asked for. Calls
    the classifier on two images.
    """
    if not (len(bounds) == 2 and bounds[0] < bounds[1]):
        raise InputError(f"The bounds are {bounds}; they must be (lowest, highest) value of a pixel.")
    images = tf.convert_to_tensor(images)
    shape = getattr(classifier, "input_shape", images.shape)[1:]
    check_images(images, shape, bounds)
    images = tf.cast(images, tf.float32)
    classes = check_classifier(classifier, images[:_TRIED_IMAGES], gradient=gradient)
    return Inputs(images, check_labels(labels, len(images), classes))


def check_labels(labels, n: int, classes: int, what: str = "labels") -> tf.Tensor:
    """`labels` as int64 [n], each in [0, classes); raises `InputError` for others."""
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise InputError(f"The {what} have shape {list(labels.shape)}; they must be [{n}], one for each image.")
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"The {what} are {labels.dtype.name}; they must be integers.")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise InputError(f"The {what} contain {wrong[0]}; the classifier has classes 0 to {classes - 1}.")
    return tf.constant(labels, tf.int64)


def check_targets(classifier: Classifier, inputs: Inputs, targets) -> tf.Tensor | None:
    """`targets` as int64 [N], or None for none; raises `InputError` as labels do, or where a target is the label."""
    if targets is None:
        return None
    classes = classifier(inputs.images[:1]).shape[1]
    targets = check_labels(targets, len(inputs.images), classes, "targets")
    if tf.reduce_any(targets == inputs.labels):
        raise InputError("Some targets are the images' own labels; a target must be another class.")
    return targets


def check_epsilon(epsilon: float, bounds: Bounds, norm: float = np.inf, shape: Sequence[int] = ()) -> None:
    """Refuse an ε that is negative, or beyond the width of the bounds, which no two images exceed.

    In ℓ2 the width is that of images of `shape`, [N, H, W, C].
    """
    width = (bounds[1] - bounds[0]) * (1.0 if norm == np.inf else math.prod(shape[1:]) ** 0.5)
    if not 0 <= epsilon <= width:
        raise InputError(f"epsilon is {epsilon}; it must be between 0 and the bounds' width, {width:g}.")


def check_norm(norm: float) -> None:
    """Refuse a ball that is neither ℓ∞ nor ℓ2."""
    if norm not in (np.inf, 2):
        raise InputError(f"norm is {norm}; it must be infinity or 2.")


def check_positive(**values: float) -> None:
    """Refuse numbers of steps, step sizes and the like that are not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{name} is {value}; it must be above 0.")


def check_confidence(confidence: float) -> None:
    """Refuse a margin κ below 0, with which a failure would count as success."""
    if not confidence >= 0:
        raise InputError(f"confidence is {confidence}; it must be at least 0.")


def check_classifier(classifier: Classifier, images: tf.Tensor, *, gradient: bool) -> int:
    """The number of classes, once the classifier has been tried on a few images, float32 [n, H, W, C].

    Raises `InputError` where it returns something other than logits [n, classes], or has no `gradient` where one is
    asked for.
    """
    with tf.GradientTape(watch_accessed_variables=gradient) as tape:
        if gradient:
            tape.watch(images)
        logits = tf.convert_to_tensor(classifier(images))
    if logits.shape.rank != 2 or logits.shape[0] != len(images) or logits.shape[1] < 2:
        raise InputError(
            f"The classifier maps images {images.shape.as_list()} to {logits.shape.as_list()}; "
            f"it must map them to logits, [{len(images)}, classes]."
        )
    values = logits.numpy()
    if (values >= 0).all() and np.allclose(values.sum(axis=1), 1.0, atol=1e-4):
        raise InputError("The classifier returns probabilities, where attacks need logits: leave its softmax out.")
    if gradient and tape.gradient(logits, images) is None:
        raise InputError(
            "The classifier is not differentiable: no gradient reaches the image for an attack to follow; "
            "attack a differentiable stand-in instead, of inc.attacks.differentiable."
        )
    return int(logits.shape[1])
