"""A version of a model as `inc_tf.serving.export` wrote it, found in a folder, loaded and run."""

import json
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from inc_tf.errors import InputError
from inc_tf.serving import export

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""The batch sizes that a graph with XLA in it is run at: each is compiled, so others are padded to the next."""


class Servable:
    """One version. It answers once `load` is done.

    Attributes:
      name, version: as in the URL.
      card: what `inc_tf.serving.describe` says of it.
      signatures: the SignatureDef of each, by name.
      state: TensorFlow Serving's word for it, `"LOADING"` or `"AVAILABLE"`.
    """

    def __init__(self, folder: Path):
        self.name, self.version = folder.parent.name, int(folder.name)
        self.folder = folder
        try:
            self.card = json.loads((folder / export.CARD).read_text())
            saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        except (OSError, ValueError, DecodeError) as error:
            raise InputError(f"{str(folder)!r} is not what `inc export` writes ({error}): export it again.") from error
        self.signatures = dict(saved.meta_graphs[0].signature_def)
        functions = saved.meta_graphs[0].graph_def.library.function
        self._xla = any(function.attr["_XlaMustCompile"].b for function in functions)
        self.image_shape = tuple(self.card["images"]["shape"][1:])
        self.dtype = np.dtype(self.card["images"]["dtype"])
        self.range: tuple[float, float] = tuple(self.card["images"]["range"])
        self.state = "LOADING"

    def load(self) -> float:
        """Load it, answer once at each size that XLA compiles for, or at 1; returns the seconds that took."""
        started = time.monotonic()
        try:
            self._loaded = tf.saved_model.load(str(self.folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            said = str(error).strip().split("\n")[0][:200]
            raise InputError(f"{str(self.folder)!r} cannot be loaded ({said}): export it again.") from error
        for size in SIZES if self._xla else (1,):
            images = np.full([size, *self.image_shape], self.range[0], self.dtype)
            for signature in self.card["signatures"]:
                self.run(signature, images, 0)
        self.state = "AVAILABLE"
        return time.monotonic() - started

    def run(self, signature: str, images: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """The signature's answers for at most `SIZES[-1]` images, [N, H, W, C]."""
        n = len(images)
        size = next(size for size in SIZES if size >= n) if self._xla else n
        padded = images[np.minimum(np.arange(size), n - 1)]
        answer = self._loaded.signatures[signature](images=tf.constant(padded), seed=tf.constant(seed))
        return {name: part.numpy()[:n] for name, part in answer.items()}

    def metadata(self) -> dict:
        """What TensorFlow Serving answers to `/metadata`."""
        signatures = {
            name: MessageToDict(signature, always_print_fields_with_no_presence=True, preserving_proto_field_name=True)
            for name, signature in self.signatures.items()
        }
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {"signature_def": {"signature_def": signatures}},
        }


def find(directory: Path) -> dict[str, Servable]:
    """The latest version of each model in a folder that `inc export` wrote to, by name, not yet loaded.

    Raises `InputError` where there is none, or where one is not what `inc export` writes.
    """
    latest: dict[str, Path] = {}
    for path in directory.glob("*/*"):
        if path.name.isdecimal() and path.is_dir():
            best = latest.get(path.parent.name)
            latest[path.parent.name] = path if best is None else max(best, path, key=lambda p: int(p.name))
    if not latest:
        raise InputError(
            f"{str(directory)!r} holds no model as `inc export MODEL DIR` writes it, DIR/<name>/<version>/."
        )
    return {name: Servable(latest[name]) for name in sorted(latest)}
