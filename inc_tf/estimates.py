"""Estimates with 95 % intervals, as pure functions of arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

_RESAMPLES = 10_000


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
    """The mean of float [N], N ≥ 1, with Student's t interval, whose ends are NaN for one value."""
    values = np.asarray(values, np.float64)
    value = values.mean()
    margin = stats.sem(values) * stats.t.ppf(0.975, values.size - 1) if values.size > 1 else np.nan
    return Estimate(float(value), float(value - margin), float(value + margin), values.size)


def kl_divergence(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """KL(p ‖ q) of each row, float64 [N], in nats; `one` and `other` are the distributions p and q, float [N, classes].

    q is taken as at least 1e-12, what float32's softmax leaves of a class that is ruled out.
    """
    return special.rel_entr(np.asarray(one, np.float64), np.maximum(other, 1e-12)).sum(axis=1)


def bootstrapped_mean(values: np.ndarray, seed: int = 0) -> Estimate:
    """The mean of float [N], with the percentile interval of 10,000 bootstrap samples."""
    values = np.asarray(values, np.float64)
    counts = np.random.default_rng(seed).multinomial(values.size, np.full(values.size, 1 / values.size), _RESAMPLES)
    low, high = np.quantile(counts @ values / values.size, [0.025, 0.975])
    return Estimate(float(values.mean()), float(low), float(high), values.size)


def roc_area(negatives: np.ndarray, positives: np.ndarray) -> Estimate:
    """The area under the ROC curve of a score that is higher for positives, with DeLong's interval.

    `negatives`, float [N], and `positives`, float [M], are the scores, e.g. clean and adversarial images' distances;
    N, M ≥ 2. Source: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated receiver
    operating characteristic curves", 1988.
    """
    areas, covariance = _delong([negatives], [positives])
    return _normal(areas[0], covariance[0, 0], len(positives))


def roc_difference(negatives: Sequence[np.ndarray], positives: Sequence[np.ndarray]) -> Estimate:
    """The first score's ROC area minus the second's, with the interval of DeLong's paired test.

    `negatives` and `positives` hold both scores of the same images, float [N] and float [M] each; see `roc_area`.
    """
    areas, covariance = _delong(negatives, positives)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return _normal(areas[0] - areas[1], variance, len(positives[0]))


def _delong(negatives: Sequence[np.ndarray], positives: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The areas of several scores of the same images, [S], and their covariance, [S, S]."""
    # ψ: the share of the others that each image is in order with; a tie is half.
    by_positive, by_negative = [], []
    for low, high in zip(negatives, positives, strict=True):
        order = np.sign(np.asarray(high, np.float64)[:, np.newaxis] - np.asarray(low, np.float64)) / 2 + 0.5
        by_positive.append(order.mean(axis=1))
        by_negative.append(order.mean(axis=0))
    spread = [np.atleast_2d(np.cov(parts)) / len(parts[0]) for parts in (by_positive, by_negative)]
    return np.mean(by_positive, axis=1), spread[0] + spread[1]


def _normal(value: float, variance: float, n: int) -> Estimate:
    margin = stats.norm.ppf(0.975) * np.sqrt(max(variance, 0.0))
    return Estimate(float(value), float(value - margin), float(value + margin), n)
