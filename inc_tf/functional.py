"""Turns any Keras layer into a functional model with one input and one output, and says what such a model ends in.

`inc_tf.fit` decides what to do with it.
"""

import math
import os
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from inc_tf.checks import kind_of
from inc_tf.errors import InputError

Shape = tuple[int, ...]

REACHES = {"sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "hard_tanh": (-1.0, 1.0)}
PROBABILITIES = {"softmax", "sigmoid", "hard_sigmoid", "sparsemax", "sparse_sigmoid"}
_PASSES_ON = (
    keras.layers.Reshape,
    keras.layers.Flatten,
    keras.layers.Permute,
    keras.layers.Dropout,
    keras.layers.Cropping2D,
    keras.layers.UpSampling2D,
    keras.layers.Identity,
)


def functional(model: Any, role: str, shape: Sequence[int] | None) -> keras.Model:
    """`model` as a functional model with one input and one output. Raises `InputError` if it is no such model."""
    check_kind(model, role)
    if not is_functional(model):
        return _shell(model, role, shape)
    inputs, outputs = (getattr(model, f"_{which}_struct", None) for which in ("inputs", "outputs"))
    if len(model.inputs) != 1:
        largest = max(model.inputs, key=lambda one: math.prod(size or 1 for size in one.shape[1:]))
        names = ["x" if one is largest else "label" for one in model.inputs]
        taken = f"[{', '.join(names)}]"
        if isinstance(inputs, dict):  # whose inputs are in the order of their keys
            taken = f"{{{', '.join(f'{key!r}: {name}' for key, name in zip(sorted(inputs), names, strict=True))}}}"
        raise InputError(
            f"The {role} {model.name!r} has {len(model.inputs)} inputs, {model.input_shape}; it must have one: fix the "
            f"others, x = keras.Input({tuple(largest.shape[1:])}); keras.Model(x, {role}({taken}))."
        )
    _check_output(
        model, role, model.outputs if outputs is None else outputs, f"keras.Model({role}.inputs, {role}.output"
    )
    if not keras.backend.is_float_dtype(model.inputs[0].dtype):
        raise InputError(
            f"The {role} {model.name!r} takes {model.inputs[0].dtype}; it must take float32, which a gradient reaches: "
            f'keras.Input({tuple(model.inputs[0].shape[1:])}, dtype="float32").'
        )
    if isinstance(inputs, dict) or isinstance(outputs, dict | list | tuple) or model.inputs[0].shape[0] is not None:
        return _shell(model, role, model.inputs[0].shape[1:])
    return model


def is_functional(model: keras.Layer) -> bool:
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))


def check_kind(model: Any, role: str) -> None:
    if hasattr(model, "classifier") and hasattr(model, "projector"):
        needed = {"classifier": "classifier", "projector": "projector"}.get(role, f"projector.{role}")
        raise InputError(f"The {role} is a whole defence; give its {role}, defense.{needed}.")
    if isinstance(model, keras.Layer):
        if not is_functional(model):
            for name in {"generator": ("generator", "decoder"), "encoder": ("encoder",)}.get(role, ()):
                if isinstance(getattr(model, name, None), keras.Layer):
                    raise InputError(f"The {role} is a {type(model).__name__}, which has one: give model.{name}.")
        return
    said = f"The {role} is a {kind_of(model)}; it must be a keras.Model"
    if isinstance(model, type):
        raise InputError(f"The {role} is the class {model.__name__}; it must be a keras.Model, an object of a class.")
    if isinstance(model, str) or hasattr(model, "__fspath__"):
        line = f"keras.saving.load_model({str(model)!r})"
        if os.path.isdir(model):  # a SavedModel
            line = f"keras.layers.TFSMLayer({str(model)!r}, call_endpoint='serve')"
        raise InputError(f"The {role} is a path, {str(model)!r}; load it: {line}.")
    if hasattr(model, "signatures"):
        said += ', as keras.layers.TFSMLayer(folder, call_endpoint="serve") makes one of a SavedModel'
    elif callable(model) and type(model).__module__.partition(".")[0] in (
        "builtins",
        "functools",
        "__main__",
        "tensorflow",
    ):
        said += f": keras.Sequential([keras.Input(shape), keras.layers.Lambda({role})]) makes one of a function"
    raise InputError(f"{said}.")


