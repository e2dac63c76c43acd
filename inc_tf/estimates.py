"""What is measured, as pure functions of arrays: figures with their 95 % intervals."""

from typing import NamedTuple

import numpy as np
from scipy import special, stats


class Estimate(NamedTuple):
    """A figure with its 95 % interval [low, high], over n observations."""

    value: float
    low: float
    high: float
    n: int


def share(successes: np.ndarray) -> Estimate:
    """The share of true entries in bool [N], with the Wilson interval; accuracies are shares."""
    successes = np.asarray(successes, bool)
    interval = stats.binomtest(int(successes.sum()), successes.size).proportion_ci(method="wilson")
    return Estimate(float(successes.mean()), float(interval.low), float(interval.high), successes.size)


def mean(values: np.ndarray) -> Estimate:
    """The mean of float [N], N ≥ 2, with Student's t interval."""
    values = np.asarray(values, np.float64)
    value, margin = values.mean(), stats.sem(values) * stats.t.ppf(0.975, values.size - 1)
    return Estimate(float(value), float(value - margin), float(value + margin), values.size)


def kl_divergence(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """KL(p ‖ q) of each row, float64 [N], in nats; `one` and `other` are distributions p and q, float [N, classes].

    q is taken as at least 1e-12, what float32's softmax leaves of a class that is ruled out.
    """
    return special.rel_entr(np.asarray(one, np.float64), np.maximum(other, 1e-12)).sum(axis=1)


def roc_area(negatives: np.ndarray, positives: np.ndarray, seed: int = 0) -> Estimate:
    """The area under the ROC curve of a score that is higher for positives, with its bootstrap interval.

    `negatives`, float [N], and `positives`, float [M], are the scores, e.g. clean and adversarial images' distances.
    """

    def area(negatives: np.ndarray, positives: np.ndarray, axis: int = -1) -> np.ndarray:
        u = stats.mannwhitneyu(positives, negatives, axis=axis, method="asymptotic").statistic
        return u / (negatives.shape[axis] * positives.shape[axis])

    drawn = stats.bootstrap(
        (negatives, positives), area, vectorized=True, batch=100, n_resamples=1000, method="percentile", rng=seed
    )
    low, high = drawn.confidence_interval
    return Estimate(float(area(negatives, positives)), float(low), float(high), len(positives))
