"""Invert-and-Classify: "The Robust Manifold Defense" in TensorFlow/Keras, reproduced, attacked and measured.

An image goes to a projector, which answers the nearest image that a generator can make; the projection goes to a
classifier; an image that is too far from its projection is rejected.
"""

from inc_tf import attacks, checkpoints, data, evaluation
from inc_tf.checkpoints import load
from inc_tf.defense import Classification, InvertAndClassify, threshold_at
from inc_tf.errors import InputError
from inc_tf.projection import Adam, EncoderProjector, LatentProjector, Normal, Projection

__all__ = [
    "Adam",
    "Classification",
    "EncoderProjector",
    "InputError",
    "InvertAndClassify",
    "LatentProjector",
    "Normal",
    "Projection",
    "attacks",
    "checkpoints",
    "data",
    "evaluation",
    "load",
    "threshold_at",
]
