"""Projectors, and the solvers and starts that they run on."""

from inc_tf.projection.encoder import EncoderProjector
from inc_tf.projection.latent import LatentProjector
from inc_tf.projection.projection import Projection
from inc_tf.projection.solvers import Adam
from inc_tf.projection.starts import Normal

__all__ = ["Adam", "EncoderProjector", "LatentProjector", "Normal", "Projection"]
