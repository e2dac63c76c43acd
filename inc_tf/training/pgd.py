"""Training against PGD (Madry et al., 2018): the control beside which a defence's robustness is read.

Not in the paper. The classifier keeps its loss on the data, and gains one on the images that PGD makes of each batch.
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
    """Train `model` as `classifier.train` does with `arguments`, each step also on PGD's images; returns the seconds.

    Args:
      epsilon: ε of the ℓ∞ ball.
      attack_steps: of PGD; Madry et al.'s 40.
      ramp: the training steps over which ε grows to its size; a network that meets all of it at once may not learn.
      growth: the training steps over which the attack grows to its steps: weak ones cost little and teach enough at
        first (Wong et al., 2020), but a network that meets no others learns to deceive them.
      mu: μ, the weight of the loss on the adversarial images beside that on the data.

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
        """PGD's images against the classifier as it is, float32 [N, H, W, C], and their labels."""
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
