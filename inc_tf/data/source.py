"""Data sets by name: each is declared once, in a file of its own, with everything that others need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inc_tf.errors import InputError
from inc_tf.registry import Registry

if TYPE_CHECKING:
    import numpy as np

    from inc_tf.data.dataset import Bounds, Dataset

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Source:
    """The declaration of a data set.

    Attributes:
      name: its name in options, records and file names; TFDS's own name if TFDS has it.
      load: maps a split's name to its images, float32 [N, H, W, C] within `bounds`, and its labels, integers [N].
      image_shape: (H, W, C).
      class_names: the name of each label.
      bounds: (lowest, highest) value that a pixel may take.
      title: its name in tables and plots; "": `name`.
      checkpoints: the checkpoint that plays each part, by part: `"classifier"` and `"generative"` are what a defence is
        made of.
      encodes: whether its generative checkpoint has an encoder of its generator's codes.
      default_defense: the named defence that the data set's name alone stands for.
      epsilons: ε of the ℓ∞ balls in which its attacks are tabulated, ascending; None: 0.1, 0.2 and 0.3 of the range.
      shard: images in a unit of work; few enough that a kill costs minutes.
      bundled: whether an installed package contains it, so that it needs no data directory.
      shareable: whether its images may be published, by themselves or in figures.
      notice: a remark for records, if it stands in for another data set.
    """

    name: str
    load: Callable[[str], tuple[np.ndarray, np.ndarray]]
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    bounds: Bounds = (0.0, 1.0)
    title: str = ""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    encodes: bool = True
    default_defense: str = "inc-fast"
    epsilons: tuple[float, ...] | None = None
    shard: int = 500
    bundled: bool = False
    shareable: bool = True
    notice: str = ""


SOURCES: Registry[Source] = Registry("data set")


def register(source: Source) -> Source:
    """Declare a data set, so that `load` and everything else can look it up by its name."""
    return SOURCES.add(source.name, source)


def load(name: str, split: str = "test") -> Dataset:
    """Load one split of a declared data set, e.g. `"mnist"` or `"digits"`, in [0, 1], or `"celeb_a"`, in [−1, 1].

    MNIST and CelebA are read from `TFDS_DATA_DIR` (or TFDS's own default folder) and downloaded to it if they are
    missing. CelebA may also lie there as its authors' folder `img_align_celeba` beside `list_attr_celeba.txt`; of its
    training split the first 160,000 images are taken, as BEGAN's code does, and all splits are held in memory, 48 KiB
    for each image.

    Args:
      name: a name in `SOURCES`.
      split: `"train"`, `"validation"` or `"test"`.

    Raises:
      InputError: for an unknown name or split, and for data that is incomplete, or missing and cannot be downloaded.
    """
    import numpy as np

    from inc_tf.data.dataset import Dataset

    source = SOURCES[name]
    if split not in SPLITS:
        raise InputError(f"There is no split {split!r}; there are {', '.join(SPLITS)}.")
    images, labels = source.load(split)
    return Dataset(name, split, images, labels.astype(np.int64), source.bounds)
