"""Is an evaluation to be believed? Checks of "On Evaluating Adversarial Robustness" (Carlini et al., 2019), as rules.

Each rule is a pure function of which images are still classified right, bool [N], the same images in the same order.
Of two attacks one counts as weaker where the images that it alone leaves right outnumber those that the other alone
leaves right, beyond chance: the exact sign test of McNemar at 5 %.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

_LEVEL = 0.05


class Check(NamedTuple):
    """Whether a rule is kept, and what was seen, in a few words."""

    passed: bool
    finding: str


def not_weaker(strong: np.ndarray, weak: np.ndarray) -> Check:
    """An attack that should be at least as strong is: iterative beside one step, more steps beside fewer, a larger ε
    beside a smaller, following the gradient beside doing without.
    """
    strong, weak = np.asarray(strong, bool), np.asarray(weak, bool)
    finding = f"{_percent(strong)} beside {_percent(weak)} right"
    return Check(_chance(int(np.sum(strong & ~weak)), int(np.sum(~strong & weak)), "greater") >= _LEVEL, finding)


def in_order(stronger_and_stronger: Sequence[np.ndarray]) -> Check:
    """Along a sequence of attacks, of growing ε or steps, none is weaker than the one before."""
    pairs = zip(stronger_and_stronger[1:], stronger_and_stronger[:-1], strict=True)
    finding = " → ".join(_percent(right) for right in stronger_and_stronger)
    return Check(all(not_weaker(strong, weak).passed for strong, weak in pairs), f"{finding} right")


def reaches_chance(right: np.ndarray, classes: int) -> Check:
    """Without a bound on the change nothing is left but guessing."""
    fewest = stats.binomtest(int(np.sum(right)), len(right)).proportion_ci(method="wilson").low
    return Check(bool(fewest <= 1 / classes), f"{_percent(right)} right; guessing: {100 / classes:.0f} %")


def converged(by_restarts: Sequence[np.ndarray], tolerance: float = 0.03) -> Check:
    """The last entry, of the most restarts, breaks at most a share of `tolerance` more than the one before it."""
    gained = np.sum(by_restarts[-2]) - np.sum(by_restarts[-1])
    finding = " → ".join(_percent(right) for right in by_restarts)
    return Check(bool(gained <= tolerance * len(by_restarts[-1])), f"{finding} right")


def same(one: np.ndarray, other: np.ndarray) -> Check:
    """What was found holds under other circumstances, such as a fresh seed of the defence: neither is the weaker."""
    one, other = np.asarray(one, bool), np.asarray(other, bool)
    p = _chance(int(np.sum(one & ~other)), int(np.sum(~one & other)), "two-sided")
    return Check(p >= _LEVEL, f"{_percent(one)} beside {_percent(other)} right")


def found(broken: np.ndarray, possible: np.ndarray) -> Check:
    """On a planted defence, an attack breaks the images that can be broken within its ball, and no others."""
    broken, possible = np.asarray(broken, bool), np.asarray(possible, bool)
    finding = f"{np.sum(broken & possible)} of {np.sum(possible)} planted, {np.sum(broken & ~possible)} impossible ones"
    return Check(bool(np.all(broken == possible)), finding)


def _chance(one: int, other: int, alternative: str) -> float:
    """The p-value of so many against so many, were both equally likely."""
    return float(stats.binomtest(one, one + other, alternative=alternative).pvalue) if one + other else 1.0


def _percent(right: np.ndarray) -> str:
    return f"{100 * np.mean(right):.1f} %"
