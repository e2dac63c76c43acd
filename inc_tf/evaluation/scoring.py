"""Scoring defences that may be randomised: over their draws, without bias from the choice of the worst attack.

Everything here is a pure function of which images are right, bool [m, N]: m draws for the same N images, one if the
defence is deterministic. If an image is right with probability p under each of k attacks, its score under the worst of
them should be p. It would be p^k if each attack had one draw and all draws had to be right.
"""

from collections.abc import Sequence

import numpy as np

from inc_tf import estimates
from inc_tf.estimates import Estimate

DRAWS = 8
"""m of a defence that draws lots."""

_ROUNDING = 1e-4  # of logits: what two batches of one deterministic network may differ by


def draws_lots(logits: np.ndarray, others: np.ndarray) -> bool:
    """Whether a defence is randomised, from its logits [N, classes] with one seed and with another."""
    return not np.allclose(logits, others, rtol=_ROUNDING, atol=_ROUNDING)


def accuracy(right: np.ndarray, seed: int = 0) -> Estimate:
    """The mean over images of the mean over draws of bool [m, N].

    The interval is Wilson's for one draw, else that of a bootstrap over images.
    """
    return of_scores(np.mean(right, axis=0), seed)


def of_scores(scores: np.ndarray, seed: int = 0) -> Estimate:
    """The mean of the images' scores in [0, 1], float [N]; with Wilson's interval if each is 0 or 1."""
    scores = np.asarray(scores, np.float64)
    if np.isin(scores, (0, 1)).all():
        return estimates.share(scores)
    return estimates.bootstrapped_mean(scores, seed)


def worst_case(cases: Sequence[np.ndarray], outcomes: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """Each image's score under the attack that is worst for it, float64 [N].

    For each image, the attack is chosen on one half of the draws and scored on the other, both ways, and the two scores
    are averaged. Of attacks that are equally bad for it on the first half, the one that is worst over all images there
    is chosen; if that does not decide either, their scores are averaged. With one draw, both halves are that draw, and
    an image scores 1 if it is right under every attack.

    Args:
      cases: by attack, which images are right in which draw, bool [m, N].
      outcomes: by attack, what to score, bool [m, N], e.g. which images are rejected; None: `cases`.
    """
    right = np.asarray(cases, np.float64)
    scored = right if outcomes is None else np.asarray(outcomes, np.float64)
    draws = right.shape[1]
    halves = [slice(None)] * 2 if draws == 1 else [slice(None, draws // 2), slice(draws // 2, None)]
    found = []
    for chosen_on, scored_on in (halves, reversed(halves)):
        seen = right[:, chosen_on]
        left = seen.sum(axis=1) + seen.mean(axis=(1, 2))[:, np.newaxis]  # the mean only decides between equal counts
        worst = np.isclose(left, left.min(axis=0))
        found.append((worst * scored[:, scored_on].mean(axis=1)).sum(axis=0) / worst.sum(axis=0))
    return np.mean(found, axis=0)
