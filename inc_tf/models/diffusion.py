"""Diffusion models: the schedule of the noise, and a small U-Net that predicts it (Ho et al., 2020).

Only the networks are here; `inc_tf.training` trains them and `inc_tf.checkpoints` loads trained ones.
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from inc_tf.checks import check_above_zero, check_count
from inc_tf.errors import InputError
from inc_tf.models.upscaling import UpConvolution
from inc_tf.saving import Settings

IMAGE_SHAPE = (28, 28, 1)

_FREQUENCIES = 16


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class LinearSchedule(Settings):
    """How much noise is added in each of T steps: β grows linearly (Ho et al., 2020, section 4).

    After t steps x_t = √ᾱ_t · x + √(1 − ᾱ_t) · ε, where ᾱ_t is the product of 1 − β_s over s ≤ t, and ᾱ_0 = 1.

    Attributes:
      steps: T.
      first: β of the first step.
      last: β of the last one.
    """

    steps: int = 1000
    first: float = 1e-4
    last: float = 0.02

    def __post_init__(self) -> None:
        check_count(steps=self.steps)
        check_above_zero(first=self.first, last=self.last)
        if max(self.first, self.last) >= 1:
            raise InputError(f"The schedule's β goes from {self.first:g} to {self.last:g}; it must stay below 1.")

    def signal(self) -> np.ndarray:
        """ᾱ_t for t = 0 … T, float64 [T + 1]."""
        return np.concatenate([[1.0], np.cumprod(1 - np.linspace(self.first, self.last, self.steps))])


@keras.saving.register_keras_serializable(package="inc_tf")
class TimeEmbedding(layers.Layer):
    """Sines and cosines of a time, at frequencies from 1 down to 1/10,000 per step (Vaswani et al., 2017).

    Input: times, [N]. Output: float32 [N, 32].
    """

    def call(self, times):
        frequencies = tf.exp(-math.log(10_000) * tf.range(_FREQUENCIES, dtype=tf.float32) / (_FREQUENCIES - 1))
        angles = tf.cast(times, tf.float32)[:, tf.newaxis] * frequencies
        return tf.concat([tf.sin(angles), tf.cos(angles)], axis=1)


def unet(width: int = 16) -> keras.Model:
    """ε(x_t, t), the network that predicts the noise in an image of MNIST's size.

    A U-Net of three resolutions, 28, 14 and 7, with `width`, 2·`width` and 4·`width` channels and residual blocks that
    each add a projection of the time's embedding; without the attention of Ho et al. (2020).

    Inputs: images, float32 [N, 28, 28, 1], of values about [−1, 1] before the noise; times, float32 [N], from 1 to T.
    Output: the noise, float32 [N, 28, 28, 1].
    """
    image, time = layers.Input(IMAGE_SHAPE, name="image"), layers.Input((), name="time")
    embedding = layers.Dense(4 * width, activation="silu")(TimeEmbedding(dtype="float32")(time))
    hidden = layers.Conv2D(width, 3, padding="same")(image)
    skips = []
    for scale in (1, 2):
        hidden = _block(hidden, embedding, scale * width)
        skips.append(hidden)
        hidden = layers.Conv2D(2 * scale * width, 3, strides=2, padding="same")(hidden)
    for _ in range(2):
        hidden = _block(hidden, embedding, 4 * width)
    for scale in (2, 1):
        hidden = layers.Concatenate()([UpConvolution(scale * width)(hidden), skips.pop()])
        hidden = _block(hidden, embedding, scale * width)
    noise = layers.Conv2D(IMAGE_SHAPE[-1], 3, padding="same", dtype="float32", kernel_initializer="zeros")(hidden)
    return keras.Model([image, time], noise, name="unet")


def _block(inputs, embedding, width: int):
    """A residual block, which begins as the identity, or as a 1×1 convolution where the width changes."""
    hidden = layers.Conv2D(width, 3, padding="same")(layers.Activation("silu")(inputs))
    shift = layers.Reshape((1, 1, width))(layers.Dense(width)(embedding))
    hidden = layers.Activation("silu")(layers.Add()([hidden, shift]))
    hidden = layers.Conv2D(width, 3, padding="same", kernel_initializer="zeros")(hidden)
    passed = inputs if inputs.shape[-1] == width else layers.Conv2D(width, 1)(inputs)
    return layers.Add()([passed, hidden])
