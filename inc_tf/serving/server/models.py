"""The models in a folder. The latest version of each is served, and the folder is checked every second.

This follows TensorFlow Serving's default policies: a version is served once it is loaded, and the one before it then
finishes its requests and is unloaded. If a version cannot be loaded, the one before it stays.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inc_tf.errors import InputError

if TYPE_CHECKING:
    from inc_tf.serving.server.servable import Servable

LOADING, AVAILABLE, END = "LOADING", "AVAILABLE", "END"
_EVERY = 1.0  # seconds between two looks at the folder
_AGAIN = 60.0  # seconds until a version that could not be loaded is tried again


@dataclass(frozen=True)
class Version:
    """A version's state in TensorFlow Serving's terms, and the reason if it is not served."""

    number: int
    state: str
    error: str = ""

    def status(self) -> dict[str, Any]:
        """One of `model_version_status`."""
        status = {"error_code": "UNKNOWN" if self.error else "OK", "error_message": self.error}
        return {"version": str(self.number), "state": self.state, "status": status}


@dataclass(frozen=True)
class Model:
    """A model in the folder: its servable, if any, and the state of its latest version."""

    latest: Version
    folder: tuple[Path, int, int]  # path, inode and time of change, of the latest version
    tried: float
    servable: "Servable | None" = None

    def versions(self) -> list[Version]:
        """The latest first."""
        if self.servable is None or self.servable.version == self.latest.number:
            return [self.latest]
        return [self.latest, Version(self.servable.version, AVAILABLE)]


class Models:
    """Loads and watches models in a daemon thread.

    Args:
      directory: a folder of `inc export`.
      page: whether to load what the page shows.
      changed: called in that thread with a model's name and state; with None once it is gone.

    Attributes:
      all: the models by name. The dictionary is replaced, never changed, so that other threads may read it.
      ready: whether each model that was there at the start has been loaded or has failed.

    Raises `InputError` for a folder without a model.
    """

    def __init__(self, directory: Path, page: bool, changed: Callable[[str, Model | None], None]):
        self._directory, self._page, self._changed = directory, page, changed
        if not latest_versions(directory):
            raise InputError(
                f"{str(directory)!r} holds no model as `inc export MODEL DIR` writes it, DIR/<name>/<version>/."
            )
        self.all: dict[str, Model] = {}
        self.ready = False
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start loading and watching."""
        threading.Thread(target=self._watch, name="loader", daemon=True).start()

    def stop(self) -> None:
        """Stop loading."""
        self._stopping.set()

    def _watch(self) -> None:
        quiet()
        # A search is one chain of small operations, which loses a fifth of its time being handed between threads.
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
        said = ""
        while True:
            wrong = ""
            try:
                self._refresh()
            except Exception as error:  # a folder that cannot be read now may be later
                wrong = f"{str(self._directory)!r} cannot be looked at: {error}"
            if wrong and wrong != said:  # once, not every second
                print(wrong, file=sys.stderr, flush=True)
            said = wrong
            self.ready = True
            if self._stopping.wait(_EVERY):
                return

    def _refresh(self) -> None:
        found = latest_versions(self._directory)
        for name in set(self.all) - set(found):
            self.all = {n: model for n, model in self.all.items() if n != name}
            self._changed(name, None)
            print(f"{name}: gone, no longer served", flush=True)
        for name, path in sorted(found.items()):
            if self._stopping.is_set():
                return
            try:
                facts = path.stat()
            except OSError:  # gone since it was found
                continue
            folder = (path, facts.st_ino, facts.st_mtime_ns)
            known = self.all.get(name)
            again = known and known.latest.state == END and time.monotonic() - known.tried > _AGAIN
            if known is None or known.folder != folder or again:
                self._load(name, folder, known)

    def _load(self, name: str, folder: tuple[Path, int, int], known: Model | None) -> None:
        """Load what is new; or try again what failed, which keeps its state and its error until it is loaded."""
        from inc_tf.serving.server.servable import Servable

        path = folder[0]
        version = Version(int(path.name), LOADING)
        if known is not None and known.folder == folder:
            self._set(name, replace(known, tried=time.monotonic()))
        else:
            self._set(name, Model(version, folder, time.monotonic(), known.servable if known else None))
        try:
            servable = Servable(path, self._page)
        except InputError as error:
            self._set(name, replace(self.all[name], latest=replace(version, state=END, error=str(error))))
            print(f"{name} version {path.name} is not available: {error}", file=sys.stderr, flush=True)
        else:
            available = replace(version, state=AVAILABLE)
            self._set(name, replace(self.all[name], latest=available, servable=servable))
            print(f"{name} version {path.name}: available after {servable.seconds:.0f} s", flush=True)

    def _set(self, name: str, model: Model) -> None:
        self.all = {**self.all, name: model}
        self._changed(name, model)


def quiet() -> None:
    """Disable progress bars in this thread, since they spoil a log. Keras keeps this setting for each thread."""
    import keras

    keras.config.disable_interactive_logging()


def latest_versions(directory: Path) -> dict[str, Path]:
    """The folder of each model's latest version, by name."""
    latest: dict[str, Path] = {}
    for path in directory.glob("[!.]*/*"):
        if path.name.isdecimal() and path.name.isascii() and os.path.isdir(path):
            best = latest.get(path.parent.name, path)
            latest[path.parent.name] = max(best, path, key=lambda p: int(p.name))
    return latest
