"""A user's own images and labels in a NumPy archive."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from inc_tf.data.dataset import Bounds, Dataset
from inc_tf.errors import InputError

_NAMES = ("images", "labels")


def load_archive(path: Path, bounds: Bounds = (0.0, 1.0)) -> Dataset:
    """The `images`, float [N, H, W, C] within `bounds`, and the `labels`, integers [N], of a NumPy archive, `.npz`.

    N ≥ 1. Other arrays in the archive are not read, and no code in it is run. Raises `InputError` if the file or one of
    the two arrays is missing, damaged, or not of these types. The attacks check whether the values are within the
    bounds.
    """
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; it must be a NumPy archive, .npz.")
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    try:
        # Opened here, since NumPy leaves what it cannot read open.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = file.files
            arrays = [np.asarray(file[name]) for name in _NAMES if name in held]  # a file that is not .npy gives bytes
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except MemoryError as error:
        raise InputError(f"{str(path)!r} holds more than this machine's memory does: {error}.") from error
    # TypeError: of an .npy; RuntimeError: of a zip file with a password
    except (zipfile.BadZipFile, EOFError, ValueError, AttributeError, TypeError, RuntimeError, zlib.error) as error:
        objects = str(error).startswith("Object arrays")
        what = "holds an array of Python objects" if objects else "is not a NumPy archive, or is damaged"
        raise InputError(
            f"{str(path)!r} {what}; np.savez(path, images=…, labels=…) writes one of float images and integer labels."
        ) from error
    if len(arrays) < len(_NAMES):
        raise InputError(f"{str(path)!r} holds {', '.join(held) or 'nothing'}; it must hold images and labels.")
    images, labels = arrays
    if images.ndim and labels.shape == (len(images), 1):
        labels = labels[:, 0]
    fitting = images.ndim == 4 and len(images) and labels.shape == images.shape[:1]
    if not fitting or images.dtype.kind != "f" or labels.dtype.kind not in "iu":
        raise InputError(
            f"{str(path)!r} holds images {images.dtype.name} {list(images.shape)} and labels {labels.dtype.name} "
            f"{list(labels.shape)}; they must be float [N, H, W, C] and integers [N], N ≥ 1."
        )
    return Dataset(path.stem, "", images.astype(np.float32), labels.astype(np.int64), bounds)
