"""ImageNet's photographs, from `tfds.load("imagenet2012")`, which cannot be downloaded without an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inc_tf.data import tfds
from inc_tf.data.source import Source, register
from inc_tf.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from inc_tf.data.dataset import Dataset

NAME = "imagenet2012"


def load_imagenet(split: str = "validation", n: int | None = None, size: int = 224) -> Dataset:
    """The first `n` photographs of a split of `tfds.load("imagenet2012")`, or all, cut as `load_folder` cuts them.

    They are held in memory, 588 KiB for each image of 224×224. Raises `InputError` if the data set is not in
    `TFDS_DATA_DIR` (it cannot be downloaded without an account), has no such split, or has fewer images.
    """
    if not tfds.prepared(NAME):
        raise InputError(
            f"The data directory {str(tfds.directory())!r} has no data set {NAME!r}, which cannot be downloaded "
            "without an account: prepare it as TFDS's catalogue says, or name a folder of images."
        )
    import tensorflow_datasets

    from inc_tf.data import photographs

    builder = tensorflow_datasets.builder(NAME, data_dir=str(tfds.directory()))
    if split not in builder.info.splits:
        raise InputError(f"{NAME} has no split {split!r} here; it has {', '.join(builder.info.splits)}.")
    skip = {"image": tensorflow_datasets.decode.SkipDecoding()}
    examples = tensorflow_datasets.as_numpy(builder.as_dataset(split=split, decoders=skip))
    named = ((example["file_name"].decode(), example["image"], int(example["label"])) for example in examples)
    return photographs.read(NAME, split, named, n, size)


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Every photograph of a split; the training split is far larger than memory."""
    photographs = load_imagenet(split)
    return photographs.images, photographs.labels


register(
    Source(
        name=NAME,
        title="ImageNet",
        load=load,
        image_shape=(224, 224, 3),
        class_names=tuple(map(str, range(1000))),
        bounds=(-1.0, 1.0),
        default_defense="dip",
        epsilons=(0.01, 0.05, 0.1),
        shard=1,
        shareable=False,
    )
)
