"""Solvers of min_z ‖G(z) − x‖₂², each in its own file; `protocol` says how to write one."""

from inc_tf.projection.solvers.adam import Adam
from inc_tf.projection.solvers.lbfgs import LBFGS
from inc_tf.projection.solvers.levenberg_marquardt import LevenbergMarquardt
from inc_tf.projection.solvers.momentum import Momentum
from inc_tf.projection.solvers.protocol import SOLVERS, Solution, Solver, errors_and_gradients, solver, squared_errors
from inc_tf.projection.solvers.search import Step, minimizer

__all__ = [
    "LBFGS",
    "SOLVERS",
    "Adam",
    "LevenbergMarquardt",
    "Momentum",
    "Solution",
    "Solver",
    "Step",
    "errors_and_gradients",
    "minimizer",
    "solver",
    "squared_errors",
]
