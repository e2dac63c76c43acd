"""Invert-and-Classify: a classifier behind a projector, and a threshold on the distance between them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from inc_tf.checks import ChecksImages
from inc_tf.data import Bounds
from inc_tf.errors import InputError
from inc_tf.saving import deserialized, serialized


class Classification(NamedTuple):
    """What `InvertAndClassify` answers for a batch of N images.

    Attributes:
      predictions: the class of each projection, int64 [N]; also where the input is rejected.
      rejected: whether the distance is at least η, bool [N].
      logits: of the classifier on the projections, float32 [N, classes].
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


@keras.saving.register_keras_serializable(package="inc_tf")
class InvertAndClassify(ChecksImages, keras.Model):
    """Project an image, reject it if it is too far from its projection, and classify the projection; Algorithm 1.

    Args:
      classifier: C, a keras.Model from images to logits.
      projector: a Keras layer called as ``projector(images, seed=None) -> Projection``, e.g. `LatentProjector`.
      threshold: η, in the distance's unit: images at ‖G(z*) − x‖₂ ≥ η are rejected. None rejects nothing;
        `threshold_at` sets it from clean images.
      bounds: the range of the images' values; None is the projector's own where it has one, else [0, 1].

    Called as ``defense(images, seed=None) -> Classification``; None is seed 0. `predict` answers the same as arrays.
    Losses and metrics of `evaluate` are given the logits, of rejected inputs too.
    Raises `InputError` for images of another shape or type, outside the bounds, or not finite.
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
        super().__init__(**kwargs)
        if threshold is not None and not threshold > 0:
            raise InputError(f"The threshold η is {threshold}; it must be above 0, or None to reject nothing.")
        self.classifier = classifier
        self.image_shape = classifier.input_shape[1:]
        self.projector = projector
        self.threshold = threshold
        low, high = bounds or getattr(projector, "bounds", None) or (0.0, 1.0)
        self.bounds: Bounds = (low, high)
        self.class_names = None if class_names is None else tuple(class_names)

    def call(self, images: tf.Tensor, training: bool = False, seed: int | tf.Tensor | None = None) -> Classification:
        projection = self.projector(images, seed=seed)
        logits = self.classifier(projection.images, training=False)
        return Classification(
            predictions=tf.argmax(logits, axis=1),
            rejected=projection.distances >= (math.inf if self.threshold is None else self.threshold),
            logits=logits,
            projections=projection.images,
            codes=projection.codes,
            distances=projection.distances,
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
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
    def from_config(cls, config: dict) -> "InvertAndClassify":
        return cls(**deserialized(config, "classifier", "projector"))


def threshold_at(clean_distances: np.ndarray, false_rejection_rate: float) -> float:
    """The least η that rejects at most the given share of clean images.

    Args:
      clean_distances: ‖G(z*) − x‖₂ of clean validation images (never the test images), float [N].
      false_rejection_rate: in [0, 1), e.g. 0.05.
    """
    distances = np.sort(np.asarray(clean_distances, np.float32))
    if not 0 <= false_rejection_rate < 1:
        raise InputError(f"The false-rejection rate is {false_rejection_rate}; it must be in [0, 1).")
    if distances.ndim != 1 or not len(distances) or not np.isfinite(distances).all():
        raise InputError(f"The distances have shape {distances.shape}; they must be [N], N ≥ 1, and finite.")
    rejected = math.floor(false_rejection_rate * len(distances))
    return float(np.nextafter(distances[len(distances) - rejected - 1], np.float32(np.inf)))
