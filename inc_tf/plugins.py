"""Plug-ins: Python files outside the package that declare data sets, attacks, solvers or defences."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path

from inc_tf.errors import InputError

_LOADED: dict[str, str] = {}


def load(path: Path) -> None:
    """Run a Python file once, so that what it declares is known.

    Raises `InputError` if there is no such file or it cannot be run.
    """
    file = path.resolve()
    if str(file) in _LOADED:
        return
    if not file.is_file():
        raise InputError(f"There is no plug-in {str(path)!r}; name a Python file.")
    # By content, so that what is filed under the module's name is not taken for the answer of another version.
    name = f"inc_plugin_{file.stem}_{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}"
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise InputError(f"{str(path)!r} is not a Python file.")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except Exception as error:  # of the plug-in, which can fail in any way
        del sys.modules[name]
        raise InputError(f"The plug-in {str(path)!r} cannot be run: {type(error).__name__}: {error}") from error
    _LOADED[str(file)] = name


def loaded() -> tuple[str, ...]:
    """The files that were loaded, so that other processes can load them too."""
    return tuple(_LOADED)
