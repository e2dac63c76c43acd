"""Data sets as arrays: TFDS in, the paper's preprocessing, images and labels out.

MNIST comes through `tfds.load("mnist")`, CelebA through `tfds.load("celeb_a")` or as the folder that its authors hand
out; the digits that scikit-learn bundles stand in where MNIST cannot be had. What is done with the arrays is the
caller's affair.
"""

import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf.errors import InputError

Bounds = tuple[float, float]

SPLITS = ("train", "validation", "test")
DIGITS_NOTICE = "scikit-learn's bundled digits (8×8, resized to 28×28, split by a fixed seed) stand in for MNIST."

# TensorFlow's input_data, on which both reference networks were trained, keeps the last 5,000 training images back.
_MNIST_SLICES = {"train": "train[:55000]", "validation": "train[55000:]", "test": "test"}
_MNIST_SOURCE = "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz"
_CELEBA_SOURCE = "https://drive.google.com"
_CELEBA_SHAPE = (218, 178, 3)
_CELEBA_CROP = (50, 25, 128, 128)  # top, left, height, width
_CELEBA_SIZE = 64
_CELEBA_TRAIN = 160_000
# Where the authors' `list_eval_partition.txt` cuts the numbered files.
_CELEBA_NUMBERS = {"train": (1, 162_770), "validation": (162_771, 182_637), "test": (182_638, 202_599)}
_BOUNDS = {"celeb_a": (-1.0, 1.0)}
_DIGITS_SIZES = {"train": 1197, "validation": 200, "test": 400}
_DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Attributes:
      name: `"mnist"`, `"celeb_a"` or `"digits"`.
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
    """Load one split of `"mnist"` or `"digits"`, images in [0, 1], or of `"celeb_a"`, in [−1, 1], labels 1 for male.

    MNIST and CelebA are read from `TFDS_DATA_DIR` (or TFDS's own default folder) and downloaded to it where they are
    missing. CelebA may also lie there as its authors' folder `img_align_celeba` beside `list_attr_celeba.txt`; of its
    training split the first 160,000 images are taken, as BEGAN's code does, and all splits are held in memory, 48 KiB
    an image. Raises `InputError` for an unknown name or split, or where the data is not there and not to be had, or
    not whole.
    """
    if name not in _LOADERS:
        raise InputError(f"There is no data set {name!r}; there are {', '.join(_LOADERS)}.")
    if split not in SPLITS:
        raise InputError(f"There is no split {split!r}; there are {', '.join(SPLITS)}.")
    images, labels = _LOADERS[name](split)
    return Dataset(name, split, images, labels.astype(np.int64), _BOUNDS.get(name, (0.0, 1.0)))


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


def _load_celeba(split: str) -> tuple[np.ndarray, np.ndarray]:
    folder = _data_dir() / "img_align_celeba"
    if not prepared("celeb_a") and folder.is_dir():
        encoded, n = _celeba_folder(folder, split)
    else:
        encoded, n = _celeba_tfds(split)
    pixels = encoded.map(_celeba_pixels, num_parallel_calls=tf.data.AUTOTUNE).batch(256).prefetch(2)
    images = np.empty((n, _CELEBA_SIZE, _CELEBA_SIZE, 3), np.float32)
    labels = np.empty(n, np.int64)
    done = 0
    with tqdm(total=n, desc=f"celeb_a {split}", unit="image", delay=2, leave=False) as bar:
        try:
            for part, classes in pixels.as_numpy_iterator():
                images[done : done + len(part)], labels[done : done + len(part)] = part, classes
                done += len(part)
                bar.update(len(part))
        except tf.errors.OpError as error:
            raise InputError(
                f"celeb_a in {str(_data_dir())!r} cannot be read after image {done} of {n} of {split!r} "
                f"({_reason(error)}): its files are incomplete or damaged. {_CELEBA_REMEDY}"
            ) from error
    if done != n:
        raise InputError(f"celeb_a in {str(_data_dir())!r} holds {done} of {n} images of {split!r}. {_CELEBA_REMEDY}")
    return images, labels


