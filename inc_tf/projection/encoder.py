"""Appendix A: projection by one pass through an encoder, without a search."""

import keras
import tensorflow as tf

from inc_tf.checks import ChecksImages
from inc_tf.fit import fitted_encoder, fitted_generator
from inc_tf.projection.projection import Projection, in_one_pass
from inc_tf.saving import deserialized, serialized


@keras.saving.register_keras_serializable(package="inc_tf")
class EncoderProjector(ChecksImages, keras.layers.Layer):
    """x ↦ G(E(x)); behind a classifier it is Appendix A's Autoencode-and-Classify.

    Args:
      encoder: E, a keras.Model from images [N, H, W, C] to codes [N, k], e.g. a VAE's own.
      generator: G, a keras.Model from codes [N, k] to images [N, H, W, C].

    Called as ``projector(images, seed=None) -> Projection``, with 0 steps, converged; the seed is unused, since nothing
    is random. A gradient flows through it: the attack of eq. (12) needs only ``lambda x: defense(x).logits``. Raises
    `InputError` for parts that do not fit each other, and for images that are not float32 [N, H, W, C] of the
    generator's size, or that are not finite.
    """

    def __init__(self, encoder: keras.Model, generator: keras.Model, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})  # its parts may have another policy
        self.generator = fitted_generator(generator)
        self.encoder = fitted_encoder(encoder, self.generator)
        self.image_shape = self.generator.output_shape[1:]

    def call(self, images: tf.Tensor, seed: int | tf.Tensor | None = None) -> Projection:
        codes = self.encoder(images, training=False)
        return in_one_pass(images, self.generator(codes, training=False), codes)

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(encoder=self.encoder, generator=self.generator)}

    @classmethod
    def from_config(cls, config: dict) -> "EncoderProjector":
        return cls(**deserialized(config, "encoder", "generator"))
