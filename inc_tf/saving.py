"""How the library's parts go into files and come out of them again."""

import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from inc_tf.errors import InputError


@dataclass(frozen=True)
class Settings:
    """Makes a frozen dataclass of plain values serializable by Keras; register it beside."""

    def get_config(self) -> dict:
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict):
        return cls(**config)


def serialized(**parts) -> dict:
    """The configurations of models, layers and settings, by name."""
    return {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}


def deserialized(config: dict, *names: str) -> dict:
    """`config` with the parts of these names made objects again."""
    return {
        name: keras.saving.deserialize_keras_object(value) if name in names else value for name, value in config.items()
    }


def load_file(path: Path) -> keras.Model:
    """Load the model of any `.keras` or `.h5` file that Keras saved, in safe mode, which runs no code of it.

    Raises `InputError` where it cannot be loaded: for a file that is not there or is something else, and for a layer
    that Keras does not know, which is named.
    """
    if path.is_dir():
        raise InputError(
            f"{str(path)!r} is a folder, as a SavedModel is; it must be a .keras file, which model.save('model.keras') "
            "writes of the Keras model that it was made of."
        )
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras wraps what is wrong with a file in many ways
        raise InputError(f"{str(path)!r} cannot be loaded: {_reason(str(error) or type(error).__name__)}") from error


def _reason(said: str) -> str:
    """What Keras says at length, as the end of a sentence with what would be right."""
    if unknown := re.search(r"Could not locate (?:class|function) '([^']+)'", said):
        name = unknown[1]
        return (
            f"Keras does not know its {name!r}; decorate that with @keras.saving.register_keras_serializable() and "
            f"import it before, or replace it by layers of Keras's own."
        )
    if "`Lambda`" in said or "lambda" in said:
        return (
            "it has a Lambda layer, whose Python code is not run from a file; replace it by a layer of Keras's own, or "
            "by a class of your own with @keras.saving.register_keras_serializable()."
        )
    if "No model config found" in said:
        return "it holds weights alone; it must hold a whole model, as model.save('model.keras') writes."
    if "not supported" in said or "zip file" in said:
        return "it is not a .keras file, as model.save('model.keras') writes one."
    return f"({said.strip().splitlines()[0][:200]}); it must be a .keras file, as model.save('model.keras') writes one."


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, making its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(text)
    os.replace(scratch, path)
