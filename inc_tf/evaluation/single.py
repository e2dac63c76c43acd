"""One attack on one named defence: what `inc attack` does."""

from __future__ import annotations

from typing import Any

from inc_tf import data, estimates, zoo
from inc_tf.attacks.methods import METHODS, TARGETS
from inc_tf.defense import InvertAndClassify
from inc_tf.errors import InputError
from inc_tf.evaluation.tables import markdown, percent


def attack(
    name: str,
    defense: str,
    *,
    n: int = 100,
    epsilon: float | None = None,
    seed: int = 0,
    **search: Any,
) -> dict[str, Any]:
    """Run the attack `name` on a named defence; measure the accuracy of the classifier alone and of the defence.

    Args:
      name: a name in `METHODS`; it is run on that method's target.
      defense: a full name, as `zoo.load` takes it.
      n: the first n test images.
      epsilon: ε in the images' own units; None: 0.3 of their range (for MNIST 0.3) if the attack has an ε.
      seed: seed of the attack and of the search.
      search: `steps`, `threshold` and `classifier`, as `zoo.load` takes them.

    Returns: `attack`, `defense`, `epsilon`, `n`, and for `undefended` and `defended` the accuracies `clean` and
    `attacked`, each with its 95 % interval. Raises `InputError` for an unknown attack or defence, for a defence that
    the attack's target does not suit, and whenever the attack does.
    """
    METHODS.check(name)
    source, named = zoo.understand(defense)
    method = METHODS[name]
    target = TARGETS[method.target]
    if method.has_epsilon is False and epsilon is not None:
        raise InputError(f"epsilon is {epsilon}, but {name} has none: it looks for the smallest change.")
    low, high = source.bounds
    given = {"epsilon": 0.3 * (high - low) if epsilon is None else epsilon} if method.has_epsilon else {}
    model = zoo.load(defense, **search)
    if not target.suits(model):
        raise InputError(f"{defense!r} has no search of the kind that {name} goes through.")
    parts = zoo.parts(source, named.parts, search.get("classifier"))
    images = data.load(source.name, "test").take(n)
    found = method.function(
        target.build(model, parts, 1),
        images.images,
        images.labels,
        bounds=images.bounds,
        seed=seed,
        **method.settings(**given),
    )
    classifier = model.classifier if isinstance(model, InvertAndClassify) else model

    def right(batch) -> tuple[estimates.Estimate, estimates.Estimate]:
        bare = classifier.predict(batch, verbose=0).argmax(axis=1)
        behind = model(batch, seed=seed).predictions.numpy() if isinstance(model, InvertAndClassify) else bare
        return estimates.share(bare == images.labels), estimates.share(behind == images.labels)

    clean, attacked = right(images.images), right(found)
    shares = {
        which: {"clean": before._asdict(), "attacked": after._asdict()}
        for which, before, after in zip(("undefended", "defended"), clean, attacked, strict=True)
    }
    full = zoo.Name(source, named).full
    return {"attack": name, "defense": full, "epsilon": given.get("epsilon"), "n": len(images), **shares}


def table(found: dict[str, Any]) -> str:
    """The result of `attack`, in Markdown."""
    epsilon = "" if found["epsilon"] is None else f", ε = {found['epsilon']:g}"
    rows = [
        [label, *(percent(found[which][when]) for when in ("clean", "attacked"))]
        for which, label in (("undefended", "classifier alone"), ("defended", found["defense"]))
    ]
    said = f"{METHODS[found['attack']].describe()}{epsilon}, n = {found['n']}; accuracy with its 95 % interval"
    return f"{said}\n\n{markdown(rows, ['', 'clean', 'attacked'])}"
