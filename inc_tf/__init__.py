"""Invert-and-Classify: "The Robust Manifold Defense" in TensorFlow/Keras, reproduced, attacked and measured.

An image goes to a projector, which answers the nearest image that a generator can make; the projection goes to a
classifier; an image that is too far from its projection is rejected.
"""

import os

# TensorFlow's start-up notes would bury what a script prints; its errors still come as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from inc_tf import attacks, checkpoints, data, evaluation
from inc_tf.checkpoints import load
from inc_tf.defense import Classification, InvertAndClassify, threshold_at
from inc_tf.errors import InputError
from inc_tf.interop import to_art, to_foolbox
from inc_tf.projection import (
    LBFGS,
    Adam,
    DeepImagePrior,
    Encoder,
    EncoderProjector,
    ErrorBelow,
    LatentProjector,
    LevenbergMarquardt,
    MovingVariance,
    Nearest,
    Normal,
    Projection,
    Zeros,
)

__all__ = [
    "LBFGS",
    "Adam",
    "Classification",
    "DeepImagePrior",
    "Encoder",
    "EncoderProjector",
    "ErrorBelow",
    "InputError",
    "InvertAndClassify",
    "LatentProjector",
    "LevenbergMarquardt",
    "MovingVariance",
    "Nearest",
    "Normal",
    "Projection",
    "Zeros",
    "attacks",
    "checkpoints",
    "data",
    "evaluation",
    "load",
    "threshold_at",
    "to_art",
    "to_foolbox",
]
