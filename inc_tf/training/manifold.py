"""Training against the overpowered attack: section 4.3, eqs. (4) to (6), (10) and (11).

To its loss on the data, the classifier adds one on pairs of images that are close together on the generator's range
but that it classifies differently. The pairs are those of `inc_tf.attacks.overpowered_pairs`, found against the
classifier at each step.
"""

from pathlib import Path

import keras
import tensorflow as tf

from inc_tf import checkpoints
from inc_tf.attacks.checks import check_positive
from inc_tf.attacks.lagrangian import Ascent, begin
from inc_tf.attacks.overpowered import LOSSES, PairSearch
from inc_tf.data import Dataset
from inc_tf.rows import select
from inc_tf.seeds import derive
from inc_tf.training import classifier, loop


def train(
    model: keras.Model,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    generator: str,
    eta: float,
    mu: float = 1.0,
    pairs: int = 64,
    attack_steps: int = 500,
    lifetime: int = 1,
    seed: int = 0,
    directory: Path,
    **arguments,
) -> float:
    """Train `model` as `classifier.train` does with `arguments`, and on pairs in each step; returns the seconds taken.

    Args:
      generator: the checkpoint whose range the pairs lie on: a model with a `generator`.
      eta: η, the largest distance within a pair.
      mu: μ, the weight of the pairs' loss relative to the cross-entropy on the data.
      pairs: number of pairs in a step.
      attack_steps: steps of the search before each training step; 500 in the paper.
      lifetime: for how many training steps the search for a pair continues before a new pair replaces it; 1 in the
        paper, where every step starts new ones. The pairs are replaced in turn.

    `settings` and `directory` are `loop.run`'s. Raises `InputError` for η, μ or a number that is not above 0.
    """
    check_positive(eta=eta, mu=mu, pairs=pairs, attack_steps=attack_steps, lifetime=lifetime)
    adversary = Overpowered(checkpoints.load(generator), model, eta, mu, pairs, attack_steps, lifetime, seed)
    return classifier.train(
        model,
        data,
        validation,
        settings=settings,
        adversary=adversary,
        seed=seed,
        directory=directory,
        **arguments,
    )


class Overpowered:
    """An adversary that keeps a set of pairs on the range of `generative`'s generator; see `train` for the rest."""

    def __init__(
        self,
        generative: keras.Model,
        model: keras.Model,
        eta: float,
        mu: float,
        pairs: int,
        attack_steps: int,
        lifetime: int,
        seed: int,
    ):
        self.model, self.generator = model, generative.generator
        # Steeper in λ than the attack's own: a pair has hundreds of steps to come close, not thousands.
        self.search = PairSearch(self.generator, model, eta, multiplier_rate=0.01)
        self.stddev = getattr(generative, "latent_stddev", 1.0)
        self.mu, self.pairs, self.attack_steps = mu, pairs, attack_steps
        self.lifetime, self.seed = lifetime, seed
        self._state = tf.nest.map_structure(lambda part: keras.Variable(part, trainable=False), begin(self._draw(0)))
        self.variables = tf.nest.flatten(self._state)

    def find(self, t: int, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The images of the pairs after their search, float32 [N, 2, H, W, C], and which keep to η, bool [N]."""
        images, feasible, state = self._attack(tf.constant(t), self._draw(t))
        for variable, part in zip(self.variables, tf.nest.flatten(state), strict=True):
            variable.assign(part)
        return images, feasible

    def loss(self, images: tf.Tensor, feasible: tf.Tensor) -> tuple[tf.Tensor, loop.Scalars]:
        """μ times the mean of ‖C(G(z)) − C(G(z′))‖² over the pairs that keep to η."""
        both = self.model(tf.concat([images[:, 0], images[:, 1]], axis=0), training=False)
        logits, others = tf.split(both, 2)
        valid = tf.cast(feasible, tf.float32)
        mean = tf.reduce_sum(valid * LOSSES["squared"](logits, others)) / tf.maximum(1.0, tf.reduce_sum(valid))
        flips = tf.cast(tf.argmax(logits, 1) != tf.argmax(others, 1), tf.float32)
        logged = {
            "pairs/loss": mean,
            "pairs/feasible": tf.reduce_mean(valid),
            "pairs/flips": tf.reduce_mean(valid * flips),
        }
        return self.mu * mean, logged

    @tf.function(reduce_retracing=True, autograph=False)
    def _attack(self, t: tf.Tensor, fresh: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, Ascent]:
        new = begin(fresh)
        old = tf.nest.map_structure(tf.convert_to_tensor, self._state)
        # What was best was best against an earlier classifier.
        old = old._replace(value=new.value, excess=new.excess)
        # Spread over a lifetime, so that every step has pairs of all ages.
        apart = max(1, self.lifetime // self.pairs)
        due = (t == 0) | ((tf.range(self.pairs) * apart + t) % self.lifetime == 0)
        state = select(due, new, old)
        state = self.search.advance(state, self.attack_steps)
        images = self.generator(tf.reshape(state.best, [-1, state.best.shape[2]]), training=False)
        return tf.reshape(images, [self.pairs, 2, *images.shape[1:]]), state.excess <= 0, state

    def _draw(self, t: int) -> tf.Tensor:
        """Codes of step `t`'s new pairs, float32 [N, 2, k]."""
        shape = [self.pairs, 2, self.generator.input_shape[1]]
        return tf.random.stateless_normal(shape, [derive(self.seed, "pairs"), t], stddev=self.stddev)
