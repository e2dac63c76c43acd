"""Randomised smoothing (Cohen et al., 2019): a classifier whose answer provably stays the same within an ℓ2 radius."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from inc_tf.checks import ChecksImages, as_images, as_seed, check_above_zero, check_bounds, check_count, check_images
from inc_tf.data import Bounds
from inc_tf.errors import InputError
from inc_tf.fit import fitted_classifier
from inc_tf.projection import gradients
from inc_tf.saving import deserialized, serialized

ABSTAIN = -1
"""The prediction of a classifier that abstains."""

_TOGETHER = 1000  # noisy copies that go through the network at once


class Certificate(NamedTuple):
    """What `SmoothedClassifier.certify` proves of N images, each with probability 1 − α.

    Attributes:
      predictions: the smoothed classifier's class, int64 [N], or `ABSTAIN`.
      radii: float32 [N], in the images' units: the prediction is the same for every image closer than this in ℓ2; 0
        where it abstains.
    """

    predictions: np.ndarray
    radii: np.ndarray


@keras.saving.register_keras_serializable(package="inc_tf")
class SmoothedClassifier(ChecksImages, keras.Model):
    """g(x) = argmax_c P(f(x + ε) = c), ε ~ N(0, σ²): the class that most noisy copies of an image are given.

    Args:
      classifier: f, a keras.Model from images to logits, trained on images with such noise.
      sigma: σ, in the images' units.
      samples: how many noisy copies of each image a call takes.
      bounds: (lowest, highest) value of a pixel, before the noise.

    Called as ``smoothed(images, seed=None) -> logits``, float32 [N, classes]: the logarithm of the mean of f's
    probabilities over the copies, through which a gradient flows (Salman et al., 2019). All images get the same noise
    from one seed, so that an answer does not depend on the batch; None is 0. A call proves nothing; `certify` does.
    Raises `InputError` for a model that is not a classifier, σ not above 0, no copies, and images of another size, type
    or range.
    """

    def __init__(
        self,
        classifier: keras.Model,
        sigma: float = 0.5,
        samples: int = 32,
        bounds: Bounds = (0.0, 1.0),
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})  # the classifier may have another policy
        check_above_zero(sigma=sigma)
        check_count(samples=samples)
        self.classifier = fitted_classifier(classifier)
        self.image_shape = tuple(self.classifier.input_shape[1:])
        self.sigma, self.samples = float(sigma), samples
        self.bounds: Bounds = check_bounds(bounds)
        self.build((None, *self.image_shape))

    def build(self, input_shape) -> None:
        self.built = True  # as its classifier is

    def call(self, images: tf.Tensor, training: bool = False, seed: int | None = None) -> tf.Tensor:
        noise = self._noise(self.samples, tf.stack([as_seed(seed), 0]))
        classify = gradients.frozen(self.classifier)
        probabilities = gradients.recomputed(lambda noisy: tf.nn.softmax(classify(noisy)))

        def add(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, total + probabilities(images + noise[i])

        none = tf.zeros([tf.shape(images)[0], self.classifier.output_shape[1]])
        total = tf.while_loop(lambda *_: True, add, (tf.constant(0), none), maximum_iterations=self.samples)[1]
        return tf.math.log(total / self.samples + 1e-30)

    def vote(self, images: tf.Tensor, *, n: int = 1000, alpha: float = 0.001, seed: int = 0) -> np.ndarray:
        """g(x) with abstention, int64 [N]: Cohen et al.'s PREDICT.

        Args:
          images: float32 [N, H, W, C] within the bounds.
          n: noisy copies of each image.
          alpha: α, the largest probability of returning a class other than g(x)'s; if a two-sided binomial test cannot
            tell the two leading classes apart at this level, the result is `ABSTAIN`.
          seed: of the noise.

        Raises `InputError` for α that is not between 0 and 1, no copies, and images that a call refuses.
        """
        self._check(images, alpha, n=n)
        counts = self._counts(images, n, seed, 0)
        order = np.sort(counts, axis=1)
        tied = [stats.binomtest(int(a), int(a + b)).pvalue > alpha for a, b in order[:, :-3:-1]]
        return np.where(tied, ABSTAIN, counts.argmax(axis=1))

    def certify(
        self, images: tf.Tensor, *, n: int = 100_000, first: int = 100, alpha: float = 0.001, seed: int = 0
    ) -> Certificate:
        """A radius within which g provably does not change, for each image: Cohen et al.'s CERTIFY, theorem 1.

        The class is chosen by `first` copies; `n` other copies give a lower bound p on the probability of that class at
        level 1 − α (Clopper and Pearson, 1934). The radius is σ·Φ⁻¹(p), or the result `ABSTAIN` if p ≤ ½.

        Args:
          images: float32 [N, H, W, C] within the bounds.
          n: noisy copies of each image; Cohen et al. take 100,000. No radius exceeds σ·Φ⁻¹(α^(1/n)).
          first: copies that choose the class.
          alpha: α.
          seed: of the noise.

        Raises `InputError` whenever `vote` does.
        """
        self._check(images, alpha, n=n, first=first)
        predictions = self._counts(images, first, seed, 1).argmax(axis=1)
        counts = self._counts(images, n, seed, 2)
        least = lower_bound(np.take_along_axis(counts, predictions[:, np.newaxis], axis=1)[:, 0], n, alpha)
        radii = np.where(least > 0.5, self.sigma * stats.norm.ppf(least), 0.0)
        return Certificate(np.where(least > 0.5, predictions, ABSTAIN), radii.astype(np.float32))

    def _check(self, images: tf.Tensor, alpha: float, **counts: int) -> None:
        check_images(as_images(images), self.image_shape, self.bounds)
        check_count(**counts)
        if not 0 < alpha < 1:
            raise InputError(f"alpha is {alpha!r}; it must be between 0 and 1.")

    def _counts(self, images: tf.Tensor, n: int, seed: int, stage: int) -> np.ndarray:
        """How many of n noisy copies of each image f gives each class, int64 [N, classes]."""
        count = self._counter()
        found = np.zeros([len(images), self.classifier.output_shape[1]], np.int64)
        for chunk, start in enumerate(range(0, n, _TOGETHER)):
            noise = self._noise(min(_TOGETHER, n - start), tf.stack([as_seed(seed), 1 + 3 * chunk + stage]))
            for i, image in enumerate(as_images(images)):
                found[i] += count(image, noise).numpy()
        return found

    def _counter(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        classes = self.classifier.output_shape[1]

        @tf.function(reduce_retracing=True, autograph=False)
        def count(image: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
            return tf.math.bincount(
                tf.argmax(self.classifier(image + noise, training=False), axis=1, output_type=tf.int32),
                minlength=classes,
            )

        return count

    def _noise(self, n: int, seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal([n, *self.image_shape], seed, stddev=self.sigma)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **serialized(classifier=self.classifier),
            "sigma": self.sigma,
            "samples": self.samples,
            "bounds": list(self.bounds),
        }

    @classmethod
    def from_config(cls, config: dict) -> "SmoothedClassifier":
        return cls(**deserialized(config, "classifier"))


def lower_bound(successes: np.ndarray, n: int, alpha: float) -> np.ndarray:
    """The one-sided bound of Clopper and Pearson (1934): a probability that is below the true one with probability
    1 − α, float64 [N].

    Args:
      successes: k of n, integers [N].
      n: trials.
      alpha: α.
    """
    successes = np.asarray(successes)
    return np.where(successes > 0, stats.beta.ppf(alpha, np.maximum(successes, 1), n - successes + 1), 0.0)
