"""One attack on one defence that ships, by their names: what `inc attack` does."""

from collections.abc import Callable
from typing import Any

import numpy as np

from inc_tf import attacks, data
from inc_tf import estimates
from inc_tf.attacks.differentiable import implicit, straight_through, unrolled
from inc_tf.defense import InvertAndClassify
from inc_tf.errors import InputError

ON_CLASSIFIER = ("fgsm", "bim", "pgd", "auto_pgd", "cw_l2", "cw_l0", "cw_linf")
ON_ANSWERS = ("square", "spsa", "boundary")
STAND_INS: dict[str, Callable] = {"bpda": straight_through, "unrolled": unrolled, "implicit": implicit}
"""What attacks through a search are run on in the defence's place."""

ON_STAND_IN: dict[str, Callable] = {"bpda": attacks.auto_pgd, "unrolled": attacks.pgd, "implicit": attacks.auto_pgd}
"""And their methods: what AutoPGD finds on an unrolled search carries less far."""

ATTACKS = (*ON_CLASSIFIER, *STAND_INS, "latent", *ON_ANSWERS)
_WITHOUT_EPSILON = ("cw_l2", "cw_l0", "cw_linf")


def attack(
    name: str, defense: InvertAndClassify, images: data.Dataset, *, epsilon: float | None = None, seed: int = 0
) -> dict[str, Any]:
    """Run the attack `name`, one of `ATTACKS`, and count what the classifier alone and the defence still have right.

    Args:
      name: those of `ON_CLASSIFIER` are run on the classifier within, `ON_ANSWERS` on the defence's answers, the others
        through its search.
      defense: C behind a projector.
      images: with their labels.
      epsilon: ε in the images' own units; None is 0.3 of their range, for MNIST 0.3. The attacks of Carlini and Wagner
        have none.
      seed: of the attack and of the search.

    Returns: `attack`, `epsilon`, `n`, and for `undefended` and `defended` the accuracies `clean` and `attacked`, each
    with its 95 % interval. Raises `InputError` for an unknown attack, and where the attack does.
    """
    check_name(name)
    low, high = images.bounds
    own = name in _WITHOUT_EPSILON
    if own and epsilon is not None:
        raise InputError(f"epsilon is {epsilon}, but {name} has none: it looks for the smallest change.")
    given = {} if own else {"epsilon": 0.3 * (high - low) if epsilon is None else epsilon}
    method, model = _found_on(name, defense)
    found = method(model, images.images, images.labels, bounds=images.bounds, seed=seed, **given)

    def right(batch) -> tuple[estimates.Estimate, estimates.Estimate]:
        bare = np.argmax(defense.classifier.predict(batch, verbose=0), axis=1)
        answer = defense(batch, seed=seed).predictions.numpy()
        return estimates.share(bare == images.labels), estimates.share(answer == images.labels)

    clean, attacked = right(images.images), right(found)
    defenses = ("undefended", "defended")
    shares = {
        which: {"clean": before._asdict(), "attacked": after._asdict()}
        for which, before, after in zip(defenses, clean, attacked, strict=True)
    }
    return {"attack": name, "epsilon": given.get("epsilon"), "n": len(images), **shares}


def check_name(name: str) -> None:
    """Refuse what is none of `ATTACKS`; `inc attack` does so before it builds the defence."""
    if name not in ATTACKS:
        raise InputError(f"There is no attack {name!r}; there are {', '.join(ATTACKS)}.")


def _found_on(name: str, defense: InvertAndClassify) -> tuple[Callable, Any]:
    """The method, and the model that it is run on."""
    if name in ON_CLASSIFIER:
        return getattr(attacks, name), defense.classifier
    if name in STAND_INS:
        return ON_STAND_IN[name], STAND_INS[name](defense)
    if name == "latent":
        return attacks.latent, defense
    return getattr(attacks, name), lambda images: defense(images).logits
