"""A plug-in: a data set, an attack, a solver, a projector and two defences of one's own, each declared here alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from inc_tf import attacks, data, zoo
from inc_tf.attacks.checks import check_answers
from inc_tf.checks import ChecksImages
from inc_tf.projection import Projection, Status, Zeros
from inc_tf.projection.solvers import Solution, Step, errors_and_gradients, minimizer, solver
from inc_tf.saving import Settings

digits = data.SOURCES["digits"]


def mirrored(split: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = digits.load(split)
    return images[:, :, ::-1].copy(), labels


data.register(
    replace(
        digits,
        name="toy",
        title="mirrored digits",
        load=mirrored,
        class_names=tuple(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]),
        default_defense="toy-search",
        shard=3,
    )
)


def darken(classifier, images, labels, *, bounds, seed=None, epsilon: float, share: float = 1.0) -> tf.Tensor:
    """Every pixel darker by a share of ε."""
    check_answers(classifier, images, labels, bounds)
    return tf.clip_by_value(tf.convert_to_tensor(images) - share * epsilon, *bounds)


attacks.register(attacks.Method("darken", darken, "darkening by {share:g}·ε", target="defense", gradient=False))


@solver("descent")
@dataclass(frozen=True)
class Descent(Settings):
    """z ← z − rate·g, g = ∂‖G(z) − x‖²/∂z, cut at length 10."""

    steps: int = 20
    rate: float = 0.02

    def compile(self, generator: keras.Model) -> Callable[[tf.Tensor, tf.Tensor], Solution]:
        def start(images, codes):
            errors, gradient = errors_and_gradients(generator, codes, images)
            return (codes, gradient), errors

        def step(images, state, t):
            codes, gradient = state
            codes -= self.rate * tf.clip_by_norm(gradient, 10.0, axes=1)
            errors, gradient = errors_and_gradients(generator, codes, images)
            return Step((codes, gradient), codes, errors, tf.norm(gradient, axis=1) < 1e-3)

        return minimizer(generator, start, step, self.steps)

    def width(self, latent_dim: int) -> int:
        return 1


@keras.saving.register_keras_serializable(package="toy")
class Levels(ChecksImages, keras.layers.Layer):
    """Rounds every pixel to one of a few levels."""

    def __init__(self, levels: int = 2, image_shape=(28, 28, 1), **kwargs):
        super().__init__(**kwargs)
        self.levels = levels
        self.image_shape = tuple(image_shape)

    def call(self, images: tf.Tensor, seed=None) -> Projection:
        rounded = tf.round(images * (self.levels - 1)) / (self.levels - 1)
        n = tf.shape(images)[0]
        distances = tf.sqrt(tf.reduce_sum(tf.math.squared_difference(rounded, images), axis=[1, 2, 3]))
        return Projection(
            rounded, tf.zeros([n, 0]), distances, tf.zeros([n], tf.int32), tf.fill([n], int(Status.CONVERGED))
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "levels": self.levels, "image_shape": list(self.image_shape)}


zoo.register(
    zoo.NamedDefense("toy-search", "INC, descent", lambda parts: zoo.inverting(parts, Descent(), Zeros()), color="C7")
)
zoo.register(
    zoo.NamedDefense("toy-levels", "two levels", lambda parts: zoo.behind(parts, Levels()), parts=("classifier",))
)
