"""Data sets as arrays: TFDS in, the paper's preprocessing, images and labels out.

MNIST comes through `tfds.load("mnist")`, CelebA through `tfds.load("celeb_a")` or as the folder that its authors hand
out, ImageNet through `tfds.load("imagenet2012")` or as any folder of photographs with a list of labels; the digits
that scikit-learn bundles stand in where MNIST cannot be had. What is done with the arrays is the caller's affair.
"""

import functools
import os
import re
import threading
import zipfile
from collections.abc import Iterable, Iterator
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
_SHORTER_SIDE = 256 / 224  # to which a photograph is scaled before its middle is cut out, in sizes of the cut
_BOUNDS = {"celeb_a": (-1.0, 1.0)}
_DIGITS_SIZES = {"train": 1197, "validation": 200, "test": 400}
_DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class Dataset:
    """One split of a data set.

    Attributes:
      name: `"mnist"`, `"celeb_a"`, `"digits"`, `"imagenet2012"` or a folder's name.
      split: `"train"`, `"validation"` or `"test"`; a folder has none: `""`.
      images: float32 [N, H, W, C] within `bounds`.
      labels: int64 [N].
      bounds: (lowest, highest) value that a pixel may take; every attack clips to it.
      start: where in the split the images begin.
      skipped: the files that were left out because they are no image, by name.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    bounds: Bounds
    start: int = 0
    skipped: tuple[str, ...] = ()

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


def imagenet(split: str = "validation", n: int | None = None, size: int = 224) -> Dataset:
    """The first `n` photographs of `tfds.load("imagenet2012")`, or all of a split, as `folder` answers them.

    Held in memory, 588 KiB an image of 224×224. Raises `InputError` where the data set is not in `TFDS_DATA_DIR` (it
    cannot be downloaded without an account), or has no such split, or not as many images.
    """
    if not prepared("imagenet2012"):
        raise InputError(
            f"The data directory {str(_data_dir())!r} has no data set 'imagenet2012', which cannot be downloaded "
            "without an account: prepare it as TFDS's catalogue says, or name a folder of images."
        )
    import tensorflow_datasets as tfds

    builder = tfds.builder("imagenet2012", data_dir=str(_data_dir()))
    if split not in builder.info.splits:
        raise InputError(f"imagenet2012 has no split {split!r} here; it has {', '.join(builder.info.splits)}.")
    examples = tfds.as_numpy(builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()}))
    named = ((example["file_name"].decode(), example["image"], int(example["label"])) for example in examples)
    return _photographs("imagenet2012", split, named, n, size)


def folder(path: Path, n: int | None = None, size: int = 224) -> Dataset:
    """The first `n` photographs, or all, that `labels.txt` in a folder lists: a line each, its file name and its class.

    The shorter side is scaled to 8/7 of `size` and the middle `size`×`size` taken, RGB in [−1, 1]; grey photographs
    become RGB too. A file that is no image (JPEG, PNG, BMP, GIF) is skipped and named in the answer's `skipped`.
    Raises `InputError` where the folder, its list or a listed file is missing, a line is wrong, or there are fewer.
    """
    listed = path / "labels.txt"
    if not listed.is_file():
        raise InputError(
            f"{str(path)!r} has no labels.txt, which has a line for each image: its file name and its class."
        )
    rows = [line.rsplit(maxsplit=1) for line in listed.read_text().splitlines() if line.strip()]
    for row in rows:
        if len(row) != 2 or not row[1].isdigit():
            raise InputError(
                f"{str(listed)!r} has the line {' '.join(row)!r}; it must be a file name and a class, 0 or more."
            )
        if not (path / row[0]).is_file():
            raise InputError(f"{str(listed)!r} lists {row[0]!r}, which is not in the folder.")
    examples = ((name, (path / name).read_bytes(), int(label)) for name, label in rows)
    return _photographs(path.resolve().name, "", examples, n, size)


def archive(path: Path, bounds: Bounds = (0.0, 1.0)) -> Dataset:
    """The `images`, float [N, H, W, C] within `bounds`, and the `labels`, integers [N], of a NumPy archive, `.npz`.

    Raises `InputError` where the file or one of the two is missing, or they are not of these types. Runs no code of the
    file. Whether the values are within the bounds is for the attacks to check.
    """
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (zipfile.BadZipFile, EOFError, ValueError, AttributeError) as error:
        said = f"{str(path)!r} is no NumPy archive; np.savez(path, images=…, labels=…) writes one."
        raise InputError(said) from error
    if not {"images", "labels"} <= arrays.keys():
        raise InputError(f"{str(path)!r} holds {', '.join(arrays) or 'nothing'}; it must hold images and labels.")
    images, labels = arrays["images"], arrays["labels"]
    fitting = images.ndim == 4 and labels.shape == images.shape[:1]
    if not fitting or images.dtype.kind != "f" or labels.dtype.kind not in "iu":
        raise InputError(
            f"{str(path)!r} holds images {images.dtype.name} {list(images.shape)} and labels {labels.dtype.name} "
            f"{list(labels.shape)}; they must be float [N, H, W, C] and integers [N]."
        )
    return Dataset(path.stem, "", images.astype(np.float32), labels.astype(np.int64), bounds)


def _photographs(
    name: str, split: str, examples: Iterable[tuple[str, bytes, int]], n: int | None, size: int
) -> Dataset:
    images, labels, skipped = [], [], []
    for file_name, encoded, label in tqdm(examples, desc=name, unit="image", total=n, delay=2, leave=False):
        try:
            images.append(_photograph(encoded, size))
            labels.append(label)
        except tf.errors.InvalidArgumentError:
            skipped.append(file_name)
        if len(images) == n:
            break
    if not images or (n is not None and len(images) < n):
        raise InputError(
            f"{'All' if n is None else n} images were asked for; {name} has {len(images)}"
            + (f", and {len(skipped)} files that are no images, {skipped[0]!r} first." if skipped else ".")
        )
    return Dataset(name, split, np.stack(images), np.array(labels, np.int64), (-1.0, 1.0), skipped=tuple(skipped))


def _photograph(encoded: bytes, size: int) -> np.ndarray:
    """The middle of an encoded image, float32 [size, size, 3] in [−1, 1]."""
    decoded = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    scale = round(size * _SHORTER_SIDE) / min(decoded.shape[:2])
    scaled = [max(size, round(side * scale)) for side in decoded.shape[:2]]
    resized = tf.image.resize(decoded, scaled, method="bilinear", antialias=True)
    return np.clip(tf.image.resize_with_crop_or_pad(resized, size, size).numpy() / 127.5 - 1.0, -1.0, 1.0)


def count(name: str, split: str) -> int:
    """How many images a split of the TFDS data set `name` has.

    Raises `InputError` where the data set is not in the data directory, or has no such split or no images.
    """
    return _builder(name, split).info.splits[split].num_examples


def encoded(name: str, split: str, first: int, n: int) -> Iterator[bytes]:
    """The files, as TFDS keeps them, of `n` images of a split, from `first` on; raises `InputError` as `count` does."""
    import tensorflow_datasets as tfds

    examples = _builder(name, split).as_dataset(
        split=tfds.core.ReadInstruction(split, from_=first, to=first + n, unit="abs"),
        decoders={"image": tfds.decode.SkipDecoding()},
    )
    for example in tfds.as_numpy(examples):
        yield example["image"]


@functools.cache
def _builder(name: str, split: str):
    if not name.isidentifier() or not prepared(name):
        raise InputError(
            f"There is no file or folder {name!r}, and the data directory {str(_data_dir())!r} has no data set of that "
            "name."
        )
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=str(_data_dir()))
    if split not in builder.info.splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(builder.info.splits)}.")
    if "image" not in builder.info.features:
        raise InputError(f"{name} has the features {', '.join(builder.info.features)}; it must have image.")
    return builder


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
