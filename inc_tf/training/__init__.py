"""Training, each resumable: the recipes of the checkpoints that ship, and the loops behind them."""

from inc_tf.training.recipes import RECIPES, train

__all__ = ["RECIPES", "train"]
