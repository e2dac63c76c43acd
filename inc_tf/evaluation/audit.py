"""Verdicts from paired images, decided or undecided, and the checks of Carlini et al. (2019) as rules.

Every rule is a pure function of images' scores in [0, 1], float or bool [N], for the same images in the same order: 1
if an image is classified correctly, or for a randomised defence the share of draws in which it is. Two attacks or
defences differ by the exact sign test at 5 %, which is McNemar's test if scores are 0 and 1, and are as good as equal
if the mean difference is below five points with 95 % confidence. Otherwise the verdict is undecided, and says how many
images would decide it if further ones were like these.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from inc_tf import estimates
from inc_tf.evaluation import scoring

Verdict = Literal["holds", "does not hold", "undecided"]

_LEVEL = 0.05
_MARGIN = 0.05
_MOST = 10_000  # images told apart, beyond which it is not asked how many would decide


class Check(NamedTuple):
    """Whether a claim or rule holds, the finding in a few words, and how many images would decide it.

    `images` is None if the verdict is decided, or if no number of images would decide it.
    """

    verdict: Verdict
    finding: str
    images: int | None = None


def above(more: np.ndarray, less: np.ndarray) -> Check:
    """The first scores are above the second, image by image: the claim that one defence is better than another.

    It does not hold if they are below, or as good as equal.
    """
    rise = _differences(more, less)
    finding = f"{_percent(more)} beside {_percent(less)}"
    if _sign(rise) < _LEVEL:
        return Check("holds", finding)
    if _sign(-rise) < _LEVEL or _highest(rise) < _MARGIN:
        return Check("does not hold", finding)
    return Check("undecided", finding, _first([_images_for_sign(rise), _images_for_sign(-rise), _images_for(rise)]))


def not_weaker(strong: np.ndarray, weak: np.ndarray) -> Check:
    """An attack that should be at least as strong as another is: iterative and one-step, more and fewer steps, a larger
    and a smaller ε, with and without the gradient.
    """
    left = _differences(strong, weak)
    finding = f"{_percent(strong)} beside {_percent(weak)} right"
    if _sign(left) < _LEVEL:
        return Check("does not hold", finding)
    if _sign(-left) < _LEVEL or _highest(left) < _MARGIN:
        return Check("holds", finding)
    return Check("undecided", finding, _first([_images_for_sign(left), _images_for_sign(-left), _images_for(left)]))


def in_order(stronger_and_stronger: Sequence[np.ndarray]) -> Check:
    """In a sequence of attacks with growing ε or steps, none is weaker than the one before."""
    pairs = zip(stronger_and_stronger[1:], stronger_and_stronger[:-1], strict=True)
    finding = " → ".join(_percent(right) for right in stronger_and_stronger)
    return _all([not_weaker(strong, weak) for strong, weak in pairs], f"{finding} right")


def reaches_chance(right: np.ndarray, classes: int) -> Check:
    """Without a bound on the change, accuracy falls to that of guessing."""
    left = scoring.of_scores(right)
    finding = f"{_percent(right)} right; guessing: {100 / classes:.0f} %"
    if left.low > 1 / classes:
        return Check("does not hold", finding)
    if left.high < 1 / classes + _MARGIN:
        return Check("holds", finding)
    return Check("undecided", finding, _images_for(np.asarray(right, float), 1 / classes + _MARGIN))


def converged(by_restarts: Sequence[np.ndarray]) -> Check:
    """The last attack, with the most restarts, breaks hardly more images than the one before it."""
    gained = _differences(by_restarts[-2], by_restarts[-1])
    finding = " → ".join(_percent(right) for right in by_restarts) + " right"
    if _sign(gained) < _LEVEL and np.mean(gained) > _MARGIN:
        return Check("does not hold", finding)
    if _highest(gained) < _MARGIN:
        return Check("holds", finding)
    return Check("undecided", finding, _images_for(gained))


def rare(found: np.ndarray, finding: str) -> Check:
    """Something that should be rare is: true for at most one image in twenty, of bool [N]."""
    share = estimates.share(found)
    said = f"{finding}: {int(np.sum(found))} of {share.n}"
    if share.low > _MARGIN:
        return Check("does not hold", said)
    if share.high < _MARGIN:
        return Check("holds", said)
    return Check("undecided", said, _images_for(np.asarray(found, float)))


def found(broken: np.ndarray, possible: np.ndarray) -> Check:
    """On a planted defence, an attack breaks exactly the images that can be broken within its ball."""
    broken, possible = np.asarray(broken, bool), np.asarray(possible, bool)
    finding = f"{np.sum(broken & possible)} of {np.sum(possible)} planted, {np.sum(broken & ~possible)} impossible ones"
    return Check("holds" if np.all(broken == possible) else "does not hold", finding)


def _all(checks: Sequence[Check], finding: str) -> Check:
    """That all hold: one that does not refutes it."""
    verdicts = [check.verdict for check in checks]
    if "does not hold" in verdicts:
        return Check("does not hold", finding)
    if "undecided" not in verdicts:
        return Check("holds", finding)
    open_ones = [check.images for check in checks if check.verdict == "undecided"]
    return Check("undecided", finding, None if None in open_ones else max(n for n in open_ones if n))


def _differences(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray(one, np.float64) - np.asarray(other, np.float64)


def _sign(differences: np.ndarray) -> float:
    """The p-value of these signs if above and below 0 were equally likely."""
    return _chance(int(np.sum(differences > 0)), int(np.sum(differences < 0)))


def _chance(one: int, other: int) -> float:
    return float(stats.binomtest(one, one + other, alternative="greater").pvalue) if one + other else 1.0


def _highest(differences: np.ndarray) -> float:
    """What the mean difference is below with 95 % confidence, two-sided.

    Student's, and no less than if the next image might be the first that differs (Wilson's, of none among N).
    """
    n = len(differences)
    unseen = float(stats.binomtest(0, n).proportion_ci(method="wilson").high)
    return max(unseen, estimates.mean(differences).high) if n > 1 else 1.0


def _images_for_sign(differences: np.ndarray) -> int | None:
    """How many such images would make `_sign` significant."""
    above, below = int(np.sum(differences > 0)), int(np.sum(differences < 0))
    if above <= below:
        return None
    for told_apart in range(1, _MOST):
        more = round(told_apart * above / (above + below))
        if _chance(more, told_apart - more) < _LEVEL:
            return math.ceil(told_apart * len(differences) / (above + below))
    return None


def _images_for(differences: np.ndarray, bound: float = _MARGIN) -> int | None:
    """How many such images would put `_highest` below the bound."""
    mean, spread = float(np.mean(differences)), float(np.std(differences))
    if mean >= bound:
        return None
    quantile = stats.norm.ppf(0.975) ** 2
    return math.ceil(max(quantile * (1 / bound - 1), quantile * (spread / (bound - mean)) ** 2))


def _first(numbers: Sequence[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return min(known, default=None)


def _percent(right: np.ndarray) -> str:
    return f"{100 * np.mean(right):.1f} %"
