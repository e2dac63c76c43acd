"""Checks of arguments. Each failure is one sentence: the value, and what would be right."""

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from inc_tf.data import Bounds
from inc_tf.errors import InputError

_NOT_FINITE = "Images contain NaN or infinity; every value must be finite."
_SMALL_PART = 1 / 255  # of the bounds' width, which images in [0, 1] have of [0, 255]


class ChecksImages:
    """Makes a Keras layer check its seed, and its images against its `image_shape` [H, W, C] and `bounds`.

    A layer without an `image_shape` takes images of any size. The checks run before Keras's own `__call__`, which would
    bury the sentence in a report on the call's arguments.
    """

    image_shape: Sequence[int | None]
    bounds: Bounds | None = None

    def __call__(self, images, *args, **kwargs):
        shape = getattr(self, "image_shape", (None, None, None))
        if isinstance(images, keras.KerasTensor):  # where a model is put together, which has no values yet
            check_form(tf.TensorSpec(images.shape, images.dtype), shape, self.bounds)
        else:
            images = as_images(images)
            check_images(images, shape, self.bounds)
            _check_seeds(as_seed(kwargs.get("seed")), images)
        return super().__call__(images, *args, **kwargs)  # type: ignore[misc]


def as_images(images) -> tf.Tensor:
    """The argument as a tensor, float64 as float32. Raises `InputError` for anything that is no tensor or array."""
    try:
        images = tf.convert_to_tensor(images)
    except (TypeError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(_no_tensor(images)) from error
    if images.dtype == tf.string:
        raise InputError("Images are strings; read the files they name into one array, float32 [N, H, W, C].")
    return tf.cast(images, tf.float32) if images.dtype == tf.float64 else images


def _no_tensor(images) -> str:
    """The message about images that cannot become a tensor."""
    if isinstance(images, tf.data.Dataset | Iterator):
        return f"Images are a {kind_of(images)}; give it to predict, or one batch of it."
    mended = ""
    if isinstance(images, dict) and images:
        mended = f": images[{next(iter(images))!r}], say"
    elif isinstance(images, tuple) and len(images) == 2:
        mended = ": images[0], where the second is labels"
    elif isinstance(images, np.ndarray):
        mended = ", as np.array(images.tolist(), np.float32) is where all have one shape"
    return (
        f"Images are a {kind_of(images)} of which no tensor can be made; they must be one array, "
        f"float32 [N, H, W, C]{mended}."
    )


def kind_of(value) -> str:
    """A value's library and class, in words."""
    if isinstance(value, tf.data.Dataset):
        return "tf.data.Dataset"
    return f"{type(value).__module__.split('.')[0]} {type(value).__name__}".removeprefix("builtins ")


def as_seed(seed) -> tf.Tensor:
    """A seed, or one for each image, as int32; None is 0. Raises `InputError` for anything but integers."""
    if tf.is_tensor(seed) and not hasattr(seed, "numpy"):  # inside a graph
        return tf.cast(seed, tf.int32)
    values = np.asarray(0 if seed is None else seed)
    if values.ndim > 1 or values.dtype.kind not in "iu" or np.any((values < -(2**31)) | (values >= 2**31)):
        raise InputError(
            f"The seed is {seed!r}; it must be a whole number from -2^31 to 2^31 - 1, or one for each image."
        )
    return tf.constant(values, tf.int32)


def check_scale(images: tf.Tensor, bounds: Bounds) -> None:
    """Refuse NaN, infinity and values outside `bounds` by over a thousandth of their width, as attacks' may be."""
    if not tf.executing_eagerly() or not len(images):
        return
    low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(_NOT_FINITE)
    slack = 1e-3 * (bounds[1] - bounds[0])
    if low < bounds[0] - slack or high > bounds[1] + slack:
        raise InputError(
            f"Images have values from {low:g} to {high:g}; they must lie in [{bounds[0]:g}, {bounds[1]:g}]."
        )


def _check_seeds(seed: tf.Tensor, images: tf.Tensor) -> None:
    n = images.shape[0]
    if seed.shape.rank == 1 and None not in (n, seed.shape[0]) and seed.shape[0] != n:
        raise InputError(f"There are {seed.shape[0]} seeds and {n} images; give one seed, or one for each image.")


def check_bounds(bounds) -> Bounds:
    """The bounds as two floats. Raises `InputError` if they are not (lowest, highest) value of a pixel."""
    try:
        low, high = (math.nan if isinstance(end, str | bool) else float(end) for end in bounds)
    except (TypeError, ValueError, OverflowError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"The bounds are {bounds}; they must be (lowest, highest) value of a pixel.")
    return low, high


def check_count(**values: int) -> None:
    """Refuse numbers of steps, restarts and the like that are not whole, below 1, or too large for int32."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{name} is {value!r}; it must be a whole number, at least 1.")
        if value >= 2**31:
            raise InputError(f"{name} is {value!r}; it must be below 2^31.")


def check_above_zero(**values: float) -> None:
    """Refuse rates, spreads and the like that are not finite and above 0."""
    for name, value in values.items():
        if not (_is_finite(value) and value > 0):
            raise InputError(f"{name} is {value!r}; it must be a finite number above 0.")


def check_share(**values: float) -> None:
    """Refuse tolerances, momenta and the like that are below 0, above 1 or NaN."""
    for name, value in values.items():
        if not (_is_finite(value) and 0 <= value <= 1):
            raise InputError(f"{name} is {value!r}; it must be between 0 and 1.")


def as_rejection_rate(value: float) -> float:
    """The share of clean images that may be rejected; refused if it is not in [0, 1)."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        rate = math.nan
    if not 0 <= rate < 1:
        raise InputError(f"The false-rejection rate is {value}; it must be in [0, 1).")
    return rate


def _is_finite(value) -> bool:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return number and math.isfinite(value)


def check_images(images: tf.Tensor, shape: Sequence[int | None], bounds: Bounds | None = None) -> None:
    """Refuse images that a model of input `shape` [H, W, C] cannot take, or that lie outside `bounds`.

    Raises `InputError` if they are not float [N, H, W, C] of that size, N ≥ 1, or contain NaN, infinity or values
    outside the bounds. A graph can check values only as it runs: there they raise `tf.errors.InvalidArgumentError` with
    the same sentence, which `sentences_of_graphs` turns into an `InputError`.
    """
    check_form(images, shape, bounds)
    _check_values(images, bounds)


@contextmanager
def sentences_of_graphs() -> Iterator[None]:
    """Turns what a graph raises, from `check_images` or for a label that is no class, into an `InputError`."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if found := re.search(
            r"label value of (-?\d+) which is outside the valid range of \[0, (\d+)\)", error.message
        ):
            raise InputError(
                f"The labels contain {found[1]}; the classifier has classes 0 to {int(found[2]) - 1}."
            ) from error
        if said := re.search(r"Images (contain NaN or infinity|have values outside \[[^]]*\])[^.\]]*\.", error.message):
            raise InputError(said[0]) from error
        raise


def check_form(images: tf.Tensor | tf.TensorSpec, shape: Sequence[int | None], bounds: Bounds | None) -> None:
    """The part of `check_images` that needs only shape and type."""
    wanted = "[N, " + ", ".join("any" if size is None else str(size) for size in shape) + "]"
    if images.shape.rank != 4:
        mended = _reshaped(images.shape, shape)
        raise InputError(f"Images have shape {_shape(images)}; they must be {wanted}, a batch of them{mended}.")
    if shape[2] is not None and images.shape[3] != shape[2]:
        mended = _reshaped(images.shape, shape)
        raise InputError(
            f"Images have {images.shape[3]} channels (shape {_shape(images)}); they must have {shape[2]}{mended}."
        )
    if any(size is not None and size != found for size, found in zip(shape, images.shape[1:], strict=True)):
        raise InputError(f"Images have shape {_shape(images)}; they must be {wanted}.")
    if images.shape[0] == 0:
        raise InputError("The batch of images is empty; it must hold at least one.")
    if not images.dtype.is_floating:
        scale = "" if bounds is None else f", scaled to [{bounds[0]:g}, {bounds[1]:g}]"
        raise InputError(f"Images are {images.dtype.name}; they must be float32{scale}.")


def _check_values(images: tf.Tensor, bounds: Bounds | None) -> None:
    if not tf.executing_eagerly():
        tf.debugging.assert_all_finite(images, _NOT_FINITE)
        if bounds is not None:
            outside = f"Images have values outside [{bounds[0]:g}, {bounds[1]:g}]."
            tf.debugging.assert_greater_equal(images, tf.cast(bounds[0], images.dtype), outside)
            tf.debugging.assert_less_equal(images, tf.cast(bounds[1], images.dtype), outside)
        return
    low, high = float(tf.reduce_min(images)), float(tf.reduce_max(images))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(_NOT_FINITE)
    if bounds is not None and (low < bounds[0] or high > bounds[1]):
        raise InputError(
            f"Images have values from {low:g} to {high:g}; they must lie in [{bounds[0]:g}, {bounds[1]:g}]."
        )
    if bounds is not None and 0 < high - low <= _SMALL_PART * (bounds[1] - bounds[0]):
        warnings.warn(
            f"The images' values lie between {low:.3g} and {high:.3g}, a small part of the bounds "
            f"[{bounds[0]:g}, {bounds[1]:g}]; are they of another range?",
            stacklevel=4,
        )


def _shape(images: tf.Tensor | tf.TensorSpec) -> list[int | None] | str:
    return "unknown" if images.shape.rank is None else images.shape.as_list()


def _reshaped(found: tf.TensorShape, shape: Sequence[int | None]) -> str:
    """The NumPy expression that gives the images `shape`, [H, W, C], after a colon; empty if none does."""
    if found.rank == 3 and tuple(found) == tuple(shape):
        return ": images[None]"
    if found.rank == 3 and shape[2] == 1 and tuple(found[1:]) == tuple(shape[:2]):
        return ": images[..., None]"
    if found.rank == 4 and tuple(found[1:]) == (shape[2], *shape[:2]):
        return ": np.transpose(images, (0, 2, 3, 1))"
    if found.rank == 2 and None not in shape and found[1] == math.prod(shape):  # type: ignore[arg-type]
        return f": np.reshape(images, {(-1, *shape)})"
    return ""
