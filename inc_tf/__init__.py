"""Invert-and-Classify: "The Robust Manifold Defense" in TensorFlow/Keras, reproduced, attacked and measured.

An image goes to a projector, which finds the closest image that a generator can make; the projection goes to a
classifier; an image that is too far from its projection is rejected.
"""

import importlib.metadata
import os

import lazy_loader

# TensorFlow's start-up notes would bury what a script prints; its errors still come as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = importlib.metadata.version("inc-tf")

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["attacks", "checkpoints", "data", "evaluation", "serving", "zoo"],
    submod_attrs={
        "attacks.toolboxes": ["to_art", "to_foolbox"],
        "defense": ["Classification", "InvertAndClassify", "threshold_at"],
        "errors": ["InputError"],
        "evaluation.evaluate": ["Evaluation", "evaluate"],
        "projection": [
            "JPEG",
            "LBFGS",
            "Adam",
            "BitDepth",
            "DeepImagePrior",
            "DiffusionProjector",
            "EncoderProjector",
            "ErrorBelow",
            "FromEncoder",
            "Interrupted",
            "LatentProjector",
            "LevenbergMarquardt",
            "Median",
            "Momentum",
            "MovingVariance",
            "Nearest",
            "Normal",
            "Projection",
            "Status",
            "TotalVariation",
            "Zeros",
        ],
        "smoothing": ["Certificate", "SmoothedClassifier"],
        "zoo": ["load"],
    },
)
