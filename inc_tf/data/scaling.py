"""Converts pixels between a data set's bounds, [0, 1], and 8 bits; takes arrays and tensors unless said otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

    from inc_tf.data.dataset import Bounds

Images = TypeVar("Images", "np.ndarray", "tf.Tensor")


def to_unit(images: Images, bounds: Bounds) -> Images:
    """Images within `bounds` as images in [0, 1]; values beyond the bounds stay beyond."""
    low, high = bounds
    return (images - low) / (high - low)


def from_unit(images: Images, bounds: Bounds) -> Images:
    """Images in [0, 1] as images within `bounds`."""
    low, high = bounds
    return low + (high - low) * images


def from_bytes(images: Images, bounds: Bounds) -> Images:
    """Images of 0 to 255, in a floating type, as images within `bounds`."""
    low, high = bounds
    return low + (high - low) * images / 255


def to_bytes(images: np.ndarray, bounds: Bounds) -> np.ndarray:
    """Images within `bounds`, clipped to them, as uint8."""
    return np.clip(np.rint(255 * to_unit(images, bounds)), 0, 255).astype(np.uint8)
