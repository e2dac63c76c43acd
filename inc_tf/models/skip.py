"""Ulyanov's skip network, whose untrained structure is the deep image prior; the paper's section 4.4.

Only the network; `inc_tf.projection.DeepImagePrior` draws its weights and fits them to an image.
"""

import keras
import tensorflow as tf
from keras import layers

from inc_tf.errors import InputError
from inc_tf.models.upscaling import JoinedConvolution

SCALES = 5
INPUT_CHANNELS = 32
_SKIP_CHANNELS = 4


@keras.saving.register_keras_serializable(package="inc_tf")
class ReflectionPadding(layers.Layer):
    """One pixel around float [N, H, W, C], mirrored at the border's pixels, which are not repeated.

    A side of one pixel has nothing to mirror: it is repeated.
    """

    def call(self, images):
        reflected = [axis for axis in (1, 2) if images.shape[axis] > 1]
        for mode, axes in (("REFLECT", reflected), ("SYMMETRIC", {1, 2}.difference(reflected))):
            if axes:
                images = tf.pad(images, [[1, 1] if i in axes else [0, 0] for i in range(4)], mode)
        return images


@keras.saving.register_keras_serializable(package="inc_tf")
class BatchStatistics(layers.Layer):
    """Batch normalisation by the batch's own mean and variance always: γ(x − μ)/√(σ² + 10⁻⁵) + β.

    Input and output: float [N, H, W, C]; μ and σ² of each channel over the other axes. Keras's own layer keeps running
    means beside, which nothing here reads.
    """

    def build(self, shape):
        # The fused kernel takes both in float32 whatever the images are in.
        self.gamma = self.add_weight(name="gamma", shape=shape[-1:], initializer="ones", autocast=False)
        self.beta = self.add_weight(name="beta", shape=shape[-1:], initializer="zeros", autocast=False)

    def call(self, images):
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        # The fused kernel has no other public name; `tf.nn.moments` with `tf.nn.batch_normalization` takes 2.7 times as
        # long on the largest feature map, forward and backward.
        return tf.compat.v1.nn.fused_batch_norm(images, gamma, beta, epsilon=1e-5, is_training=True)[0]


def skip_network(shape: tuple[int, int, int] = (224, 224, 3), channels: int = 128) -> keras.Model:
    """The skip network of deep-image-prior's `denoising.ipynb`: 5 scales, 4 skip channels at each, 2.2 M parameters.

    On the way down each scale halves the size by a 3×3 convolution of stride 2 and has another of stride 1; on the way
    up it is doubled (bilinear), joined with the skip's 1×1 convolution, and followed by a 3×3 and a 1×1 convolution.
    Every convolution pads by reflection and is followed by `BatchStatistics` and LeakyReLU(0.2); what is joined is
    normalised too. The reference also has a bias in every convolution and a β where it joins; the next normalisation
    takes these away again, so all but the last bias are left out, and neither the output nor a gradient changes.

    Args:
      shape: [H, W, C] of the images; H and W divisible by 32.
      channels: of every convolution but the skips'; 128 in the reference.

    Returns: a keras.Model from float32 [N, H, W, 32] to float32 [N, H, W, C] in [0, 1]. Raises `InputError` for a size
    that 32 does not divide, or for no channels.
    """
    height, width, out = shape
    grain = 2**SCALES
    if height < 1 or width < 1 or height % grain or width % grain:
        raise InputError(f"The skip network was asked for images of {height}×{width}; {grain} must divide both sides.")
    if channels < 1 or out < 1:
        raise InputError(
            f"The skip network was asked for {channels} channels and images of {out}; both must be above 0."
        )
    noise = layers.Input((height, width, INPUT_CHANNELS))
    hidden = _scale(noise, channels, SCALES)
    image = layers.Conv2D(out, 1, activation="sigmoid", dtype="float32")(hidden)
    return keras.Model(noise, image, name="skip_network")


def _scale(x, channels: int, scales: int):
    """One scale and, within it, the `scales` − 1 below."""
    skipped = _convolution(x, _SKIP_CHANNELS, 1)
    deep = _convolution(_convolution(x, channels, 3, strides=2), channels, 3)
    if scales > 1:
        deep = _scale(deep, channels, scales - 1)
    return _convolution(_activated(JoinedConvolution(channels)([skipped, deep])), channels, 1)


def _convolution(x, filters: int, size: int, strides: int = 1):
    padded = ReflectionPadding()(x) if size > 1 else x
    return _activated(layers.Conv2D(filters, size, strides, padding="valid", use_bias=False)(padded))


def _activated(x):
    return layers.LeakyReLU(0.2)(BatchStatistics()(x))
