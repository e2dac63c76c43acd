"""Invert-and-Classify: a classifier behind a projector, with a threshold on the distance of the projection."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from inc_tf.checks import (
    ChecksImages,
    as_images,
    as_rejection_rate,
    check_bounds,
    check_count,
    check_images,
    sentences_of_graphs,
)
from inc_tf.data import Bounds
from inc_tf.errors import InputError
from inc_tf.fit import check_defense, check_projector, fitted_classifier, weights_follow
from inc_tf.interrupts import interruptible
from inc_tf.saving import deserialized, serialized

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_NO_BATCH = "The data set of images is empty; it must hold at least one batch."


class Classification(NamedTuple):
    """The result of `InvertAndClassify` for a batch of N images.

    Attributes:
      predictions: the class of each projection, int64 [N], for rejected inputs too.
      rejected: whether the input is rejected, bool [N]: accepted are finite distances below η.
      logits: the classifier's logits for the projections, float32 [N, classes].
      projections: G(z*), float32 [N, H, W, C].
      codes: z*, float32 [N, k].
      distances: ‖G(z*) − x‖₂, float32 [N].
    """

    predictions: tf.Tensor
    rejected: tf.Tensor
    logits: tf.Tensor
    projections: tf.Tensor
    codes: tf.Tensor
    distances: tf.Tensor

    def __repr__(self) -> str:
        if not all(isinstance(part, np.ndarray) or hasattr(part, "numpy") for part in self):  # inside a graph
            return f"Classification({', '.join(f'{name}: {part.shape}' for name, part in self._asdict().items())})"
        n, distances = len(self.predictions), np.asarray(self.distances)
        first = ", ".join(f"{c}{'✗' if r else ''}" for c, r in zip(*map(np.asarray, self[:2]), strict=True) if n <= 10)
        found, counts = np.unique(np.asarray(self.predictions), return_counts=True)
        counted = ", ".join(f"{count} of class {c}" for c, count in list(zip(found, counts, strict=True))[:10])
        ends = f"{distances.min():.3g} to {distances.max():.3g}" if n else "none"
        return (
            f"Classification of {n} images, {int(np.sum(self.rejected))} rejected\n"
            f"  predictions: {first or counted}\n"
            f"  distances: {ends}\n"
            f"  logits {list(self.logits.shape)}, projections {list(self.projections.shape)}, "
            f"codes {list(self.codes.shape)}"
        )

    def plot(self, images: np.ndarray, class_names: Sequence[str] | None = None) -> Figure:
        """A figure of the images that were asked about: x, G(z*), |G(z*) − x| and the verdict, a row each.

        Args:
          images: x, float [N, H, W, C], C 1 or 3, as the defence was called on them.
          class_names: what the classes are called; None numbers them.

        Returns: a matplotlib Figure, which a notebook shows. Raises `InputError` for images of another shape.
        """
        from matplotlib.figure import Figure

        x, projections = np.asarray(images, np.float32), np.asarray(self.projections)
        if x.shape != projections.shape:
            raise InputError(
                f"Images have shape {list(x.shape)}; these projections are of images {list(projections.shape)}."
            )
        low, high = min(x.min(), projections.min()), max(x.max(), projections.max())
        figure = Figure(figsize=(6, 1.6 * len(x)), layout="constrained")
        rows = figure.subplots(len(x), 3, squeeze=False)
        for i, axes in enumerate(rows):
            shown = (x[i], projections[i], low + np.abs(projections[i] - x[i]))
            for ax, picture, title in zip(axes, shown, ("x", "G(z*)", "|G(z*) − x|"), strict=True):
                scaled = np.clip((picture - low) / max(high - low, 1e-12), 0.0, 1.0)
                ax.imshow(np.squeeze(scaled, axis=2) if scaled.shape[2] == 1 else scaled, cmap="gray", vmin=0, vmax=1)
                ax.set(xticks=[], yticks=[], title=title if i == 0 else "")
            c = int(self.predictions[i])
            name = str(c) if class_names is None else class_names[c]
            verdict = f"rejected ({name})" if self.rejected[i] else name
            axes[0].set_ylabel(f"{verdict}\nat {float(self.distances[i]):.3g}")
        return figure


@keras.saving.register_keras_serializable(package="inc_tf")
class InvertAndClassify(ChecksImages, keras.Model):
    """Project an image, reject it if it is too far from its projection, and classify the projection; Algorithm 1.

    Args:
      classifier: C, a keras.Model from images to logits. Some others are adapted (see `inc_tf.fit`): one sigmoid for
        two classes, flat images, another floating type, a subclassed model.
      projector: a Keras layer called as ``projector(images, seed=None) -> Projection``, e.g. `LatentProjector`.
      threshold: η, in the unit of the distance: images with ‖G(z*) − x‖₂ ≥ η are rejected. None rejects no image with a
        finite distance. `threshold_at` computes η from clean images; it can also be set later.
      bounds: the range of the images' values; None is the projector's own if it has one, else [0, 1].
      class_names: one for each class; None numbers them.

    Called as ``defense(images, seed=None) -> Classification``; None is seed 0. `predict` returns the same as arrays.
    The losses and metrics of `evaluate` use the logits, including those of rejected inputs.
    A defence fails closed: if a distance or a logit is NaN or infinite, the image is rejected whatever η is.
    Raises `InputError` for parts that do not fit one another or the bounds, for η not above 0, and for images of
    another shape or type, outside the bounds, or not finite.
    """

    def __init__(
        self,
        classifier: keras.Model,
        projector: keras.Layer,
        threshold: float | None = None,
        bounds: Bounds | None = None,
        class_names: Sequence[str] | None = None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})  # its parts may have another policy
        check_projector(projector)
        given = getattr(projector, "bounds", None) if bounds is None else bounds
        self.bounds: Bounds = check_bounds((0.0, 1.0) if given is None else given)
        self.classifier = fitted_classifier(classifier, getattr(projector, "image_shape", None))
        self.projector = projector
        self.image_shape = tuple(self.classifier.input_shape[1:])
        self.threshold = threshold
        self.class_names = _checked_names(class_names, self.classifier.output_shape[1])
        check_defense(self.classifier, projector, self.bounds)
        # One graph: layer by layer, the classifier of one image took as long as its search.
        images = tf.TensorSpec([None, *self.image_shape], tf.float32)
        self._classify = tf.function(
            lambda x: self.classifier(x, training=False), input_signature=[images], autograph=False
        )
        self.build((None, *self.image_shape))

    def build(self, input_shape) -> None:
        self.built = True  # since its parts are

    @property
    def threshold(self) -> float | None:
        """η, or None, which rejects no image with a finite distance.

        A new value takes effect at once, also after `predict` or `evaluate`. Raises `InputError` for a value that is
        neither None nor a finite number above 0.
        """
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: float | None) -> None:
        if threshold is not None:
            try:
                value = math.nan if isinstance(threshold, str | bool) else float(threshold)
            except (TypeError, ValueError, OverflowError):
                value = math.nan
            if not (math.isfinite(value) and value > 0):
                raise InputError(
                    f"The threshold η is {threshold!r}; it must be above 0 and finite, or None to reject nothing."
                )
            threshold = value
        self._threshold = threshold
        # Keras's loops have compiled the old value.
        self.predict_function = self.test_function = self.train_function = None

    def call(self, images: tf.Tensor, training: bool = False, seed: int | tf.Tensor | None = None) -> Classification:
        projection = self.projector(images, seed=seed)
        # A graph may have lost the shape of what a loop has made.
        logits = self._classify(tf.ensure_shape(projection.images, [None, *self.image_shape]))
        near = projection.distances < (math.inf if self.threshold is None else self.threshold)
        finite = tf.math.is_finite(projection.distances) & tf.reduce_all(tf.math.is_finite(logits), axis=1)
        return Classification(
            predictions=tf.argmax(logits, axis=1),
            rejected=~(near & finite),
            logits=logits,
            projections=projection.images,
            codes=projection.codes,
            distances=projection.distances,
        )

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None) -> Classification:
        """As Keras's, but Ctrl-C stops it at once; returns a `Classification` of arrays.

        A Python iterator yields batches of images, or tuples whose first item is one; `steps` of them are used, or all.
        Raises `InputError` as a call does.
        """
        if batch_size is not None:
            check_count(batch_size=batch_size)
        if isinstance(x, Iterator) and not isinstance(x, keras.utils.PyDataset):
            x, steps = self._gathered(itertools.islice(x, steps)), None
        x, predict = self._checked(x), super().predict
        with sentences_of_graphs():
            return interruptible(lambda: predict(x, batch_size, verbose, steps, callbacks))

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """As Keras's, on the logits. Raises `InputError` as a call does, and for missing or invalid labels."""
        with sentences_of_graphs():
            return super().evaluate(self._checked(x), y, *args, **kwargs)

    def fit(self, x=None, y=None, *args, **kwargs):
        """As Keras's: trains the classifier, on projections. Raises `InputError` as `evaluate` does."""
        with sentences_of_graphs():
            return super().fit(self._checked(x), y, *args, **kwargs)

    def predict_on_batch(self, x) -> Classification:
        """As Keras's. Raises `InputError` as a call does."""
        return super().predict_on_batch(self._checked(x))

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """As Keras's. Raises `InputError` as `evaluate` does."""
        with sentences_of_graphs():
            return super().test_on_batch(self._checked(x), y, *args, **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """As Keras's. Raises `InputError` as `evaluate` does."""
        with sentences_of_graphs():
            return super().train_on_batch(self._checked(x), y, *args, **kwargs)

    def _gathered(self, batches: Iterator) -> np.ndarray:
        """The images of all batches as one array, float32 [N, H, W, C]; their projections will be as large."""
        found = [as_images(batch[0] if isinstance(batch, tuple) else batch) for batch in batches]
        for images in found:
            check_images(images, self.image_shape, self.bounds)
        if not found:
            raise InputError(_NO_BATCH)
        return np.concatenate(found)

    def _checked(self, x):
        """Checked images as an array; data sets and generators unchanged, since the graph checks those."""
        if isinstance(x, tf.data.Dataset) and int(x.cardinality()) == 0:
            raise InputError(_NO_BATCH)
        if isinstance(x, tf.data.Dataset | keras.utils.PyDataset | Iterator):
            return x
        images = as_images(x)
        check_images(images, self.image_shape, self.bounds)
        return images.numpy()

    def save(self, filepath: str | Path, *args, **kwargs) -> None:
        """As Keras's, to a .keras file. Raises `InputError` for other files, .h5 for example, which could not be loaded
        again, and if two of its models share a weight, since loading would separate them.
        """
        if Path(filepath).suffix != ".keras":
            raise InputError(f"The file is {str(filepath)!r}; it must be a .keras file, 'defense.keras' say.")
        owners: dict[int, str] = {}
        for name, model in self._models():
            for weight in model.weights:
                if (owner := owners.setdefault(id(weight), name)) != name:
                    raise InputError(
                        f"The {owner} and the {name} share the weight {weight.path!r}, of which a .keras file holds "
                        f"one: give one of them a copy, copied = keras.models.clone_model({name}); "
                        f"copied.set_weights({name}.get_weights())."
                    )
        if self.compiled:
            self.optimizer.build(self.trainable_variables)  # its state is part of the file, also before `fit`
        super().save(filepath, *args, **kwargs)

    def _models(self) -> Iterator[tuple[str, keras.Model]]:
        """The models among its parts, with their roles."""
        yield "classifier", self.classifier
        for part in (self.projector, getattr(self.projector, "start", None)):
            for role in ("generator", "encoder"):
                if (model := getattr(part, role, None)) is not None:
                    yield role, model

    def compile(self, *args, jit_compile="auto", **kwargs) -> None:
        """As Keras's, but raises `InputError` for ``jit_compile=True``: a search decides for itself when to use XLA."""
        if jit_compile is True:
            raise InputError(
                "jit_compile is True, but a search in a loop cannot be compiled as a whole; leave it out: the parts "
                "that gain from XLA are compiled with it anyway."
            )
        super().compile(*args, jit_compile=False, **kwargs)

    def compile_from_config(self, config: dict) -> None:
        """As Keras's, which skips this if `compile` is overridden; a compiled defence is compiled when it is loaded."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def export(self, filepath: str | Path, *args, input_signature=None, **kwargs) -> None:
        """As Keras's, also before the first call; `inc_tf.serving.export` writes the format of TensorFlow Serving."""
        images = [keras.InputSpec(dtype="float32", shape=(None, *self.image_shape))]
        super().export(str(filepath), *args, input_signature=input_signature or images, **kwargs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if y is None:
            raise InputError("There are no labels; give them after the images, integers [N].")
        return super().compute_loss(x, y, y_pred.logits, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred.logits, sample_weight)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **serialized(classifier=self.classifier, projector=self.projector),
            "threshold": self.threshold,
            "bounds": list(self.bounds),
            "class_names": None if self.class_names is None else list(self.class_names),
        }

    @classmethod
    def from_config(cls, config: dict) -> InvertAndClassify:
        with weights_follow():
            return cls(**deserialized(config, "classifier", "projector"))

    def __repr__(self) -> str:
        search = [getattr(self.projector, part, None) for part in ("solver", "start")]
        inner = ", ".join(repr(part) for part in search if part is not None)
        (low, high), classes = self.bounds, self.classifier.output_shape[1]
        return (
            f"InvertAndClassify(threshold={self.threshold}, bounds=({low:g}, {high:g}),\n"
            f"  classifier={self.classifier.name!r}: {list(self.image_shape)} → {classes} classes,\n"
            f"  projector={type(self.projector).__name__}({inner}))"
        )


def _checked_names(names: Sequence[str] | None, classes: int) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or len(names) != classes or len(set(names)) != classes:
        raise InputError(f"The class names are {names!r}; they must be {classes} different names, one for each class.")
    return tuple(str(name) for name in names)


def threshold_at(clean_distances: np.ndarray, false_rejection_rate: float) -> float:
    """The smallest η that rejects at most the given share of clean images.

    Args:
      clean_distances: ‖G(z*) − x‖₂ of clean validation images (never the test images), float [N].
      false_rejection_rate: in [0, 1), e.g. 0.05.

    Raises `InputError` for another rate, and for distances that are not [N], N ≥ 1, or not finite.
    """
    rate = as_rejection_rate(false_rejection_rate)
    try:
        distances = np.asarray(clean_distances, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The distances are a {type(clean_distances).__name__}; they must be numbers, [N], as "
            "defense.predict(images).distances is."
        ) from error
    if distances.ndim != 1 or not len(distances) or not np.isfinite(distances).all():
        raise InputError(f"The distances have shape {distances.shape}; they must be [N], N ≥ 1, and finite.")
    distances = np.sort(distances)
    # An exact fraction, since 0.29 · 100 is 28.999… in binary.
    rejected = math.floor(Fraction(str(rate)) * len(distances))
    return float(np.nextafter(distances[len(distances) - rejected - 1], np.float32(np.inf)))
