"""The fields of an answer, each declared once, for the served signatures, `inc defend` and `inc project`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from inc_tf.defense import Classification, InvertAndClassify


@dataclass(frozen=True)
class Field:
    """One field of an answer about N images.

    Attributes:
      name: its name in signatures, tables and files.
      form: its type and shape.
      meaning: its description in cards and the documentation.
      of: maps the answer and the defence to its tensor.
      about: the signature that has it: `"classify"`, the classification, or `"project"`, the projection itself.
    """

    name: str
    form: str
    meaning: str
    of: Callable[[Classification, InvertAndClassify], tf.Tensor]
    about: str = "classify"


def _class_names(answer: Classification, defense: InvertAndClassify) -> tf.Tensor:
    names = defense.class_names or [str(label) for label in range(defense.classifier.output_shape[-1])]
    return tf.gather(tf.constant(list(names)), answer.predictions)


FIELDS = (
    Field("label", "int64 [N]", "the class of the projection", lambda a, d: a.predictions),
    Field("class_name", "string [N]", "its name", _class_names),
    Field(
        "probability",
        "float32 [N]",
        "of that class",
        lambda a, d: tf.reduce_max(tf.nn.softmax(tf.cast(a.logits, tf.float32)), axis=1),
    ),
    Field(
        "probabilities",
        "float32 [N, classes]",
        "the classifier's, on the projection",
        lambda a, d: tf.nn.softmax(tf.cast(a.logits, tf.float32)),
    ),
    Field(
        "distance",
        "float32 [N]",
        "‖G(z*) − x‖₂ over the whole image, in the units of the defence's bounds",
        lambda a, d: a.distances,
    ),
    Field("accepted", "bool [N]", "whether the distance is below the threshold", lambda a, d: ~a.rejected),
    Field(
        "projection", "float32 [N, H, W, C]", "G(z*), in the defence's bounds", lambda a, d: a.projections, "project"
    ),
    Field("code", "float32 [N, k]", "z*", lambda a, d: a.codes, "project"),
)
"""In the order in which they are shown."""

SIGNATURES = {"serving_default": ("classify",), "project": ("classify", "project")}
"""The fields of each served signature, by what they are about."""


def fields(signature: str) -> list[Field]:
    """The fields of a served signature."""
    return [field for field in FIELDS if field.about in SIGNATURES[signature]]


def outputs(answer: Classification, defense: InvertAndClassify, signature: str) -> dict[str, tf.Tensor]:
    """The tensors of a served signature, by name."""
    return {field.name: field.of(answer, defense) for field in fields(signature)}


def rows(answer: Classification, defense: InvertAndClassify) -> list[dict]:
    """The classification of each image, as plain values: the fields with one value per image, and the `threshold`."""
    columns = {
        field.name: field.of(answer, defense).numpy()
        for field in fields("serving_default")
        if field.form.endswith("[N]")
    }
    names = columns.pop("class_name")
    found = []
    for i, name in enumerate(names):
        row = {column: values[i].item() for column, values in columns.items()}
        found.append({"class_name": name.decode(), **row, "threshold": defense.threshold})
    return found
