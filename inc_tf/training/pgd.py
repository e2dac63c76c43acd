"""Training against PGD (Madry et al., 2018): the control with which a defence's robustness is compared.

Not in the paper. To its loss on the data, the classifier adds one on the images that PGD makes from each batch.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from inc_tf import attacks
from inc_tf.attacks.checks import check_epsilon, check_positive
from inc_tf.data import Bounds, Dataset
from inc_tf.seeds import derive
from inc_tf.training import classifier, loop


def train(
    model: keras.Model,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    epsilon: float = 0.3,
    attack_steps: int = 40,
    ramp: int = 1,
    growth: int = 1,
    mu: float = 1.0,
    seed: int = 0,
    directory: Path,
    **arguments,
) -> float:
    """Train `model` as `classifier.train` does with `arguments`, and on PGD's images; returns the seconds taken.

    Args:
      epsilon: ε of the ℓ∞ ball.
      attack_steps: steps of PGD; 40 in Madry et al.
      ramp: the number of training steps over which ε grows to its full size; a network that faces all of it from the
        start may not learn.
      growth: the number of training steps over which the attack grows to `attack_steps`: a weak attack costs little and
        is enough at first (Wong et al., 2020), but a network that faces no other learns to deceive it.
      mu: μ, the weight of the loss on the adversarial images relative to that on the data.

    `settings` and `directory` are `loop.run`'s. Raises `InputError` for an ε outside the data's range, and for numbers
    that are not above 0.
    """
    check_epsilon(epsilon, data.bounds)
    check_positive(epsilon=epsilon, attack_steps=attack_steps, ramp=ramp, growth=growth, mu=mu)
    adversary = PGD(model, data.bounds, epsilon, attack_steps, ramp, growth, mu, seed)
    return classifier.train(
        model, data, validation, settings=settings, adversary=adversary, seed=seed, directory=directory, **arguments
    )


@dataclass
class PGD:
    """An adversary that moves each batch within the ball; see `train` for the arguments."""

    model: keras.Model
    bounds: Bounds
    epsilon: float
    attack_steps: int
    ramp: int
    growth: int
    mu: float
    seed: int
    variables: list[keras.Variable] = field(default_factory=list, init=False)

    def find(self, t: int, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """PGD's images against the current classifier, float32 [N, H, W, C], and their labels."""
        found = attacks.pgd(
            self.model,
            images,
            labels,
            bounds=self.bounds,
            seed=derive(self.seed, "adversary", t),
            epsilon=self.epsilon * min(1.0, (t + 1) / self.ramp),
            steps=math.ceil(self.attack_steps * min(1.0, (t + 1) / self.growth)),
        )
        return found, labels

    def loss(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, loop.Scalars]:
        """μ times the cross-entropy on PGD's images."""
        logits = self.model(images, training=False)
        mean = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        right = tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == labels, tf.float32))
        return self.mu * mean, {"adversarial/loss": mean, "adversarial/accuracy": right}
