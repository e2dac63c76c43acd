"""Training, each resumable: the recipes of the checkpoints that ship, and the loops behind them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "inversion_encoder": ["train_inversion_encoder"],
        "recipes": ["RECIPES", "train"],
        "substitute": ["train_substitute"],
    },
)
