"""The data directory of TensorFlow Datasets: what it holds, and its encoded image files."""

import functools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from inc_tf.errors import InputError


def count(name: str, split: str) -> int:
    """How many images a split of the TFDS data set `name` has.

    Raises `InputError` if the data set is not in the data directory, or has no such split or no images.
    """
    return _builder(name, split).info.splits[split].num_examples


def encoded(name: str, split: str, first: int, n: int) -> Iterator[bytes]:
    """The encoded files of `n` images of a split, from `first` on; raises `InputError` whenever `count` does."""
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
            f"There is no file or folder {name!r}, and the data directory {str(directory())!r} has no data set of that "
            "name."
        )
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=str(directory()))
    if split not in builder.info.splits:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(builder.info.splits)}.")
    if "image" not in builder.info.features:
        raise InputError(f"{name} has the features {', '.join(builder.info.features)}; it must have image.")
    return builder


def prepared(name: str) -> bool:
    """Whether the data directory holds the TFDS data set `name`, so that nothing needs to be downloaded."""
    return any(directory().glob(f"{name}/*/dataset_info.json"))


def directory() -> Path:
    return Path(os.environ.get("TFDS_DATA_DIR", Path.home() / "tensorflow_datasets")).expanduser()


def missing(name: str) -> str:
    return (
        f"The data directory {str(directory())!r} has no data set {name!r} and there is no network to download it: "
        f"set TFDS_DATA_DIR to a folder that holds {name}/<version>/, as tfds.load writes it."
    )


def reachable(url: str, seconds: float = 3.0) -> bool:
    """Whether `url`'s host answers in time. A thread bounds the wait, since a name look-up has no time-out."""
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
