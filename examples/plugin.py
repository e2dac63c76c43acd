"""A data set, a solver, a defence and an attack of one's own, each declared where it is written.

inc --plugin examples/plugin.py attack noise --defense evens-momentum --epsilon 0.5 --n 40
"""

from dataclasses import dataclass

import keras
import tensorflow as tf

import inc_tf as inc
from inc_tf import zoo
from inc_tf.projection.solvers.protocol import Solution, errors_and_gradients, signature
from inc_tf.saving import Settings


def load_evens(split):
    """The even ones of scikit-learn's digits."""
    digits = inc.data.load("digits", split)
    even = digits.labels % 2 == 0
    return digits.images[even], digits.labels[even]


inc.data.register(
    inc.data.Source(
        name="evens",
        load=load_evens,
        image_shape=(28, 28, 1),
        class_names=tuple("0123456789"),
        checkpoints={"classifier": "digits-classifier", "generative": "digits-vae"},
        default_defense="momentum",
    )
)


@keras.saving.register_keras_serializable(package="example")
@dataclass(frozen=True)
class Momentum(Settings):
    """Gradient descent with momentum on ‖G(z) − x‖₂², the best code kept."""

    learning_rate: float = 0.003
    momentum: float = 0.9
    steps: int = 300

    def compile(self, generator):
        """See `inc_tf.projection.solvers.protocol.Solver`."""

        @tf.function(input_signature=signature(generator), autograph=False)
        def minimize(images, codes):
            def step(z, velocity, best, least):
                errors, gradient = errors_and_gradients(generator, z, images)
                wins = errors < least
                best, least = tf.where(wins[:, None], z, best), tf.where(wins, errors, least)
                velocity = self.momentum * velocity - self.learning_rate * gradient
                return z + velocity, velocity, best, least

            unseen = tf.fill([tf.shape(codes)[0]], float("inf"))
            state = (codes, tf.zeros_like(codes), codes, unseen)
            _, _, best, least = tf.while_loop(lambda *_: True, step, state, maximum_iterations=self.steps)
            return Solution(best, least, tf.fill(tf.shape(least), self.steps), tf.zeros_like(least, tf.bool))

        return minimize

    def width(self, latent_dim):
        """See `inc_tf.projection.solvers.protocol.Solver`."""
        return 1


zoo.register(
    zoo.NamedDefense("momentum", "INC, momentum", lambda parts: zoo.inverting(parts, Momentum(), inc.Nearest()))
)


def noise(classifier, images, labels, *, bounds, seed=None, epsilon, tries=10):
    """The worst of several random changes at the corners of the ℓ∞ ball."""
    labels = tf.constant(labels)
    best = tf.constant(images)
    highest = inc.attacks.losses.margin(labels, classifier(best))
    for i in range(tries):
        signs = tf.sign(tf.random.stateless_uniform(images.shape, [seed or 0, i], -1.0, 1.0))
        tried = tf.clip_by_value(images + epsilon * signs, *bounds)
        reached = inc.attacks.losses.margin(labels, classifier(tried))
        best, highest = inc.attacks.losses.higher(best, highest, tried, reached)
    return best


inc.attacks.register(inc.attacks.Method("noise", noise, "noise, worst of {tries}", target="defense", gradient=False))
