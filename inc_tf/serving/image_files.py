"""Image files through a defence: what `inc defend` does."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np

from inc_tf.data import image_files
from inc_tf.defense import InvertAndClassify
from inc_tf.errors import InputError
from inc_tf.serving import answer

_UNSEEN = {"Cc", "Cf", "Zl", "Zp"}
"""Unicode's categories of control and formatting characters, and of the ends of lines and paragraphs."""


def defend(
    defense: InvertAndClassify, paths: list[Path], *, seed: int = 0, out: Path | None = None, invert: bool = False
) -> list[dict]:
    """Classify image files with a defence, in order.

    Args:
      defense: the defence.
      paths: image files, as `data.image_files.read` takes them.
      seed: seed of the search's starts.
      out: a folder for the projections, as `<the file's name>-projection.png`; existing files are not overwritten.
      invert: whether to swap dark and bright.

    Returns: for each `file` the fields of `answer.rows`, and `remarks` on what is odd about it; for a file that cannot
    be read, its `error`. Raises `InputError` if `out` cannot be created.
    """
    read: dict[int, np.ndarray] = {}
    rows: list[dict] = [{"file": printable(path)} for path in paths]
    if out is not None:
        _make(out)
    for i, path in enumerate(paths):
        try:
            read[i] = image_files.read(path, defense.image_shape, defense.bounds, invert=invert)
        except InputError as error:
            rows[i]["error"] = str(error)
    if not read:
        return rows
    found = defense(np.stack(list(read.values())), seed=seed)
    answers = zip(read.items(), answer.rows(found, defense), found.projections.numpy(), strict=True)
    for (i, image), row, projection in answers:
        rows[i] |= row
        rows[i]["remarks"] = image_files.remarks(paths[i].read_bytes(), image, defense.bounds)
        if out is not None:
            image_files.write(_unused(out, paths[i].stem), projection, defense.bounds)
    return rows


def printable(path: Path) -> str:
    """A file's name as text that a terminal shows on one line: with `\\xff` for a byte that is not UTF-8, and Python's
    escapes for control and formatting characters.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in _UNSEEN else character
        for character in text
    )


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{str(out)!r} is not a folder and cannot be made one: {error.strerror}.") from error


def _unused(out: Path, stem: str) -> Path:
    """A file's name for the projection of `stem` that is not taken yet."""
    if len(os.fsencode(stem)) > 200:  # of the 255 that a name may have
        stem = stem[:50]
    path, number = out / f"{stem}-projection.png", 1
    while path.exists():
        number += 1
        path = out / f"{stem}-projection-{number}.png"
    return path
