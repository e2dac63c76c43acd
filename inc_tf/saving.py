"""Saving and loading the library's parts, their configurations and their hashes."""

import hashlib
import json
import math
import os
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

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


_OF_THE_LAYER = ("name", "dtype", "trainable")


def configuration(part: Any, without: Collection[str] = ()) -> Any:
    """The configuration of a part of a defence, as plain values: its class and arguments, each model by its content's
    hash.

    Two parts with the same configuration compute the same. Takes defences, projectors, starts, solvers, models, arrays
    and plain values, and raises `TypeError` for others. `without` names weights of a model that do not matter, by path.
    """
    kind = {"class": _class_name(part)}
    if isinstance(part, keras.Model) and not hasattr(part, "projector"):
        return {**kind, "sha256": digest(part, without)}
    if isinstance(part, keras.Layer):
        names = [name for name in part.get_config() if name not in _OF_THE_LAYER]
        drawn = getattr(part, "drawn", ())  # anew for each image, whatever they are
        return {**kind, **{name: configuration(getattr(part, name), drawn) for name in names}}
    if is_dataclass(part) and not isinstance(part, type):
        return {**kind, **{one.name: configuration(getattr(part, one.name)) for one in fields(part)}}
    if isinstance(part, dict):
        return {str(name): configuration(value) for name, value in part.items()}
    if isinstance(part, tuple | list):
        return [configuration(value) for value in part]
    if isinstance(part, np.ndarray):
        return {"shape": list(part.shape), "sha256": hashlib.sha256(part.tobytes()).hexdigest()}
    if isinstance(part, np.generic):
        return part.item()
    if isinstance(part, float) and not math.isfinite(part):
        return str(part)  # JSON knows no infinity
    if part is None or isinstance(part, str | int | float):
        return part
    raise TypeError(f"{type(part).__name__} has no configuration")


def _class_name(part: Any) -> str:
    """With its module, where the class is not the library's or Keras's: others may be called the same."""
    module, name = type(part).__module__, type(part).__qualname__
    return name if module.partition(".")[0] in ("inc_tf", "keras", "builtins") else f"{module}.{name}"


def content_hash(plain: Any) -> str:
    """The SHA-256 of plain values, such as a `configuration`, in hexadecimal."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


_REFERRING = ("name", "keras_history", "input_layers", "output_layers")
"""What in the configuration of a model has layers' names; elsewhere the same word may be a function's."""


def digest(model: keras.Model, without: Collection[str] = ()) -> str:
    """The SHA-256 of a model's architecture and weights, in hexadecimal; the names of its layers do not matter.

    `without` names weights that do not matter either, by path.
    """
    config = keras.saving.serialize_keras_object(model)
    names: dict[str, str] = {}

    def find(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("name"), str):
                names.setdefault(value["name"], f"layer {len(names)}")
            value = list(value.values())
        if isinstance(value, list | tuple):
            for one in value:
                find(one)

    def renamed(value: Any, refers: bool = False) -> Any:
        if isinstance(value, dict):
            return {key: renamed(one, key in _REFERRING) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [renamed(one, refers) for one in value]
        return names.get(value, value) if refers and isinstance(value, str) else value

    find(config)
    found = hashlib.sha256(json.dumps(renamed(config), sort_keys=True, default=str).encode())
    for weight in (weight for weight in model.weights if weight.path not in without):
        found.update(weight.numpy().tobytes())
    return found.hexdigest()


def load_file(path: Path) -> keras.Model:
    """Load the model of any `.keras` or `.h5` file that Keras saved, in safe mode, which runs no code from the file.

    Raises `InputError` if it cannot be loaded: for a file that is missing or of another kind, and for a layer that
    Keras does not know, which the message names.
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


def to_json(value: Any, indent: int = 2) -> str:
    """Plain values as JSON, which has no NaN and no infinity: these become null."""

    def finite(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: finite(one) for name, one in part.items()}
        if isinstance(part, list | tuple):
            return [finite(one) for one in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    return json.dumps(finite(value), indent=indent, allow_nan=False)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, creating its folder if there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_text(text)
    os.replace(scratch, path)
