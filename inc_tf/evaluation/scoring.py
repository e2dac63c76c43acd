"""How a defence is scored that may draw lots: over its draws, with the choice of the worst attack not paid for twice.

Everything here is a pure function of which images are right, bool [m, N]: m draws of the same N images, one where the
defence draws nothing. An image that is right with probability p whatever is done to it stays right under the worst of k
attacks with probability p, and would not if each attack were answered by one draw and all had to be right: that is p^k.
"""

from collections.abc import Sequence

import numpy as np

from inc_tf import estimates
from inc_tf.estimates import Estimate

DRAWS = 8
"""m of a defence that draws lots."""

_ROUNDING = 1e-4  # of logits: what two batches of one deterministic network may differ by


def draws_lots(logits: np.ndarray, others: np.ndarray) -> bool:
    """Whether a defence that gave the logits [N, classes] from one seed and the others from another draws lots."""
    return not np.allclose(logits, others, rtol=_ROUNDING, atol=_ROUNDING)


def accuracy(right: np.ndarray, seed: int = 0) -> Estimate:
    """The mean over images of the mean over draws of bool [m, N].

    Wilson's interval for one draw, else that of a bootstrap over images.
    """
    return of_scores(np.mean(right, axis=0), seed)


def of_scores(scores: np.ndarray, seed: int = 0) -> Estimate:
    """The mean of the images' scores in [0, 1], float [N]; Wilson's interval where each is 0 or 1."""
    scores = np.asarray(scores, np.float64)
    if np.isin(scores, (0, 1)).all():
        return estimates.share(scores)
    return estimates.bootstrapped_mean(scores, seed)


def worst_case(cases: Sequence[np.ndarray], outcomes: Sequence[np.ndarray] | None = None) -> np.ndarray:
    """What is left of each image under the attack that is worst for it, float64 [N].

    Image by image, the attack is chosen on one half of the draws and scored on the other, both ways, and the two are
    averaged; of attacks that are equally bad on the first half the scores are averaged too. With one draw both halves
    are that draw, and what is left is right under every attack.

    Args:
      cases: by attack, which images are right in which draw, bool [m, N].
      outcomes: by attack, what is scored, bool [m, N]; None: `cases`. E.g. which images are rejected.
    """
    right = np.asarray(cases, np.float64)
    scored = right if outcomes is None else np.asarray(outcomes, np.float64)
    draws = right.shape[1]
    halves = [slice(None)] * 2 if draws == 1 else [slice(None, draws // 2), slice(draws // 2, None)]
    found = []
    for chosen_on, scored_on in (halves, reversed(halves)):
        left = right[:, chosen_on].mean(axis=1)
        worst = np.isclose(left, left.min(axis=0))
        found.append((worst * scored[:, scored_on].mean(axis=1)).sum(axis=0) / worst.sum(axis=0))
    return np.mean(found, axis=0)
