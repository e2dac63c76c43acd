"""Checks that every attack makes first. Each failure is one sentence: the value, and what would be right."""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, NamedTuple, get_args

import keras
import numpy as np
import tensorflow as tf

from inc_tf.checks import as_images, as_seed, check_bounds, check_form, check_images, check_scale
from inc_tf.data import Bounds
from inc_tf.errors import InputError
from inc_tf.fit import check_logits, fitted_classifier

Classifier = Callable[[tf.Tensor], tf.Tensor]

_TRIED_IMAGES = 2


class Inputs(NamedTuple):
    """Images and labels that passed `check_inputs`: float32 [N, H, W, C] and int64 [N]."""

    images: tf.Tensor
    labels: tf.Tensor


def on_any_model(attack: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Makes an attack accept any classifier that `inc_tf.fit` can adapt, and bounds and ε given as integers.

    Checks the other settings by their annotations: an `int` must be a whole number, a `float` a number.
    """
    declared = inspect.get_annotations(attack)

    @functools.wraps(attack)
    def attacked(classifier, images, labels, *, bounds, **settings):
        images = as_images(images)
        if "epsilon" in settings:
            settings["epsilon"] = check_number(epsilon=settings["epsilon"])
        for name, value in settings.items():
            kinds = get_args(declared.get(name)) or (declared.get(name),)
            if value is None and NoneType in kinds:
                continue
            if int in kinds:
                _check_whole(name, value)
            elif float in kinds:
                check_number(**{name: value})
        return attack(as_classifier(classifier, images), images, labels, bounds=check_bounds(bounds), **settings)

    return attacked


def _check_whole(name: str, value: Any) -> None:
    try:
        if isinstance(value, bool):
            raise TypeError(value)
        operator.index(value)
    except TypeError as error:
        raise InputError(f"{name} is {value!r}; it must be a whole number.") from error


def as_classifier(classifier: Any, images: tf.Tensor) -> Classifier:
    """`classifier` as a function or model from `images`, [N, H, W, C], to logits, float32 [N, classes].

    Raises `InputError` for a whole defence, for what cannot be called, and for what `fitted_classifier` refuses.
    """
    if hasattr(classifier, "projector"):
        raise InputError(
            "The classifier is a whole defence: attack defense.classifier, or a stand-in of "
            "inc.attacks.differentiable, or without a gradient lambda x: defense(x).logits."
        )
    own = isinstance(classifier, keras.Layer) and not hasattr(classifier, "stand_in")  # `Logits` is one of a defence
    if own:  # images of another rank are refused later
        return (
            fitted_classifier(classifier, images.shape[1:], "The images are") if images.shape.rank == 4 else classifier
        )
    if not callable(classifier) or isinstance(classifier, type):
        raise InputError(f"The classifier is a {type(classifier).__name__}; it must be a keras.Model or a function.")
    return functools.partial(_logits, classifier)


def _logits(classifier: Classifier, images: tf.Tensor) -> tf.Tensor:
    found = classifier(images)
    objects = isinstance(found, np.ndarray) and found.dtype.kind not in "biuf"
    if found is None or objects or isinstance(found, tuple | list | dict | str):
        kind = f"array of {found.dtype}" if objects else type(found).__name__
        raise InputError(
            f"The classifier returns a {kind}, where logits are needed, one tensor [N, classes]; of a "
            "defence take lambda x: defense(x).logits."
        )
    return tf.cast(found, tf.float32)


def on_a_defense(*parts: str) -> Callable:
    """Makes a function from a defence to a stand-in check the defence, as `check_whole` does, and take any images."""

    def decorate(make: Callable[..., Classifier]) -> Callable[..., Classifier]:
        @functools.wraps(make)
        def made(defense, **settings):
            check_whole(defense, *parts)
            if "seeds" in settings:
                settings["seeds"] = _as_seeds(settings["seeds"])
            classify = make(defense, **settings)

            def stand_in(images) -> tf.Tensor:
                images = as_images(images)
                if images.shape.rank is not None and images.shape[0] != 0:
                    images = images_of(defense, images)
                return classify(tf.cast(images, tf.float32))

            return stand_in

        made.makes_stand_in = True  # type: ignore[attr-defined]
        return made

    return decorate


def images_of(defense: Any, images) -> tf.Tensor:
    """What an attack shows a defence, as float32 [N, H, W, C]; rounding may have left the bounds by little.

    Raises `InputError` for images of another form or range.
    """
    images = as_images(images)
    check_form(images, defense.image_shape, defense.bounds)
    check_scale(images, defense.bounds)
    return tf.cast(images, tf.float32)


def _as_seeds(seeds: Any) -> tuple[int, ...]:
    values = as_seed(seeds).numpy()
    if not values.size or not values.ndim:
        raise InputError(f"seeds is {seeds!r}; it must be whole numbers, one for each draw, (0, 1, 2) say.")
    return tuple(int(seed) for seed in values)


def check_whole(defense: Any, *parts: str) -> None:
    """Refuse what is not a classifier behind a projector with these parts, `"generator"` say. Raises `InputError`."""
    if not (hasattr(defense, "projector") and hasattr(defense, "classifier")):
        raise InputError(
            f"The defence is a {type(defense).__name__}; it must be an inc.InvertAndClassify(classifier, projector)."
        )
    for part in parts:
        if not hasattr(defense.projector, part):
            raise InputError(
                f"The defence's projector, a {type(defense.projector).__name__}, has no {part}; this needs one that "
                "has, and straight_through takes any."
            )


def check_number(**values: float) -> float:
    """The only argument as a float. Raises `InputError` if it is not a number."""
    ((name, value),) = values.items()
    try:
        if isinstance(value, str | bool):
            raise TypeError(value)
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} is {value!r}; it must be a number.") from error


def check_inputs(classifier: Classifier, images, labels, bounds: Bounds) -> Inputs:
    """Check the input of an attack that follows gradients; returns images and labels as tensors.

    Raises `InputError` as `check_answers` does, and for a classifier without a gradient.
    """
    return check_answers(classifier, images, labels, bounds, gradient=True)


def check_answers(classifier: Classifier, images, labels, bounds: Bounds, *, gradient: bool = False) -> Inputs:
    """Check the input of any attack; returns images and labels as tensors.

    Calls the classifier on two images. Raises `InputError` for bounds that are not (lowest, highest); for images that
    are not float [N, H, W, C], finite and within the bounds; for labels that are not integers, not [N] or out of range;
    and for a classifier that does not return logits [N, classes], most often probabilities, or that has no gradient
    although `gradient` is set.
    """
    bounds = check_bounds(bounds)
    images = as_images(images)
    shape = getattr(classifier, "input_shape", images.shape)[1:]
    check_images(images, shape, bounds)
    images = tf.cast(images, tf.float32)
    classes = check_classifier(classifier, images[:_TRIED_IMAGES], gradient=gradient)
    return Inputs(images, check_labels(labels, len(images), classes))


def check_labels(labels, n: int, classes: int, what: str = "labels") -> tf.Tensor:
    """`labels` as int64 [n], each in [0, classes). Raises `InputError` for any others."""
    try:
        labels = np.asarray(labels)
    except ValueError as error:
        raise InputError(f"No array can be made of the {what}; they must be integers, [{n}].") from error
    if labels.shape != (n,):
        mended = {(n, 1): ", labels[:, 0]", (n, classes): ", labels.argmax(axis=1)"}.get(labels.shape, "")
        raise InputError(f"The {what} have shape {list(labels.shape)}; they must be [{n}], one for each image{mended}.")
    if not np.issubdtype(labels.dtype, np.integer):
        given = "strings" if labels.dtype.kind in "US" else labels.dtype.name
        raise InputError(f"The {what} are {given}; they must be integers, labels.astype(int).")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise InputError(f"The {what} contain {wrong[0]}; the classifier has classes 0 to {classes - 1}.")
    return tf.constant(labels, tf.int64)


def check_targets(classifier: Classifier, inputs: Inputs, targets) -> tf.Tensor | None:
    """`targets` as int64 [N], or None. Raises `InputError` as for labels, and if a target is the image's own label."""
    if targets is None:
        return None
    classes = classifier(inputs.images[:1]).shape[1]
    targets = check_labels(targets, len(inputs.images), classes, "targets")
    if tf.reduce_any(targets == inputs.labels):
        raise InputError("Some targets are the images' own labels; a target must be another class.")
    return targets


def check_epsilon(epsilon: float, bounds: Bounds, norm: float = np.inf, shape: Sequence[int] = ()) -> None:
    """Refuse an ε that is negative or above the bounds' width, the largest distance between two images.

    In ℓ2 the width is that of images of `shape`, [N, H, W, C].
    """
    width = (bounds[1] - bounds[0]) * (1.0 if norm == np.inf else math.prod(shape[1:]) ** 0.5)
    if not 0 <= epsilon <= width:
        raise InputError(f"epsilon is {epsilon:g}; it must be between 0 and the bounds' width, {width:g}.")


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
    """Refuse a margin κ below 0, which would count failures as successes."""
    if not confidence >= 0:
        raise InputError(f"confidence is {confidence}; it must be at least 0.")


def check_classifier(classifier: Classifier, images: tf.Tensor, *, gradient: bool) -> int:
    """Call the classifier on a few images, float32 [n, H, W, C]; returns the number of classes.

    Raises `InputError` if it does not return logits [n, classes], or has no gradient although `gradient` is set.
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
    check_logits(logits)
    if gradient and tape.gradient(logits, images) is None:
        raise InputError(
            "The classifier is not differentiable: no gradient reaches the image for an attack to follow; "
            "attack a differentiable stand-in instead, of inc.attacks.differentiable."
        )
    return int(logits.shape[1])


def has_gradient(defense: keras.Model, images) -> bool:
    """Whether the logits of a whole defence have a gradient with respect to the images, float32 [N, H, W, C]."""
    images = tf.convert_to_tensor(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        found = defense(images)
        logits = getattr(found, "logits", found)
    return tape.gradient(logits, images) is not None
