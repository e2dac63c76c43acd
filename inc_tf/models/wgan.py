"""The Wasserstein GAN of Defense-GAN's MNIST experiments (Samangouei et al., 2018; Gulrajani et al., 2017).

Only the networks are here; `inc_tf.training` trains them and `inc_tf.checkpoints` loads trained ones.
"""

import keras
import tensorflow as tf
from keras import layers

from inc_tf.saving import deserialized, serialized

IMAGE_SHAPE = (28, 28, 1)


@keras.saving.register_keras_serializable(package="inc_tf")
class WGAN(keras.Model):
    """A Wasserstein GAN: `generator` maps codes z ~ N(0, 1) to images, `critic` images to a score.

    Args:
      generator: keras.Model, codes [N, k] → images [N, H, W, C] in [0, 1]. This is G.
      critic: keras.Model, images → scores [N, 1], higher for images that look real.
    """

    def __init__(self, generator: keras.Model, critic: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.generator = generator
        self.critic = critic
        self.built = True  # its parts are

    def call(self, images):
        """The critic's scores, float32 [N, 1]."""
        return self.critic(images)

    def sample(self, n: int, seed: int) -> tf.Tensor:
        """G(z) of `n` codes z ~ N(0, 1), float32 [n, H, W, C]."""
        codes = tf.random.stateless_normal([n, self.generator.input_shape[1]], [seed, 0])
        return self.generator(codes, training=False)

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(generator=self.generator, critic=self.critic)}

    @classmethod
    def from_config(cls, config: dict) -> "WGAN":
        return cls(**deserialized(config, "generator", "critic"))


def wgan(width: int = 64, latent_dim: int = 128) -> WGAN:
    """The networks of Defense-GAN's code for MNIST, which are those of Gulrajani et al. (2017).

    Args:
      width: channels of the last hidden layer; 64 in that code.
      latent_dim: k; 128 in that code.
    """
    generator = keras.Sequential(
        [
            layers.Input((latent_dim,)),
            layers.Dense(4 * 4 * 4 * width, activation="relu", kernel_initializer="he_normal"),
            layers.Reshape((4, 4, 4 * width)),
            _doubled(2 * width, "relu"),
            layers.Cropping2D(((0, 1), (0, 1))),
            _doubled(width, "relu"),
            _doubled(IMAGE_SHAPE[-1], "sigmoid", dtype="float32"),
        ],
        name="generator",
    )
    critic = keras.Sequential(
        [
            layers.Input(IMAGE_SHAPE),
            *(layer for scale in (1, 2, 4) for layer in (_halved(scale * width), layers.LeakyReLU(0.2))),
            layers.Flatten(),
            layers.Dense(1, dtype="float32"),
        ],
        name="critic",
    )
    return WGAN(generator, critic, name="mnist_wgan")


def _doubled(filters: int, activation: str, **kwargs) -> layers.Layer:
    return layers.Conv2DTranspose(filters, 5, 2, "same", activation=activation, **kwargs)


def _halved(filters: int) -> layers.Layer:
    return layers.Conv2D(filters, 5, 2, "same", kernel_initializer="he_normal")
