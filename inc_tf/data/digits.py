"""The handwritten digits that scikit-learn bundles, made to look like MNIST, for machines without MNIST."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inc_tf.data.source import SPLITS, Source, register

if TYPE_CHECKING:
    import numpy as np

_SIZES = {"train": 1197, "validation": 200, "test": 400}
_SPLIT_SEED = 0


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, 28, 28, 1] in [0, 1], resized from 8×8, and labels."""
    import numpy as np
    import tensorflow as tf
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(digits.images))
    start = sum(_SIZES[s] for s in SPLITS[: SPLITS.index(split)])
    rows = order[start : start + _SIZES[split]]
    small = digits.images[rows, ..., np.newaxis].astype(np.float32) / 16.0
    # Interpolation may overshoot by a rounding error.
    return np.clip(tf.image.resize(small, (28, 28)).numpy(), 0.0, 1.0), digits.target[rows]


register(
    Source(
        name="digits",
        title="digits",
        load=load,
        bundled=True,
        image_shape=(28, 28, 1),
        class_names=tuple("0123456789"),
        notice="scikit-learn's bundled digits (8×8, resized to 28×28, split by a fixed seed) stand in for MNIST.",
        checkpoints={
            "classifier": "digits-classifier",
            "manifold-trained": "digits-classifier-overpowered",
            "denoiser": "digits-diffusion",
            "generative": "digits-vae",
            "generative-2d": "digits-vae-2d",
        },
    )
)
