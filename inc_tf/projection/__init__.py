"""Projectors, and the solvers and starts that they run on."""

from inc_tf.projection import gradients
from inc_tf.projection.deep_image_prior import DeepImagePrior
from inc_tf.projection.diffusion import DiffusionProjector
from inc_tf.projection.encoder import EncoderProjector
from inc_tf.projection.latent import LatentProjector
from inc_tf.projection.projection import Interrupted, Projection, Status
from inc_tf.projection.solvers import LBFGS, Adam, LevenbergMarquardt, Momentum
from inc_tf.projection.starts import FromEncoder, Nearest, Normal, Zeros
from inc_tf.projection.stopping import ErrorBelow, MovingVariance
from inc_tf.projection.transformations import JPEG, BitDepth, Median, TotalVariation

__all__ = [
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
    "gradients",
]
