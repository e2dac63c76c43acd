"""The paper's MNIST networks: TensorFlow's "MNIST for experts" classifier and J. H. Metzen's VAE.

Only the networks; `inc_tf.training` trains them and `inc_tf.checkpoints` loads trained ones. Their outputs are float32
whatever precision they compute in.
"""

import keras
import tensorflow as tf
from keras import layers

from inc_tf.saving import deserialized, serialized

IMAGE_SHAPE = (28, 28, 1)


def classifier() -> keras.Model:
    """C: the network of TensorFlow's tutorial `mnist_deep.py`, the paper's section 4.1.

    Input: float32 [N, 28, 28, 1] in [0, 1]. Output: float32 [N, 10], logits.
    """

    def weights() -> dict:
        return {
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.1),
            "bias_initializer": keras.initializers.Constant(0.1),
        }

    return keras.Sequential(
        [
            layers.Input(IMAGE_SHAPE),
            layers.Conv2D(32, 5, padding="same", activation="relu", **weights()),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 5, padding="same", activation="relu", **weights()),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(1024, activation="relu", **weights()),
            layers.Dropout(0.5),
            layers.Dense(10, dtype="float32", **weights()),
        ],
        name="mnist_classifier",
    )


@keras.saving.register_keras_serializable(package="inc_tf")
class VAE(keras.Model):
    """A variational autoencoder: `posterior` maps images to q(z|x), `generator` maps codes to images.

    Args:
      posterior: keras.Model, images [N, H, W, C] → (mean [N, k], log-variance [N, k]).
      generator: keras.Model, codes [N, k] → images [N, H, W, C] in [0, 1], the Bernoulli means. This is G.
    """

    def __init__(self, posterior: keras.Model, generator: keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.posterior = posterior
        self.generator = generator

    @property
    def encoder(self) -> keras.Model:
        """E: images [N, H, W, C] → codes [N, k], the mean of q(z|x); shares this model's weights."""
        return keras.Model(self.posterior.inputs, self.posterior.outputs[0], name="encoder")

    def call(self, images):
        """Autoencode: G(E(x)), float32 [N, H, W, C]."""
        return self.generator(self.posterior(images)[0])

    def negative_elbo(self, images: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """−ELBO of each image, float32 [N]: summed binary cross-entropy + KL(q(z|x) ‖ N(0, 1)).

        `noise` is standard normal, float32 [N, k].
        """
        mean, log_variance = self.posterior(images)
        output = self.generator(mean + tf.exp(0.5 * log_variance) * noise)
        tiny = 1e-10  # the reference's guard against log 0
        log_likelihood = images * tf.math.log(tiny + output) + (1 - images) * tf.math.log(tiny + 1 - output)
        kl = -0.5 * tf.reduce_sum(1 + log_variance - tf.square(mean) - tf.exp(log_variance), axis=1)
        return kl - tf.reduce_sum(log_likelihood, axis=[1, 2, 3])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **serialized(posterior=self.posterior, generator=self.generator),
        }

    @classmethod
    def from_config(cls, config: dict) -> "VAE":
        return cls(**deserialized(config, "posterior", "generator"))


def vae(latent_dim: int = 20) -> VAE:
    """J. H. Metzen's VAE (the paper's reference [22] notebook): 784-500-500-k-500-500-784, softplus, Xavier-uniform.

    `latent_dim`: k; 20 for every experiment but Figure 14's.
    """
    image = layers.Input(IMAGE_SHAPE)
    hidden = layers.Flatten()(image)
    hidden = layers.Dense(500, activation="softplus")(hidden)
    hidden = layers.Dense(500, activation="softplus")(hidden)
    posterior = keras.Model(
        image,
        [layers.Dense(latent_dim, name=head, dtype="float32")(hidden) for head in ("mean", "log_variance")],
        name="posterior",
    )
    generator = keras.Sequential(
        [
            layers.Input((latent_dim,)),
            layers.Dense(500, activation="softplus"),
            layers.Dense(500, activation="softplus"),
            layers.Dense(784, activation="sigmoid", dtype="float32"),
            layers.Reshape(IMAGE_SHAPE, dtype="float32"),
        ],
        name="generator",
    )
    return VAE(posterior, generator, name="mnist_vae")


def vae_2d() -> VAE:
    """The VAE of Figure 14, of which the whole latent space can be drawn: two latent dimensions."""
    return vae(latent_dim=2)
