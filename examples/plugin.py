"""A data set, a solver, a defence and an attack of one's own, each declared where it is written.

inc --plugin examples/plugin.py attack noise --defense evens-heavy-ball --epsilon 0.5 --n 40
"""

from dataclasses import dataclass

import tensorflow as tf

import inc_tf as inc
from inc_tf import zoo
from inc_tf.projection.solvers.protocol import errors_and_gradients, solver
from inc_tf.projection.solvers.search import Step, minimizer
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
        default_defense="heavy-ball",
    )
)


@solver("heavy-ball")
@dataclass(frozen=True)
class HeavyBall(Settings):
    """The heavy-ball method on ‖G(z) − x‖₂²."""

    learning_rate: float = 0.003
    momentum: float = 0.9
    steps: int = 300

    def compile(self, generator):
        """See `inc_tf.projection.solvers.protocol.Solver`; `minimizer` keeps the best code of all steps."""

        def start(images, codes):
            errors, gradient = errors_and_gradients(generator, codes, images)
            return (codes, tf.zeros_like(codes), gradient), errors

        def step(images, state, t):
            z, velocity, gradient = state
            velocity = self.momentum * velocity - self.learning_rate * gradient
            errors, gradient = errors_and_gradients(generator, z + velocity, images)
            never = tf.zeros_like(errors, tf.bool)  # done before the last step
            return Step((z + velocity, velocity, gradient), z + velocity, errors, never)

        return minimizer(generator, start, step, self.steps, stride=self.steps, compilable=True)

    def width(self, latent_dim):
        """See `inc_tf.projection.solvers.protocol.Solver`."""
        return 1


zoo.register(
    zoo.NamedDefense("heavy-ball", "INC, heavy ball", lambda parts: zoo.inverting(parts, HeavyBall(), inc.Nearest()))
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
