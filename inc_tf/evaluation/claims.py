"""The paper's claims, tested on an evaluation's scores, image by image."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from inc_tf.evaluation import audit

Scores = Callable[[str, str, float], np.ndarray]
"""(defence, attack, ε) ↦ the images' scores in [0, 1], float [N]."""


class Side(NamedTuple):
    """One side of a claim: a defence under an attack."""

    defense: str
    attack: str


class Claim(NamedTuple):
    """A claim that at each ε, images keep more of their scores on one side than on the other.

    Attributes:
      said: by the paper, and where.
      more: this side,
      less: more than that one; None: than half of what they keep unattacked.
      what: the other side, in words.
    """

    said: str
    more: Side
    less: Side | None
    what: str


CLAIMS = (
    Claim(
        "attacks on the classifier lose their force behind INC (4.1)",
        Side("inc", "pgd"),
        Side("undefended", "pgd"),
        "undefended, PGD on C",
    ),
    Claim(
        "no gradient attack through the search can be made to work (4.2.2)",
        Side("inc", "implicit"),
        None,
        "half of clean accuracy",
    ),
    Claim("INC withstands who knows it", Side("inc", "worst-case"), None, "half of clean accuracy"),
    Claim(
        "attacks on the autoencoder do not carry over to INC (Appendix A)",
        Side("inc", "autoencode-pgd"),
        Side("autoencode", "end-to-end"),
        "of the autoencoder itself",
    ),
    Claim(
        "training against pairs on the manifold makes C robust (4.3)",
        Side("manifold-trained", "worst-case"),
        Side("undefended", "worst-case"),
        "untrained",
    ),
)


def hold(scores: Scores, epsilons: Sequence[float]) -> list[dict]:
    """The verdict on each claim at each ε, for a record; claims about defences that were not evaluated are left out.

    `scores` raises KeyError for a case that was not evaluated.
    """
    found = []
    for claim in CLAIMS:
        try:
            checks, sizes = zip(*(_at(claim, scores, epsilon) for epsilon in epsilons), strict=True)
        except KeyError:
            continue
        left, right = ([check.finding.split(" beside ")[side] for check in checks] for side in (0, 1))
        open_ones = [check.images for check in checks if check.verdict == "undecided"]
        found.append(
            {
                "claim": claim.said,
                "verdicts": [check.verdict for check in checks],
                "finding": f"{' / '.join(left)} beside {' / '.join(right)}, {claim.what}",
                "images": None if not open_ones or None in open_ones else max(open_ones),
                "n": min(sizes),
            }
        )
    return found


def _at(claim: Claim, scores: Scores, epsilon: float) -> tuple[audit.Check, int]:
    """The verdict at one ε, and on how many images: those that both sides have."""
    more = scores(*claim.more, epsilon)
    less = scores(claim.more.defense, "clean", 0.0) / 2 if claim.less is None else scores(*claim.less, epsilon)
    n = min(len(more), len(less))
    return audit.above(more[:n], less[:n]), n
