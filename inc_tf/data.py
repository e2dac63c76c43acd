"""Data sets as arrays: TFDS in, the paper's preprocessing, images and labels out.

MNIST comes through `tfds.load("mnist")`; the digits that scikit-learn bundles stand in where MNIST
cannot be had. What is done with the arrays is the caller's affair.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from inc_tf.errors import InputError

Bounds = tuple[float, float]

SPLITS = ("train", "validation", "test")
DIGITS_NOTICE = "scikit-learn's bundled digits (8×8, resized to 28×28, split by a fixed seed) stand in for MNIST."

# TensorFlow's input_data, on which both reference networks were trained, keeps the last 5,000 training images back.
_MNIST_SLICES = {"train": "train[:55000]", "validation": "train[55000:]", "test": "test"}
_MNIST_SOURCE = "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz"
_DIGITS_SIZES = {"train": 1197, "validation": 200, "test": 400}
_DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Attributes:
      name: `"mnist"` or `"digits"`.
      split: `"train"`, `"validation"` or `"test"`.
      images: float32 [N, H, W, C] within `bounds`.
      labels: int64 [N].
      bounds: (lowest, highest) value that a pixel may take; every attack clips to it.
      start: where in the split the images begin.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    bounds: Bounds
    start: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def take(self, n: int) -> "Dataset":
        """The first `n` images; raises `InputError` where there are not as many."""
        if not 1 <= n <= len(self):
            raise InputError(f"{n} images were asked for; {self.name}'s {self.split} split has 1 to {len(self)}.")
        return replace(self, images=self.images[:n], labels=self.labels[:n])

    def shards(self, size: int) -> Iterator["Dataset"]:
        """The images in runs of `size`, in order; the last one may be shorter."""
        for i in range(0, len(self), size):
            part = slice(i, i + size)
            yield replace(self, images=self.images[part], labels=self.labels[part], start=self.start + i)

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """A `tf.data.Dataset` of (images, labels), in order, for `evaluate` and `predict`."""
        return tf.data.Dataset.from_tensor_slices((self.images, self.labels)).batch(batch_size)


def load(name: str, split: str = "test") -> Dataset:
    """Load one split of `"mnist"` or `"digits"`; images in [0, 1].

    MNIST is read from `TFDS_DATA_DIR` (or TFDS's own default folder) and downloaded to it where it is missing.
    Raises `InputError` for an unknown name or split, or where MNIST is neither there nor to be had.
    """
    if name not in _LOADERS:
        raise InputError(f"There is no data set {name!r}; there are {', '.join(_LOADERS)}.")
    if split not in SPLITS:
        raise InputError(f"There is no split {split!r}; there are {', '.join(SPLITS)}.")
    images, labels = _LOADERS[name](split)
    return Dataset(name, split, images, labels.astype(np.int64), bounds=(0.0, 1.0))


def mnist_or_digits() -> str:
    """`"mnist"` where it is on disk or can be downloaded, else `"digits"`; decided in under five seconds.

    Raises `InputError` where `TFDS_DATA_DIR` is set but has no MNIST and there is no network, since that is a mistake
    rather than a wish for the digits.
    """
    if prepared("mnist") or _reachable(_MNIST_SOURCE):
        return "mnist"
    if "TFDS_DATA_DIR" in os.environ:
        raise InputError(_missing("mnist"))
    return "digits"


def prepared(name: str) -> bool:
    """Whether the data directory holds the TFDS data set `name`, so that nothing needs to be downloaded."""
    return any(_data_dir().glob(f"{name}/*/dataset_info.json"))


def _data_dir() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR", Path.home() / "tensorflow_datasets")).expanduser()


def _missing(name: str) -> str:
    return (
        f"The data directory {str(_data_dir())!r} has no data set {name!r} and there is no network to download it: "
        f"set TFDS_DATA_DIR to a folder that holds {name}/<version>/, as tfds.load writes it."
    )


def _reachable(url: str, seconds: float = 3.0) -> bool:
    """Whether `url`'s host answers in time. A thread bounds it, since a name look-up knows no time-out."""
    answered = threading.Event()

    def ask() -> None:
        import requests

        try:
            requests.head(url, timeout=seconds)
        except requests.RequestException:
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def _load_mnist(split: str) -> tuple[np.ndarray, np.ndarray]:
    # Asked first because TFDS by itself retries a missing network for minutes.
    if not prepared("mnist") and not _reachable(_MNIST_SOURCE):
        raise InputError(_missing("mnist"))
    import tensorflow_datasets as tfds

    images, labels = tfds.as_numpy(
        tfds.load("mnist", split=_MNIST_SLICES[split], data_dir=str(_data_dir()), batch_size=-1, as_supervised=True)
    )
    return images.astype(np.float32) / 255.0, labels


def _load_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(_DIGITS_SPLIT_SEED).permutation(len(digits.images))
    start = sum(_DIGITS_SIZES[s] for s in SPLITS[: SPLITS.index(split)])
    rows = order[start : start + _DIGITS_SIZES[split]]
    small = digits.images[rows, ..., np.newaxis].astype(np.float32) / 16.0
    # Interpolation may overshoot by a rounding error.
    return np.clip(tf.image.resize(small, (28, 28)).numpy(), 0.0, 1.0), digits.target[rows]


_LOADERS = {"mnist": _load_mnist, "digits": _load_digits}
