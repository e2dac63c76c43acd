"""Where a search for codes starts.

A start is a small serializable object with a number of `restarts` R. ``start.compile(generator)`` returns two functions
for use inside a graph: ``prepare(seed) -> shared`` takes a scalar seed, int32, and returns a tuple of tensors of fixed
shape that all images share; ``draw(images, seeds, *shared) -> codes`` takes seeds int32 [N], one for each image, and
draws codes float32 [N, R, k]. What it draws for an image does not depend on the others in the batch. If something is
shared, all images have the seed that it was prepared from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import keras
import tensorflow as tf

from inc_tf.checks import check_above_zero, check_count
from inc_tf.errors import InputError
from inc_tf.fit import fitted_encoder
from inc_tf.saving import Settings, deserialized, serialized

_CHUNK = 128  # candidates that go through the generator at once

Prepare = Callable[[tf.Tensor], tuple[tf.Tensor, ...]]
Draw = Callable[..., tf.Tensor]


def _nothing(seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
    return ()


class Start(Protocol):
    """See the module."""

    @property
    def restarts(self) -> int:
        """R."""

    def compile(self, generator: keras.Model) -> tuple[Prepare, Draw]:
        """See the module."""


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class Normal(Settings):
    """z₀ ~ N(0, stddev²), drawn `restarts` times for each image; Algorithm 1 of the paper.

    An image's draws come from the seed and the image's own values, so they do not depend on the batch that it is in.
    """

    restarts: int = 1
    stddev: float = 1.0

    def __post_init__(self) -> None:
        check_count(restarts=self.restarts)
        check_above_zero(stddev=self.stddev)

    def __call__(self, images: tf.Tensor, latent_dim: int, seeds: tf.Tensor) -> tf.Tensor:
        """Draws codes, float32 [N, R, k], from each image's seed, int32 [N], or from one seed for all."""
        seeds = tf.stack([tf.broadcast_to(seeds, tf.shape(images)[:1]), fingerprint(images)], axis=1)
        return tf.map_fn(
            lambda image_seed: tf.random.stateless_normal([self.restarts, latent_dim], image_seed, stddev=self.stddev),
            seeds,
            fn_output_signature=tf.TensorSpec([self.restarts, latent_dim], tf.float32),
        )

    def compile(self, generator: keras.Model) -> tuple[Prepare, Draw]:
        """See the module."""
        return _nothing, lambda images, seeds: self(images, generator.input_shape[1], seeds)


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class Zeros(Settings):
    """z₀ = 0, the mean of the generator's prior. Nothing is random, so the seed does not matter."""

    @property
    def restarts(self) -> int:
        """One."""
        return 1

    def compile(self, generator: keras.Model) -> tuple[Prepare, Draw]:
        """See the module."""
        return _nothing, lambda images, seeds: tf.zeros([tf.shape(images)[0], 1, generator.input_shape[1]])


@keras.saving.register_keras_serializable(package="inc_tf")
@dataclass(frozen=True)
class Nearest(Settings):
    """The `restarts` codes out of `candidates` random ones, z ~ N(0, stddev²), whose images are closest to x.

    All images share the candidates, so the start costs each image one product with their pixels; the candidates
    themselves cost as much as that many images through the generator, once for each seed.
    """

    restarts: int = 1
    candidates: int = 4096
    stddev: float = 1.0

    def __post_init__(self) -> None:
        check_count(restarts=self.restarts, candidates=self.candidates)
        check_above_zero(stddev=self.stddev)
        if self.restarts > self.candidates:
            raise InputError(
                f"{self.restarts} restarts of {self.candidates} candidates; restarts must be from 1 to "
                "the number of candidates."
            )

    def compile(self, generator: keras.Model) -> tuple[Prepare, Draw]:
        """See the module."""
        k = generator.input_shape[1]

        def prepare(seed):
            chunks = -(-self.candidates // _CHUNK)
            codes = tf.random.stateless_normal([chunks, _CHUNK, k], tf.stack([seed, 0]), stddev=self.stddev)
            outputs = tf.map_fn(lambda chunk: generator(chunk, training=False), codes, parallel_iterations=1)
            outputs = tf.reshape(outputs, [chunks * _CHUNK, -1])[: self.candidates]
            return tf.reshape(codes, [-1, k])[: self.candidates], outputs, tf.reduce_sum(tf.square(outputs), axis=1)

        def draw(images, seeds, codes, outputs, squares):
            flat = tf.reshape(images, [tf.shape(images)[0], -1])
            # ‖G(z)‖² − 2⟨G(z), x⟩ orders the candidates of an image as their distances do.
            order = squares - 2 * tf.matmul(flat, outputs, transpose_b=True)
            return tf.gather(codes, tf.math.top_k(-order, self.restarts).indices)

        return prepare, draw


@keras.saving.register_keras_serializable(package="inc_tf")
class FromEncoder(keras.layers.Layer):
    """z₀ = E(x), one forward pass; Appendix A of the paper. Nothing is random, so the seed does not matter.

    Args:
      encoder: E, a keras.Model from images [N, H, W, C] to codes [N, k]. A layer holds it so that Keras saves its
        weights with the projector's.
    """

    restarts = 1

    def __init__(self, encoder: keras.Model, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})  # the encoder may have another policy
        self.encoder = fitted_encoder(encoder)
        self.built = True  # there is nothing to build but the encoder, which is

    def compile(self, generator: keras.Model) -> tuple[Prepare, Draw]:
        """See the module. Raises `InputError` if E does not map G's images to G's codes."""
        encoder = fitted_encoder(self.encoder, generator)
        return _nothing, lambda images, seeds: encoder(images, training=False)[:, tf.newaxis]

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(encoder=self.encoder)}

    @classmethod
    def from_config(cls, config: dict) -> "FromEncoder":
        return cls(**deserialized(config, "encoder"))


def fingerprint(images: tf.Tensor) -> tf.Tensor:
    """A hash of each image's bits, int32 [N]; sums wrap around."""
    bits = tf.reshape(tf.bitcast(images, tf.int32), [tf.shape(images)[0], -1])
    weights = tf.random.stateless_uniform([tf.shape(bits)[1]], [0, 0], minval=None, maxval=None, dtype=tf.int32)
    return tf.reduce_sum(bits * weights, axis=1)
