"""Data sets, each declared in a file of its own; images in and out of memory."""

import lazy_loader

from inc_tf.data import celeba, digits, imagenet, mnist  # noqa: F401  (each declares its data set)
from inc_tf.data.source import SOURCES as SOURCES
from inc_tf.data.source import SPLITS as SPLITS
from inc_tf.data.source import Source as Source
from inc_tf.data.source import load as load
from inc_tf.data.source import register as register

__getattr__, __dir__, _lazy = lazy_loader.attach(
    __name__,
    submodules=["image_files", "tfds"],
    submod_attrs={
        "archive": ["load_archive"],
        "dataset": ["Bounds", "Dataset"],
        "imagenet": ["load_imagenet"],
        "mnist": ["mnist_or_digits"],
        "photographs": ["load_folder"],
    },
)
__all__ = sorted([*_lazy, "SOURCES", "SPLITS", "Source", "load", "register"])
