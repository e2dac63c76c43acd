"""What is measured, as pure functions of arrays: figures with their 95 % intervals."""

from typing import NamedTuple

import numpy as np
from scipy import stats


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
    interval = stats.ttest_1samp(values, 0.0).confidence_interval()
    return Estimate(float(values.mean()), float(interval.low), float(interval.high), values.size)