def _shell(model: keras.Layer, role: str, shape: Sequence[int] | None) -> keras.Model:
    """A functional model around a subclassed one, or around one whose input or output is not a plain tensor."""
    own = _built_shape(model) or shape
    if own is None:
        one = "k" if role == "generator" else "28, 28, 1"
        if model.built:
            raise InputError(
                f"The {role} {model.name!r}, a {type(model).__name__}, does not say the shape of its input: "
                f"keras.Sequential([keras.Input(({one},)), {role}]) does."
            )
        example = f"{role}(tf.zeros([1, {one}]))"
        raise InputError(
            f"The {role} {model.name!r}, a {type(model).__name__}, has not been built, so that the shape of its input "
            f"is not known: call it once, {example}, and load its weights."
        )
    x = keras.Input(tuple(own), dtype="float32")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*unbuilt state", UserWarning)  # what is wrong with it is raised next
            found = model(tf.nest.map_structure(lambda _: x, getattr(model, "_inputs_struct", x)))
    except Exception as error:  # whatever the model's own code raises
        raise InputError(
            f"The {role} {model.name!r}, a {type(model).__name__}, cannot be called on {(None, *own)} "
            f"({_reason(error)}); it "
            "must take one tensor of a fixed shape, and work inside a graph."
        ) from error
    _check_output(model, role, found, f"x = keras.Input({tuple(own)}); keras.Model(x, {role}(x)")
    return keras.Model(x, tf.nest.flatten(found)[0], name=model.name)


def _reason(error: Exception) -> str:
    """The error of a model's own code in one line, without what Keras adds to it."""
    said = re.sub("\x1b\\[[0-9]*m", "", str(error)).rpartition("Error encountered:")[2].strip()
    said = re.sub(r"^Exception encountered when calling .*\s+", "", said).partition("\n\nArguments received")[0]
    return " ".join(said.split())[:200] or type(error).__name__


def _check_output(model: keras.Layer, role: str, outputs: Any, line: str) -> None:
    """Refuse several outputs, and an output that is not floating; `line` is the code that selects an output."""
    flat = tf.nest.flatten(outputs)
    if len(flat) != 1:
        named = isinstance(outputs, dict)
        shapes = {name: tuple(o.shape) for name, o in outputs.items()} if named else [tuple(o.shape) for o in flat]
        one = next(iter(outputs)) if named else 0
        raise InputError(
            f"The {role} {model.name!r} has {len(flat)} outputs, {shapes}; it must have one: {line}[{one!r}]), say."
        )
    if not keras.backend.is_float_dtype(flat[0].dtype):
        raise InputError(
            f"The {role} {model.name!r} returns {flat[0].dtype}; it must return float32, of which there is a gradient."
        )


def _built_shape(model: keras.Layer) -> Shape | None:
    """The shape of one example on which a layer was built or called; None if it was not, or if it takes several."""
    built = (model.get_build_config() or {}).get("input_shape") if model.built else None
    plain = isinstance(built, list | tuple) and all(size is None or isinstance(size, int) for size in built)
    return tuple(built[1:]) if plain and built else None


class Ending(NamedTuple):
    """The name of a model's last activation, None if it is unknown, and the scale and offset that follow it."""

    activation: str | None
    scale: float
    offset: float


def ending_of(model: keras.Model) -> Ending:
    tensor, scale, offset = model.outputs[0], 1.0, 0.0
    while tensor is not None:
        operation = operation_behind(tensor)
        name = activation_of(operation)
        if is_functional(operation):
            inner = ending_of(operation)
            return Ending(inner.activation, scale * inner.scale, scale * inner.offset + offset)
        if isinstance(operation, keras.layers.Rescaling) and np.ndim(operation.scale) == np.ndim(operation.offset) == 0:
            scale, offset = scale * operation.scale, scale * operation.offset + offset
        elif not isinstance(operation, _PASSES_ON) and not (
            isinstance(operation, keras.layers.Activation) and name == "linear"
        ):
            return Ending(name, scale, offset)
        tensor = tensor_before(tensor)
    return Ending(None, scale, offset)


def activation_of(operation: Any) -> str | None:
    """The name of an operation's last activation; None if it has none or an unknown one."""
    if isinstance(operation, keras.layers.Layer):
        if isinstance(operation, keras.layers.Softmax):
            return "softmax"
        function = getattr(operation, "activation", None)
        return getattr(function, "__name__", None)
    name = type(operation).__name__.lower()  # an operation of keras.ops in a functional model
    return name if name in REACHES or name in PROBABILITIES else None


def tensor_before(tensor: Any) -> Any:
    """The input of the operation behind a Keras tensor; None if it has several."""
    history = tensor._keras_history  # noqa: SLF001
    taken = history.operation._inbound_nodes[history.node_index].input_tensors  # noqa: SLF001
    return taken[0] if len(taken) == 1 else None


def operation_behind(tensor: Any) -> Any:
    """The operation that made a Keras tensor. Keras has no public way from a tensor back to it."""
    return tensor._keras_history.operation  # noqa: SLF001
