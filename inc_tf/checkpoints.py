"""Named weights: where they are, what they are, and whether they are intact.

A checkpoint is a `.keras` file and its card, a JSON file of the same name that holds the architecture, the data, the
seed, the command, the metrics and the file's SHA-256. Nothing in the file is executed when it is loaded.
"""

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

import keras

from inc_tf import models  # noqa: F401  (registers the networks that a file may name)
from inc_tf.errors import InputError


def directory() -> Path:
    """`$INC_CHECKPOINTS` where it is set, else the repository's `checkpoints/`, else what a wheel brought."""
    if "INC_CHECKPOINTS" in os.environ:
        return Path(os.environ["INC_CHECKPOINTS"])
    repository = Path(__file__).resolve().parent.parent / "checkpoints"
    installed = Path(sys.prefix) / "share" / "inc_tf" / "checkpoints"
    return repository if repository.is_dir() else installed


def names() -> list[str]:
    """The checkpoints at hand, sorted."""
    return sorted(path.stem for path in directory().glob("*.json"))


def card(name: str) -> dict:
    """The card of checkpoint `name`. Raises `InputError` for a name that is not there."""
    path = directory() / f"{name}.json"
    if name not in names():
        known = ", ".join(names()) or "none"
        raise InputError(f"There is no checkpoint {name!r} in {str(directory())!r}; there are: {known}.")
    return json.loads(path.read_text())


def verify(name: str) -> Path:
    """The path of checkpoint `name`'s file, which is intact.

    Raises `InputError` for an unknown name, or for a file that is missing, truncated or altered: its SHA-256 is in the
    card.
    """
    expected = card(name)["sha256"]
    path = directory() / f"{name}.keras"
    if not path.exists():
        raise InputError(f"Checkpoint {name!r} has a card but no file {str(path)!r}: restore it or train it again.")
    found = sha256(path)
    if found != expected:
        raise InputError(
            f"Checkpoint file {str(path)!r} is truncated or altered: its SHA-256 is {found[:12]}…, its card says "
            f"{expected[:12]}…; restore it or train it again."
        )
    return path


def load(name: str) -> keras.Model:
    """Load the model of checkpoint `name`, e.g. `"mnist-classifier"` or `"mnist-vae"`.

    Loads in Keras's safe mode: no pickle, no code from the file. Raises `InputError` where `verify` does.
    """
    return keras.saving.load_model(verify(name), compile=False, safe_mode=True)


def save(model: keras.Model, name: str, fields: dict) -> Path:
    """Write `model` as checkpoint `name` with a card of `fields` and the file's hash; each file whole or not at all.

    Returns the path of the `.keras` file.
    """
    path = directory() / f"{name}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        model_file = Path(scratch) / path.name
        card_file = Path(scratch) / f"{name}.json"
        model.save(model_file)
        _deflate(model_file)
        card_file.write_text(json.dumps({"name": name, **fields, "sha256": sha256(model_file)}, indent=2) + "\n")
        os.replace(model_file, path)
        os.replace(card_file, path.with_suffix(".json"))
    return path


def _deflate(path: Path) -> None:
    """Compress a zip file's members in place; Keras stores them as they are, and reads both."""
    packed = path.with_suffix(".packed")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    os.replace(packed, path)


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
