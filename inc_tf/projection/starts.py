"""Where a search for codes starts.

A start is a small serializable object. It has a number of `restarts` R and is called as
``start(images, latent_dim, seed) -> codes``, float32 [N, R, k], inside a graph.
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

from inc_tf.serialization import Settings


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class Normal(Settings):
    """z₀ ~ N(0, stddev²), drawn `restarts` times for each image; Algorithm 1 of the paper.

    An image's draws come from the seed and the image's own values, so they do not depend on the batch that it is in.
    """

    restarts: int = 1
    stddev: float = 1.0

    def __call__(self, images: tf.Tensor, latent_dim: int, seed: tf.Tensor) -> tf.Tensor:
        seeds = tf.stack([tf.fill([tf.shape(images)[0]], seed), _fingerprint(images)], axis=1)
        return tf.map_fn(
            lambda image_seed: tf.random.stateless_normal([self.restarts, latent_dim], image_seed, stddev=self.stddev),
            seeds,
            fn_output_signature=tf.TensorSpec([self.restarts, latent_dim], tf.float32),
        )


def _fingerprint(images: tf.Tensor) -> tf.Tensor:
    """A hash of each image's bits, int32 [N]; sums wrap around."""
    bits = tf.reshape(tf.bitcast(images, tf.int32), [tf.shape(images)[0], -1])
    weights = tf.random.stateless_uniform([tf.shape(bits)[1]], [0, 0], minval=None, maxval=None, dtype=tf.int32)
    return tf.reduce_sum(bits * weights, axis=1)
