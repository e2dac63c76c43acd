"""TensorFlow without notes on stderr that say nothing to somebody at a command line.

Its libraries write some while they are loaded. They come from C++ before any log level is looked at, so that no
environment variable stops them; the descriptor itself is turned aside for as long as the import takes. Later it warns
of graphs that are traced again and again, where each search and each attack has its own, traced once.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

from inc_tf.descriptors import stderr_aside

_NOISY = "tensorflow"


class _Quietly(importlib.abc.Loader):
    """A loader that keeps what is written to stderr, and shows it where loading fails."""

    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module is to look as if it had been loaded without this.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with stderr_aside():
            self._loader.exec_module(module)
        logging.getLogger(_NOISY).addFilter(lambda record: "tf.function retracing" not in record.getMessage())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != _NOISY:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Quietly(spec.loader)
        return spec


def quiet_imports() -> None:
    """Load TensorFlow quietly from here on, whoever imports it."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
