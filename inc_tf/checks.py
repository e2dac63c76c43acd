"""Checks of what callers hand in: one sentence that names the value and what would be right."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from inc_tf.data import Bounds
from inc_tf.errors import InputError


class ChecksImages:
    """Makes a Keras layer check the images that it is called on, against its `image_shape` [H, W, C] and `bounds`.

    Done before Keras's own `__call__`, which would bury the sentence in a report on the call's arguments.
    """

    image_shape: Sequence[int | None]
    bounds: Bounds | None = None

    def __call__(self, images, *args, **kwargs):
        if not isinstance(images, keras.KerasTensor):
            images = tf.convert_to_tensor(images)
            check_images(images, self.image_shape, self.bounds)
        return super().__call__(images, *args, **kwargs)  # type: ignore[misc]


def check_images(images: tf.Tensor, shape: Sequence[int | None], bounds: Bounds | None = None) -> None:
    """Refuse images that a model of input `shape` [H, W, C] cannot take, or that lie outside `bounds`.

    Raises `InputError`: not four dimensions, another height, width or channel count, integers, no image at all, NaN or
    infinity, values outside the bounds. Inside a graph, values can only be checked as it runs: there they raise
    `tf.errors.InvalidArgumentError` with the same sentence.
    """
    wanted = "[N, " + ", ".join("any" if size is None else str(size) for size in shape) + "]"
    if images.shape.rank != 4:
        raise InputError(f"Images have shape {_shape(images)}; they must be {wanted}, a batch of them.")
    if images.shape[3] != shape[2]:
        raise InputError(f"Images have {images.shape[3]} channels (shape {_shape(images)}); they must have {shape[2]}.")
    if any(size is not None and size != found for size, found in zip(shape, images.shape[1:], strict=True)):
        raise InputError(f"Images have shape {_shape(images)}; they must be {wanted}.")
    if images.shape[0] == 0:
        raise InputError("The batch of images is empty; it must hold at least one.")
    if not images.dtype.is_floating:
        scale = "" if bounds is None else f", scaled to [{bounds[0]:g}, {bounds[1]:g}]"
        raise InputError(f"Images are {images.dtype.name}; they must be float32{scale}.")
    _check_values(images, bounds)


def _check_values(images: tf.Tensor, bounds: Bounds | None) -> None:
    not_finite = "Images contain NaN or infinity; every value must be finite."
    if not tf.executing_eagerly():
        tf.debugging.assert_all_finite(images, not_finite)
        if bounds is not None:
            outside = f"Images have values outside [{bounds[0]:g}, {bounds[1]:g}]."
            tf.debugging.assert_greater_equal(images, tf.cast(bounds[0], images.dtype), outside)
            tf.debugging.assert_less_equal(images, tf.cast(bounds[1], images.dtype), outside)
        return
    low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(not_finite)
    if bounds is not None and (low < bounds[0] or high > bounds[1]):
        raise InputError(
            f"Images have values from {low:g} to {high:g}; they must lie in [{bounds[0]:g}, {bounds[1]:g}]."
        )


def _shape(images: tf.Tensor) -> list[int | None]:
    return images.shape.as_list()
