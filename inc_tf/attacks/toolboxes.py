"""A whole defence as the model that other libraries attack: ART, Foolbox, and AutoAttack's TensorFlow adapter.

Predictions are the defence's own, search and all. The gradient, which a search does not have, is that of a stand-in
from `inc_tf.attacks.differentiable`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, get_args

import keras
import tensorflow as tf

from inc_tf.attacks.checks import Classifier, check_whole, images_of
from inc_tf.defense import InvertAndClassify
from inc_tf.errors import InputError

if TYPE_CHECKING:
    import foolbox
    from art.estimators.classification import TensorFlowV2Classifier

Rejection = Literal["ignored", "class"]

_ABOVE = 1.0  # the logit of a rejection above the greatest of the classes'


class Logits(keras.Model):
    """The logits of a defence, images float32 [N, H, W, C] → float32 [N, classes], with a gradient to the images.

    This is what `ModelAdapter` of AutoAttack's `utils_tf2` takes: ``ModelAdapter(Logits(defense), num_classes=10)``.
    On two classes its losses DLR and targeted DLR are undefined: leave ``apgd-ce``, ``fab`` and ``square``.

    Args:
      defense: C behind a projector.
      stand_in: whose gradient is taken, from images to logits, e.g. `implicit(defense)`; None: `straight_through`, BPDA
        with the identity, which any projector has and which proves little: a warning says so.
      rejection: what a rejected image counts as. `"ignored"`, the default: as the class of its projection, as if η were
        None. `"class"`: as one class more, the last, whose logit is then the greatest, float32 [N, classes + 1]; who
        counts every other class than the label counts a rejection as success of the attack, so that clean images that
        are rejected count against the defence and attacked ones do too, unless class `classes` is left out
        (`accepted_and_wrong` does that in Foolbox).

    Raises `InputError` for what is not a defence, and for another `rejection`.
    """

    def __init__(
        self,
        defense: InvertAndClassify,
        stand_in: Classifier | None = None,
        rejection: Rejection = "ignored",
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        check_whole(defense)
        if rejection not in get_args(Rejection):
            raise InputError(
                f"rejection is {rejection!r}; it must be one of {', '.join(map(repr, get_args(Rejection)))}."
            )
        made = callable(stand_in) and not hasattr(stand_in, "makes_stand_in") and not hasattr(stand_in, "projector")
        if stand_in is not None and not made:
            raise InputError(
                f"The stand-in is {stand_in!r}; it must be a function of images, "
                "inc.attacks.differentiable.implicit(defense) say."
            )
        if stand_in is None:
            warnings.warn(
                "Without a stand-in the gradient is BPDA's, through the identity, which proves little; "
                "inc.attacks.differentiable.implicit(defense) is one that follows the search.",
                stacklevel=2,
            )
        self.defense, self.stand_in, self.rejection = defense, stand_in, rejection

    def __call__(self, images, *args, **kwargs):
        """As Keras's, which would bury what is wrong with the images in a report on the call's arguments."""
        if not isinstance(images, keras.KerasTensor):
            images = images_of(self.defense, images)
        return super().__call__(images, *args, **kwargs)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        return (None, *self.defense.image_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        return (None, self.defense.classifier.output_shape[1] + (self.rejection == "class"))

    def build(self, input_shape) -> None:
        self.built = True  # as its parts are

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        low, high = self.defense.bounds
        answer = self.defense(tf.stop_gradient(tf.clip_by_value(images, low, high)))  # which rounding may have left
        if self.stand_in is None:
            passed = self.defense.classifier(images + tf.stop_gradient(answer.projections - images), training=False)
        else:
            passed = self.stand_in(images)
        logits = passed + tf.stop_gradient(answer.logits - passed)
        if self.rejection == "ignored":
            return logits
        greatest, least = tf.reduce_max(logits, axis=1), tf.reduce_min(logits, axis=1)
        rejected = tf.where(answer.rejected, greatest + _ABOVE, least - _ABOVE)
        return tf.concat([logits, tf.stop_gradient(rejected)[:, tf.newaxis]], axis=1)


def to_art(
    defense: InvertAndClassify, stand_in: Classifier | None = None, rejection: Rejection = "ignored"
) -> TensorFlowV2Classifier:
    """`defense` as an estimator of the Adversarial Robustness Toolbox, with the gradient of `stand_in`.

    `stand_in` and `rejection`, by default `"ignored"`, are those of `Logits`; without a stand-in ART's attacks run
    through BPDA. With `"class"` the estimator has one class more. Raises `InputError` where ART is not installed, and
    where `Logits` does.
    """
    try:
        from art.defences.preprocessor import Preprocessor
        from art.estimators.classification import TensorFlowV2Classifier
    except ModuleNotFoundError as error:
        raise InputError("to_art needs ART: pip install adversarial-robustness-toolbox.") from error

    class Checks(Preprocessor):
        """Changes nothing: it refuses images before ART puts them into a graph, which would bury the sentence."""

        def __call__(self, x, y=None):
            images_of(defense, x)
            return x, y

    logits = Logits(defense, stand_in, rejection)
    return TensorFlowV2Classifier(
        logits,
        nb_classes=logits.output_shape[1],
        input_shape=tuple(defense.image_shape),
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=defense.bounds,
        preprocessing_defences=Checks(),
    )


def to_foolbox(
    defense: InvertAndClassify, stand_in: Classifier | None = None, rejection: Rejection = "ignored"
) -> foolbox.Model:
    """`defense` as a model of Foolbox, with the gradient of `stand_in`.

    `stand_in` and `rejection`, by default `"ignored"`, are those of `Logits`; without a stand-in Foolbox's attacks run
    through BPDA. With `"class"`, ``attack(model, images, accepted_and_wrong(defense, labels), …)`` counts a rejection
    as a failure of the attack. Raises `InputError` where Foolbox is not installed, and where `Logits` does.
    """
    try:
        import foolbox
    except ModuleNotFoundError as error:
        raise InputError("to_foolbox needs Foolbox: pip install foolbox.") from error

    return foolbox.TensorFlowModel(Logits(defense, stand_in, rejection), bounds=defense.bounds, device=device())


def device() -> str:
    """Where Foolbox computes. It finds the same by itself, by a function that TensorFlow calls deprecated."""
    return "/GPU:0" if tf.config.list_physical_devices("GPU") else "/CPU:0"


def accepted_and_wrong(defense: InvertAndClassify, labels: tf.Tensor) -> foolbox.criteria.Misclassification:
    """Foolbox's criterion of an attack that is accepted and misclassified, for ``to_foolbox(…, rejection="class")``.

    Args:
      defense: the one that the model was made of.
      labels: the true classes, int64 [N].
    """
    import eagerpy
    import foolbox

    refused = defense.classifier.output_shape[1]

    class AcceptedAndWrong(foolbox.criteria.Misclassification):
        def __call__(self, perturbed, outputs):
            wrong, restored = eagerpy.astensor_(super().__call__(perturbed, outputs))
            return restored(wrong.logical_and(eagerpy.astensor(outputs).argmax(axis=-1) != refused))

    return AcceptedAndWrong(tf.convert_to_tensor(labels, tf.int64))
