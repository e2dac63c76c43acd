"""Solvers of min_z ‖G(z) − x‖₂², each in its own file."""

from inc_tf.projection.solvers.adam import Adam

__all__ = ["Adam"]
