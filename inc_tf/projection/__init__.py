"""Projectors, and the solvers and starts that they run on."""

from inc_tf.projection import gradients
from inc_tf.projection.deep_image_prior import DeepImagePrior
from inc_tf.projection.encoder import EncoderProjector
from inc_tf.projection.latent import LatentProjector
from inc_tf.projection.projection import Interrupted, Projection, Status
from inc_tf.projection.solvers import LBFGS, Adam, LevenbergMarquardt
from inc_tf.projection.starts import FromEncoder, Nearest, Normal, Zeros
from inc_tf.projection.stopping import ErrorBelow, MovingVariance

__all__ = [
    "LBFGS",
    "Adam",
    "DeepImagePrior",
    "EncoderProjector",
    "ErrorBelow",
    "FromEncoder",
    "Interrupted",
    "LatentProjector",
    "LevenbergMarquardt",
    "MovingVariance",
    "Nearest",
    "Normal",
    "Projection",
    "Status",
    "Zeros",
    "gradients",
]
