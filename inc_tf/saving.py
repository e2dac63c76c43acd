"""How the library's parts go into files and come out of them again."""

import os
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
    """Load the model of any `.keras` file, in Keras's safe mode; raises `InputError` where it cannot be loaded."""
    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras wraps what is wrong with a file in many ways
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"{str(path)!r} cannot be loaded ({said}); it must be a .keras file that Keras saved."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, making its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(text)
    os.replace(scratch, path)
