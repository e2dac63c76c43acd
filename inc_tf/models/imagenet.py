"""Classifiers of ImageNet: ResNet152, which the paper defends with the deep image prior, and any other of Keras's.

Only the networks, each with its own preprocessing inside, so that what is attacked and defended takes images in
[−1, 1]: float32 [N, H, W, 3], RGB. Classes are in the order of their WordNet ids, which is TFDS's.
"""

import importlib
from pathlib import Path

import keras

from inc_tf.errors import InputError
from inc_tf.registry import suggestion
from inc_tf.saving import load_file

CLASSES = 1000
_PAPERS = "ResNet152"


@keras.saving.register_keras_serializable(package="inc_tf")
class Preprocessing(keras.layers.Layer):
    """[−1, 1] to what a network of `keras.applications` was trained on, e.g. BGR around ImageNet's means for ResNet.

    Args:
      network: its name there, e.g. `"ResNet152"`.
    """

    def __init__(self, network: str, **kwargs):
        super().__init__(**kwargs)
        self.network = network
        self._preprocess = importlib.import_module(_constructor(network).__module__).preprocess_input

    def call(self, images):
        return self._preprocess((images + 1.0) * 127.5)

    def get_config(self) -> dict:
        return {**super().get_config(), "network": self.network}


def resnet152(weights: str | Path | None = "imagenet") -> keras.Model:
    """The paper's classifier, section 4.4: float32 [N, 224, 224, 3] in [−1, 1] to logits [N, 1000]."""
    return application(_PAPERS, weights)


def application(name: str, weights: str | Path | None = "imagenet") -> keras.Model:
    """A classifier of `keras.applications`, e.g. `"ResNet152"`, for images in [−1, 1].

    Args:
      name: of the network.
      weights: `"imagenet"`, which Keras downloads once and keeps; the path of a file that `save_weights` wrote, or of
        Keras's own; None for random ones.

    Returns: a keras.Model to logits, float32 [N, 1000]. Raises `InputError` for an unknown name, for a file that is
    missing or of another network, and where the weights cannot be downloaded.
    """
    constructor = _constructor(name)
    from_file = weights is not None and weights != "imagenet"
    if from_file and not Path(str(weights)).is_file():
        raise InputError(f"There is no weights file {str(weights)!r} for {name}.")
    try:
        network = constructor(weights=None if weights is None else str(weights), classifier_activation=None)
    except Exception as error:  # a broken download and a file of another network fail in many ways
        reason = str(error).splitlines()[0][:200]
        if from_file:
            raise InputError(f"{str(weights)!r} does not hold weights of {name}: {reason}") from error
        raise InputError(
            f"{name}'s ImageNet weights could not be downloaded ({reason}): copy the file from a machine with a "
            "network to ~/.keras/models, or pass its path as the weights."
        ) from error
    images = keras.layers.Input(network.input_shape[1:])
    return keras.Model(images, network(Preprocessing(name)(images)), name=name)


def load_classifier(path_or_name: str) -> keras.Model:
    """The classifier of images in [−1, 1] that a user names: a `.keras` file, or a network of `keras.applications`.

    Raises `InputError` for a file that is missing or unreadable, for an unknown name, and for a model that does not map
    images [N, H, W, C] of a fixed size to one logit a class. Runs no code of the file.
    """
    classifier = load_file(Path(path_or_name)) if path_or_name.endswith(".keras") else application(path_or_name)
    shape = classifier.input_shape
    if len(shape) != 4 or None in shape[1:] or len(classifier.output_shape) != 2:
        raise InputError(
            f"The classifier {path_or_name!r} maps {shape} to {classifier.output_shape}; "
            "it must map images (None, H, W, C) of a fixed size to logits (None, classes)."
        )
    return classifier


def _constructor(name: str):
    constructor = getattr(keras.applications, name, None)
    if not name[:1].isupper() or not callable(constructor):
        known = [n for n in dir(keras.applications) if n[:1].isupper()]
        raise InputError(
            f"There is no network {name!r}; Keras has {', '.join(known)}, and a file's name ends in .keras."
            + suggestion(name, known)
        )
    return constructor
