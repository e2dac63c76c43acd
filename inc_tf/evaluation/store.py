"""A store for the answers of long work: after a kill, finished work is not computed again.

An answer is filed under everything that it depends on, so that any change of these needs a new one; the version,
commit, device and seconds of its computation are kept beside it. To compute afresh, delete the folder.
"""

import contextlib
import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import numpy as np

from inc_tf.errors import InputError
from inc_tf.evaluation.records import environment
from inc_tf.saving import content_hash

FORMAT = 2
"""Of keys and files: finished work of another format is not looked at."""

Arrays = dict[str, np.ndarray]


class Store:
    """A folder of answers, each written whole or not at all.

    `where` is a path, or a URL that fsspec knows, such as `s3://bucket/folder` where `s3fs` is installed.
    """

    def __init__(self, where: str | Path):
        try:
            self.files, self.root = fsspec.core.url_to_fs(str(where))
        except (ImportError, ValueError) as error:
            raise InputError(
                f"{str(where)!r} is neither a folder nor a URL that fsspec can open here: {error}"
            ) from error
        self.seconds = 0.0
        """What the answers given so far took to compute, in this run or an earlier one."""
        self.computed_by: list[dict] = []
        """The environments of the processes that computed the answers, each once."""

    def get(self, key: dict, compute: Callable[[], Arrays]) -> Arrays:
        """The answer filed under `key`, a dict of plain values; if there is none, it is computed and filed."""
        answer = self._read(key)
        if answer is None:
            arrays, seconds = timed(compute)
            answer = self.put(key, arrays, seconds)
        self.seconds += float(answer.pop("seconds"))
        by = json.loads(str(answer.pop("by")))
        if by not in self.computed_by:
            self.computed_by.append(by)
        return answer

    def put(self, key: dict, arrays: Arrays, seconds: float) -> Arrays:
        """File the answer to `key`, which took `seconds`, with the version, commit and device of this process.

        Returns what is filed.

        Raises `InputError` if it cannot be written; existing files stay as they are.
        """
        answer = {**arrays, "seconds": np.array(seconds), "by": np.array(json.dumps(environment()))}
        content = io.BytesIO()
        np.savez(content, **{"key": np.array(json.dumps(key)), **answer})  # type: ignore[arg-type]
        path = self._path(key)
        scratch = f"{path}.{uuid.uuid4().hex}.tmp"
        try:
            self.files.makedirs(self.root, exist_ok=True)
            self.files.pipe_file(scratch, content.getvalue())
            self.files.mv(scratch, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                self.files.rm_file(scratch)
            raise InputError(
                f"{path!r} cannot be written ({error.strerror or error}). What was finished before is kept: put that "
                "right and run the same again."
            ) from error
        return answer

    def __contains__(self, key: dict) -> bool:
        return self._read(key) is not None

    def _read(self, key: dict) -> Arrays | None:
        try:
            with np.load(io.BytesIO(self.files.cat_file(self._path(key))), allow_pickle=False) as file:
                return {name: file[name] for name in file.files if name != "key"}
        except (FileNotFoundError, NotADirectoryError, zipfile.BadZipFile, EOFError, ValueError):
            return None  # absent, or damaged from outside: compute it again

    def _path(self, key: dict) -> str:
        return f"{self.root}/{content_hash({'format': FORMAT, **key})[:24]}.npz"


def timed(compute: Callable[[], Arrays]) -> tuple[Arrays, float]:
    """The result of `compute`, and the seconds that it took."""
    started = time.monotonic()
    arrays = compute()
    return arrays, time.monotonic() - started
