"""A whole defence as the model that other libraries attack: ART, Foolbox, and AutoAttack's TensorFlow adapter.

Predictions are the defence's own, search and all. The gradient, which a search does not have, is that of a stand-in
from `inc_tf.attacks.differentiable`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from inc_tf.attacks.checks import Classifier
from inc_tf.attacks.differentiable import straight_through
from inc_tf.defense import InvertAndClassify
from inc_tf.errors import InputError

if TYPE_CHECKING:
    import foolbox
    from art.estimators.classification import TensorFlowV2Classifier


class Logits(keras.Model):
    """The logits of a defence, images float32 [N, H, W, C] → float32 [N, classes], with a gradient to the images.

    This is what `ModelAdapter` of AutoAttack's `utils_tf2` takes: ``ModelAdapter(Logits(defense), num_classes=10)``.
    On two classes its losses DLR and targeted DLR are undefined: leave ``apgd-ce``, ``fab`` and ``square``.

    Args:
      defense: C behind a projector.
      stand_in: whose gradient is taken, from images to logits, e.g. `implicit(defense)`; None: `straight_through`, BPDA
        with the identity, which any projector has and which proves little.
    """

    def __init__(self, defense: InvertAndClassify, stand_in: Classifier | None = None, **kwargs):
        super().__init__(**kwargs)
        self.defense, self.stand_in = defense, stand_in
        self._straight_through = straight_through(defense)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return (None, *self.defense.image_shape)

    def build(self, input_shape) -> None:
        self.built = True  # as its parts are

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        if self.stand_in is None:
            return self._straight_through(images)
        passed = self.stand_in(images)
        return passed + tf.stop_gradient(self.defense(images).logits - passed)


def to_art(defense: InvertAndClassify, stand_in: Classifier | None = None) -> TensorFlowV2Classifier:
    """`defense` as an estimator of the Adversarial Robustness Toolbox, with the gradient of `stand_in`; see `Logits`.

    Raises `InputError` where ART is not installed.
    """
    try:
        from art.estimators.classification import TensorFlowV2Classifier
    except ModuleNotFoundError as error:
        raise InputError("to_art needs ART: pip install adversarial-robustness-toolbox.") from error

    return TensorFlowV2Classifier(
        Logits(defense, stand_in),
        nb_classes=defense.classifier.output_shape[1],
        input_shape=tuple(defense.image_shape),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=defense.bounds,
    )


def to_foolbox(defense: InvertAndClassify, stand_in: Classifier | None = None) -> foolbox.Model:
    """`defense` as a model of Foolbox, with the gradient of `stand_in`; see `Logits`.

    Raises `InputError` where Foolbox is not installed.
    """
    try:
        import foolbox
    except ModuleNotFoundError as error:
        raise InputError("to_foolbox needs Foolbox: pip install foolbox.") from error

    return foolbox.TensorFlowModel(Logits(defense, stand_in), bounds=defense.bounds)
