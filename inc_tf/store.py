"""Answers of long work, kept as they come: what a killed run had finished is not computed again.

An answer is filed under everything that it depends on (checkpoint hashes, seed, parameters), so that a change of any of
them asks for a new one. To compute afresh, delete the folder.
"""

import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


class Store:
    """A folder of answers, each written whole or not at all."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.seconds = 0.0
        """What the answers given so far took to compute, in this run or an earlier one."""

    def get(self, key: dict, compute: Callable[[], Arrays]) -> Arrays:
        """The answer filed under `key`, a dict of plain values; computed and filed where there is none."""
        text = json.dumps(key, sort_keys=True)
        path = self.directory / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
        answer = _read(path)
        if answer is None:
            started = time.monotonic()
            arrays = compute()
            answer = {**arrays, "seconds": np.array(time.monotonic() - started)}
            _write(path, answer, key=text)
        self.seconds += float(answer.pop("seconds"))
        return answer


def _read(path: Path) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if name != "key"}
    except (FileNotFoundError, zipfile.BadZipFile, EOFError, ValueError):
        return None  # absent, or damaged from outside: compute it again


def _write(path: Path, answer: Arrays, key: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        np.savez(file, **{"key": np.array(key), **answer})  # type: ignore[arg-type]
    os.replace(file.name, path)
