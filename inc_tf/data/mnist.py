"""MNIST, from `tfds.load("mnist")`, in [0, 1]."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from inc_tf.data import tfds
from inc_tf.data.source import Source, register
from inc_tf.errors import InputError

if TYPE_CHECKING:
    import numpy as np

# TensorFlow's input_data, on which both reference networks were trained, keeps the last 5,000 training images back.
_SLICES = {"train": "train[:55000]", "validation": "train[55000:]", "test": "test"}
_DOWNLOAD = "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz"


def load(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 [N, 28, 28, 1] and labels. Raises `InputError` if MNIST is neither on disk nor downloadable."""
    # Asked first because TFDS by itself retries a missing network for minutes.
    if not tfds.prepared("mnist") and not tfds.reachable(_DOWNLOAD):
        raise InputError(tfds.missing("mnist"))
    import numpy as np
    import tensorflow_datasets

    images, labels = tensorflow_datasets.as_numpy(
        tensorflow_datasets.load(
            "mnist", split=_SLICES[split], data_dir=str(tfds.directory()), batch_size=-1, as_supervised=True
        )
    )
    return images.astype(np.float32) / 255.0, labels


def mnist_or_digits() -> str:
    """`"mnist"` if it is on disk or can be downloaded, else `"digits"`; decides in under five seconds.

    Raises `InputError` if `TFDS_DATA_DIR` is set but has no MNIST and there is no network, since that is more likely a
    mistake than a wish for the digits.
    """
    if tfds.prepared("mnist") or tfds.reachable(_DOWNLOAD):
        return "mnist"
    if "TFDS_DATA_DIR" in os.environ:
        raise InputError(tfds.missing("mnist"))
    return "digits"


register(
    Source(
        name="mnist",
        title="MNIST",
        load=load,
        image_shape=(28, 28, 1),
        class_names=tuple("0123456789"),
        checkpoints={
            "classifier": "mnist-classifier",
            "manifold-trained": "mnist-classifier-overpowered",
            "pgd-trained": "mnist-classifier-pgd",
            "noise-trained": "mnist-classifier-noise",
            "wgan": "mnist-wgan",
            "denoiser": "mnist-diffusion",
            "generative": "mnist-vae",
            "generative-seed-1": "mnist-vae-seed-1",
            "generative-seed-2": "mnist-vae-seed-2",
            "generative-2d": "mnist-vae-2d",
        },
    )
)
