"""One version of an exported model: loading, warming up and running it."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from inc_tf.errors import InputError
from inc_tf.serving import export
from inc_tf.serving.server.demonstration import Demonstration, possible
from inc_tf.serving.server.signatures import definitions

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""The batch sizes that a graph with XLA in it is run at: each is compiled, so others are padded to the next."""


class Servable:
    """A loaded version. Each signature has run once, at every batch size if XLA compiles one program for each.

    Args:
      folder: `<name>/<version>`.
      page: whether to load the page's demonstration too.

    Attributes:
      name, version: as in the URL.
      card: its description, from `inc_tf.serving.export.describe`.
      image_shape, dtype, range: of the images that it takes.
      demonstration: the page's; None if there is no page, or no image that it may show.
      seconds: the time that loading took.

    Raises `InputError` if the folder is not as `inc export` writes it.
    """

    def __init__(self, folder: Path, page: bool):
        started = time.monotonic()
        self.name, self.version = folder.parent.name, int(folder.name)
        self.demonstration: Demonstration | None = None
        try:
            self._load(folder, page)
        except Exception as error:  # whatever a broken file makes of TensorFlow, Keras or this module
            said = " ".join(str(error).split())[:300]
            raise InputError(
                f"{str(folder)!r} cannot be served ({type(error).__name__}: {said}); export it again."
            ) from error
        self.seconds = time.monotonic() - started

    def _load(self, folder: Path, page: bool) -> None:
        self.card = json.loads((folder / export.CARD).read_text(), parse_constant=_no_constant)
        self.range: tuple[float, float] = tuple(self.card["images"]["range"])
        with _no_word_of_gradients():
            self._loaded = tf.saved_model.load(str(folder))  # the signatures live as long as it does
        self._signatures = dict(self._loaded.signatures)
        self._definitions = definitions(folder)
        images = self._signatures["serving_default"].structured_input_signature[1]["images"]
        self.image_shape: tuple[int, ...] = tuple(images.shape[1:])
        self.dtype = np.dtype(images.dtype.as_numpy_dtype)
        graphs = [signature.graph.as_graph_def() for signature in self._signatures.values()]
        self._by_size = any(_compiled_by_size(f) for graph in graphs for f in graph.library.function)
        for size in SIZES if self._by_size else (1,):
            blank = np.full([size, *self.image_shape], self.range[0], self.dtype)
            for signature in self._signatures:
                self.run(signature, blank, 0)
        keras_file = folder / export.KERAS_FILE
        if page and keras_file.exists() and possible(self.card):
            self.demonstration = Demonstration(keras_file, {**self.card, "name": self.name, "version": self.version})

    @property
    def signatures(self) -> Iterator[str]:
        """Their names."""
        return iter(self._signatures)

    def run(self, signature: str, images: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """The signature's answers for at most `SIZES[-1]` images, [N, H, W, C]."""
        n = len(images)
        size = next(size for size in SIZES if size >= n) if self._by_size else n
        padded = images[np.minimum(np.arange(size), n - 1)]
        answer = self._signatures[signature](images=tf.constant(padded), seed=tf.constant(seed))
        return {name: part.numpy()[:n] for name, part in answer.items()}

    def metadata(self) -> dict:
        """What TensorFlow Serving answers to `/metadata`: its signatures as the SavedModel has them."""
        return {
            "model_spec": {"name": self.name, "signature_name": "", "version": str(self.version)},
            "metadata": {"signature_def": {"signature_def": self._definitions}},
        }


def _compiled_by_size(function: Any) -> bool:
    """Whether XLA compiles this function of a graph, a FunctionDef, once for each size of a batch."""
    shapes = [shape for arg in function.arg_attr.values() for shape in arg.attr["_output_shapes"].list.shape]
    return function.attr["_XlaMustCompile"].b and any(dim.size < 0 for shape in shapes for dim in shape.dim)


@contextmanager
def _no_word_of_gradients() -> Iterator[None]:
    """Keeps TensorFlow from warning that what is loaded may have no gradient: nobody takes one."""
    logger = logging.getLogger("absl")

    def other(record: logging.LogRecord) -> bool:
        return "custom gradients" not in record.getMessage()

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} in a card, which JSON does not know")
