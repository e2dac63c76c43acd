"""The paper's CelebA networks: the CIFAR-10 tutorial's classifier, for gender, and BEGAN.

Only the networks; `inc_tf.training` trains them and `inc_tf.checkpoints` loads trained ones. All images are float32
[N, 64, 64, 3] in [−1, 1].
"""

import keras
import tensorflow as tf
from keras import layers

from inc_tf.models.upscaling import UpConvolution
from inc_tf.saving import deserialized, serialized

IMAGE_SHAPE = (64, 64, 3)
CLASSES = ("female", "male")
_RESOLUTIONS = (8, 16, 32, 64)


@keras.saving.register_keras_serializable(package="inc_tf")
class LocalResponseNormalization(layers.Layer):
    """x / (1 + α Σ x²)^¾, the sum over the 2·4 + 1 channels around each one, with the CIFAR-10 tutorial's constants.

    Input and output: float [N, H, W, C]. Keras has no such layer, and TensorFlow's own kernel knows float32 alone and
    is slow on a CPU; here the sum is a product with a banded matrix, and s^−¾ two roots (2.7 times as fast).
    """

    radius, alpha = 4, 0.001 / 9

    def call(self, images):
        channels = images.shape[-1]
        band = tf.linalg.band_part(tf.ones([channels, channels], images.dtype), self.radius, self.radius)
        root = tf.math.rsqrt(1 + self.alpha * tf.tensordot(tf.square(images), band, 1))
        return images * root * tf.sqrt(root)


def classifier() -> keras.Model:
    """C: TensorFlow's CIFAR-10 tutorial network on 64×64 faces, the paper's section 4.1; its classes are `CLASSES`.

    Output: float32 [N, 2], logits. The tutorial's per-image standardisation is left out: it would change what ε means.
    """

    def weights(stddev: float, bias: float, decay: float = 0.0) -> dict:
        return {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=stddev),
            "bias_initializer": keras.initializers.Constant(bias),
            # TensorFlow's l2_loss is half the sum of squares.
            "kernel_regularizer": keras.regularizers.L2(decay / 2) if decay else None,
        }

    return keras.Sequential(
        [
            layers.Input(IMAGE_SHAPE),
            layers.Conv2D(64, 5, padding="same", activation="relu", **weights(0.05, 0.0)),
            layers.MaxPooling2D(3, 2, padding="same"),
            LocalResponseNormalization(),
            layers.Conv2D(64, 5, padding="same", activation="relu", **weights(0.05, 0.1)),
            LocalResponseNormalization(),
            layers.MaxPooling2D(3, 2, padding="same"),
            layers.Flatten(),
            layers.Dense(384, activation="relu", **weights(0.04, 0.1, decay=0.004)),
            layers.Dense(192, activation="relu", **weights(0.04, 0.1, decay=0.004)),
            layers.Dense(len(CLASSES), dtype="float32", **weights(1 / 192, 0.0)),
        ],
        name="celeba_classifier",
    )


@keras.saving.register_keras_serializable(package="inc_tf")
class BEGAN(keras.Model):
    """A boundary-equilibrium GAN: `generator` maps codes to images; the discriminator is `encoder` and `decoder`.

    Args:
      generator: keras.Model, codes [N, k] → images [N, 64, 64, 3], about [−1, 1] (nothing bounds them). This is G.
      encoder: keras.Model, images → codes of the decoder [N, k].
      decoder: keras.Model of the generator's shape, codes of the encoder → images.
      latent_stddev: σ of the codes that the generator was trained on, z ~ N(0, σ²); start a search from the same.
    """

    def __init__(
        self, generator: keras.Model, encoder: keras.Model, decoder: keras.Model, latent_stddev: float = 2.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.generator = generator
        self.encoder = encoder
        self.decoder = decoder
        self.latent_stddev = latent_stddev
        self.built = True  # its parts are

    def call(self, images):
        """The discriminator's reconstruction, float32 [N, 64, 64, 3]."""
        return self.decoder(self.encoder(images))

    def sample(self, n: int, seed: int) -> tf.Tensor:
        """G(z) of `n` codes drawn from the generator's own distribution, float32 [n, 64, 64, 3]."""
        shape = [n, self.generator.input_shape[1]]
        return self.generator(tf.random.stateless_normal(shape, [seed, 0], stddev=self.latent_stddev), training=False)

    def get_config(self) -> dict:
        parts = serialized(generator=self.generator, encoder=self.encoder, decoder=self.decoder)
        return {**super().get_config(), **parts, "latent_stddev": self.latent_stddev}

    @classmethod
    def from_config(cls, config: dict) -> "BEGAN":
        return cls(**deserialized(config, "generator", "encoder", "decoder"))


def began(width: int = 128, latent_dim: int = 128, convolutions: int = 1, latent_stddev: float = 2.0) -> BEGAN:
    """BEGAN as carpedm20/BEGAN-tensorflow has it, the generator of the paper's CelebA experiments.

    Args:
      width: n, filters of each convolution of the generator; 128 in the paper.
      latent_dim: k.
      convolutions: for each of the four resolutions. The paper's text counts one ("5 convolutional layers" with the
        last), the repository has two.
      latent_stddev: σ of z; the paper's text draws z ~ N(0, 4·1).
    """
    return BEGAN(
        _decoder("generator", width, latent_dim, convolutions),
        _encoder(width, latent_dim, convolutions),
        _decoder("decoder", width, latent_dim, convolutions),
        latent_stddev,
        name="celeba_began",
    )


def _convolution(filters: int, strides: int = 1) -> layers.Layer:
    return layers.Conv2D(filters, 3, strides, padding="same", activation="elu")


def _decoder(name: str, width: int, latent_dim: int, convolutions: int) -> keras.Model:
    code = layers.Input((latent_dim,))
    hidden = layers.Reshape((8, 8, width))(layers.Dense(8 * 8 * width)(code))
    for resolution in _RESOLUTIONS:
        for i in range(convolutions):
            doubles = i == 0 and resolution > _RESOLUTIONS[0]
            hidden = (UpConvolution(width, activation="elu") if doubles else _convolution(width))(hidden)
    image = layers.Conv2D(IMAGE_SHAPE[-1], 3, padding="same", dtype="float32")(hidden)
    return keras.Model(code, image, name=name)


def _encoder(width: int, latent_dim: int, convolutions: int) -> keras.Model:
    image = layers.Input(IMAGE_SHAPE)
    hidden = _convolution(width)(image)
    for i in range(len(_RESOLUTIONS)):
        for _ in range(convolutions):
            hidden = _convolution(width * (i + 1))(hidden)
        if i + 1 < len(_RESOLUTIONS):
            hidden = _convolution(width * (i + 2), strides=2)(hidden)
    return keras.Model(image, layers.Dense(latent_dim, dtype="float32")(layers.Flatten()(hidden)), name="encoder")
