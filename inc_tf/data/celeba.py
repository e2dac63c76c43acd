"""CelebA, from `tfds.load("celeb_a")` or from the folder that its authors distribute, cropped as in the paper.

Images are 64×64 in [−1, 1]; labels are 1 for male.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from inc_tf.data import tfds
from inc_tf.data.source import Source, register
from inc_tf.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

_DOWNLOAD = "https://drive.google.com"
_SHAPE = (218, 178, 3)
_CROP = (50, 25, 128, 128)  # top, left, height, width
_SIZE = 64
_TRAIN = 160_000
# Where the authors' `list_eval_partition.txt` cuts the numbered files.
_NUMBERS = {"train": (1, 162_770), "validation": (162_771, 182_637), "test": (182_638, 202_599)}


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, 64, 64, 3] and labels. Raises `InputError` if CelebA is incomplete or cannot be obtained."""
    import numpy as np
    import tensorflow as tf
    from tqdm import tqdm

    folder = tfds.directory() / "img_align_celeba"
    if not tfds.prepared("celeb_a") and folder.is_dir():
        encoded, n = _from_folder(folder, split)
    else:
        encoded, n = _from_tfds(split)
    pixels = encoded.map(_pixels, num_parallel_calls=tf.data.AUTOTUNE).batch(256).prefetch(2)
    images = np.empty((n, _SIZE, _SIZE, 3), np.float32)
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
                f"celeb_a in {str(tfds.directory())!r} cannot be read after image {done} of {n} of {split!r} "
                f"({_reason(error)}): its files are incomplete or damaged. {_REMEDY}"
            ) from error
    if done != n:
        raise InputError(f"celeb_a in {str(tfds.directory())!r} holds {done} of {n} images of {split!r}. {_REMEDY}")
    return images, labels


_REMEDY = (
    "Its public download often fails on its host's quota: get img_align_celeba.zip and list_attr_celeba.txt from "
    "CelebA's own page and put the unpacked folder img_align_celeba/ and the list into the folder that TFDS_DATA_DIR "
    "names."
)


def _from_tfds(split: str) -> tuple[tf.data.Dataset, int]:
    if not tfds.prepared("celeb_a") and not tfds.reachable(_DOWNLOAD):
        raise InputError(f"{tfds.missing('celeb_a')} {_REMEDY}")
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder("celeb_a", data_dir=str(tfds.directory()))
        builder.download_and_prepare()
        n = builder.info.splits[split].num_examples
        data = builder.as_dataset(split=split, decoders={"image": tensorflow_datasets.decode.SkipDecoding()})
    except Exception as error:  # TFDS and the host fail in many ways, each of which has this remedy
        raise InputError(f"celeb_a cannot be obtained ({str(error).splitlines()[0][:200]}). {_REMEDY}") from error
    if split == "train":
        n = min(n, _TRAIN)
        data = data.take(n)
    return data.map(lambda example: (example["image"], example["attributes"]["Male"])), n


def _from_folder(folder: Path, split: str) -> tuple[tf.data.Dataset, int]:
    import tensorflow as tf

    listed = folder.parent / "list_attr_celeba.txt"
    if not listed.exists():
        raise InputError(f"{str(folder)!r} has no {listed.name} beside it, which lists the labels. {_REMEDY}")
    lines = listed.read_text().split("\n")
    male = lines[1].split().index("Male") + 1
    first, last = _NUMBERS[split]
    rows = [row for row in map(str.split, lines[2:]) if row and first <= int(Path(row[0]).stem) <= last]
    rows = rows[:_TRAIN] if split == "train" else rows
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
    """The file's bytes; raises an error that names the file if it is not an aligned CelebA image."""
    import tensorflow as tf

    encoded = tf.io.read_file(name)
    shape = tf.io.extract_jpeg_shape(encoded)
    message = tf.strings.format("{} has shape {}; aligned CelebA has 218×178×3", (name, shape))
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(shape == _SHAPE), [message])]):
        return tf.identity(encoded)


def _pixels(encoded: tf.Tensor, male: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The paper's crop of an encoded image, 64×64 and in [−1, 1], and its label."""
    import tensorflow as tf

    cropped = tf.image.decode_and_crop_jpeg(encoded, _CROP, channels=3)
    small = tf.image.resize(cropped, (_SIZE, _SIZE), method="bilinear")
    return small / 127.5 - 1.0, tf.cast(male, tf.int64)


register(
    Source(
        name="celeb_a",
        title="CelebA",
        load=load,
        image_shape=(_SIZE, _SIZE, 3),
        class_names=("female", "male"),
        bounds=(-1.0, 1.0),
        checkpoints={
            "classifier": "celeba-gender",
            "manifold-trained": "celeba-gender-overpowered",
            "generative": "celeba-began",
        },
        encodes=False,
        epsilons=(0.05, 0.1, 0.2),
        shard=25,
        shareable=False,
    )
)
