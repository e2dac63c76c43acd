"""A user's own images and labels in a NumPy archive."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from inc_tf.data.dataset import Bounds, Dataset
from inc_tf.errors import InputError


def load_archive(path: Path, bounds: Bounds = (0.0, 1.0)) -> Dataset:
    """The `images`, float [N, H, W, C] within `bounds`, and the `labels`, integers [N], of a NumPy archive, `.npz`.

    Raises `InputError` where the file or one of the two is missing, or they are not of these types. Runs no code of the
    file. Whether the values are within the bounds is for the attacks to check.
    """
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; it must be a NumPy archive, .npz.")
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    try:
        # Opened here, since NumPy leaves what it cannot read open.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except MemoryError as error:
        raise InputError(f"{str(path)!r} holds more than this machine's memory does: {error}.") from error
    # TypeError: of an .npy; RuntimeError: of a zip file with a password
    except (zipfile.BadZipFile, EOFError, ValueError, AttributeError, TypeError, RuntimeError, zlib.error) as error:
        said = f"{str(path)!r} is not a NumPy archive; np.savez(path, images=…, labels=…) writes one."
        raise InputError(said) from error
    if not {"images", "labels"} <= arrays.keys():
        raise InputError(f"{str(path)!r} holds {', '.join(arrays) or 'nothing'}; it must hold images and labels.")
    images, labels = (np.asarray(arrays[name]) for name in ("images", "labels"))  # others than .npy are bytes
    if images.ndim and labels.shape == (len(images), 1):
        labels = labels[:, 0]
    fitting = images.ndim == 4 and labels.shape == images.shape[:1]
    if not fitting or images.dtype.kind != "f" or labels.dtype.kind not in "iu":
        raise InputError(
            f"{str(path)!r} holds images {images.dtype.name} {list(images.shape)} and labels {labels.dtype.name} "
            f"{list(labels.shape)}; they must be float [N, H, W, C] and integers [N]."
        )
    return Dataset(path.stem, "", images.astype(np.float32), labels.astype(np.int64), bounds)
