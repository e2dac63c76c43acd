"""Solvers of min_z ‖G(z) − x‖₂², each in its own file."""

from inc_tf.projection.solvers.adam import Adam
from inc_tf.projection.solvers.lbfgs import LBFGS
from inc_tf.projection.solvers.levenberg_marquardt import LevenbergMarquardt

__all__ = ["LBFGS", "Adam", "LevenbergMarquardt"]
