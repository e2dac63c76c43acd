"""Projectors, and the solvers and starts that they run on."""

from inc_tf.projection import gradients
from inc_tf.projection.encoder import EncoderProjector
from inc_tf.projection.latent import LatentProjector
from inc_tf.projection.projection import Projection
from inc_tf.projection.solvers import LBFGS, Adam, LevenbergMarquardt
from inc_tf.projection.starts import Encoder, Nearest, Normal, Zeros

__all__ = [
    "LBFGS",
    "Adam",
    "Encoder",
    "EncoderProjector",
    "LatentProjector",
    "LevenbergMarquardt",
    "Nearest",
    "Normal",
    "Projection",
    "Zeros",
    "gradients",
]