_CELEBA_REMEDY = (
    "Its public download often fails on its host's quota: get img_align_celeba.zip and list_attr_celeba.txt from "
    "CelebA's own page and put the unpacked folder img_align_celeba/ and the list into the folder that TFDS_DATA_DIR "
    "names."
)


def _celeba_tfds(split: str) -> tuple[tf.data.Dataset, int]:
    if not prepared("celeb_a") and not _reachable(_CELEBA_SOURCE):
        raise InputError(f"{_missing('celeb_a')} {_CELEBA_REMEDY}")
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder("celeb_a", data_dir=str(_data_dir()))
        builder.download_and_prepare()
        n = builder.info.splits[split].num_examples
        data = builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})
    except Exception as error:  # TFDS and the host fail in many ways, each of which has this remedy
        raise InputError(f"celeb_a could not be had ({str(error).splitlines()[0][:200]}). {_CELEBA_REMEDY}") from error
    if split == "train":
        n = min(n, _CELEBA_TRAIN)
        data = data.take(n)
    return data.map(lambda example: (example["image"], example["attributes"]["Male"])), n


def _celeba_folder(folder: Path, split: str) -> tuple[tf.data.Dataset, int]:
    listed = folder.parent / "list_attr_celeba.txt"
    if not listed.exists():
        raise InputError(f"{str(folder)!r} has no {listed.name} beside it, which says who is male. {_CELEBA_REMEDY}")
    lines = listed.read_text().split("\n")
    male = lines[1].split().index("Male") + 1
    first, last = _CELEBA_NUMBERS[split]
    rows = [row for row in map(str.split, lines[2:]) if row and first <= int(Path(row[0]).stem) <= last]
    rows = rows[:_CELEBA_TRAIN] if split == "train" else rows
    if not rows:
        raise InputError(f"{str(listed)!r} lists no image of {split!r}, whose numbers are {first} to {last}.")
    absent = [row[0] for row in rows if not (folder / row[0]).exists()]
    if absent:
        raise InputError(
            f"{str(folder)!r} lacks {len(absent)} of the {len(rows)} images of {split!r} that {listed.name} lists, "
            f"first {absent[0]!r}: unpack it again, or take their lines from the list."
        )
    names = tf.data.Dataset.from_tensor_slices(
        ([str(folder / row[0]) for row in rows], [row[male] == "1" for row in rows])
    )
    return names.map(lambda name, is_male: (_checked(name), is_male)), len(rows)


def _reason(error: tf.errors.OpError) -> str:
    """What went wrong, without the names of the graph's nodes."""
    said = re.sub(r"\{\{.*?\}\}\s*", "", error.message)
    return said.split("assertion failed: ")[-1].split("\n")[0].strip("[]")[:300]


def _checked(name: tf.Tensor) -> tf.Tensor:
    """The file's bytes; an error that names it where it is not an aligned CelebA image."""
    encoded = tf.io.read_file(name)
    shape = tf.io.extract_jpeg_shape(encoded)
    message = tf.strings.format("{} has shape {}; aligned CelebA has 218×178×3", (name, shape))
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(shape == _CELEBA_SHAPE), [message])]):
        return tf.identity(encoded)


def _celeba_pixels(encoded: tf.Tensor, male: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The paper's crop of an encoded image, 64×64 and in [−1, 1], and its label."""
    cropped = tf.image.decode_and_crop_jpeg(encoded, _CELEBA_CROP, channels=3)
    small = tf.image.resize(cropped, (_CELEBA_SIZE, _CELEBA_SIZE), method="bilinear")
    return small / 127.5 - 1.0, tf.cast(male, tf.int64)


_LOADERS = {"mnist": _load_mnist, "celeb_a": _load_celeba, "digits": _load_digits}
