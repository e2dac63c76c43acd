"""One page of attacks on whole defences: attacks × defences, the worst case image by image, and whether to believe it.

An attack on a search is found on a stand-in that a gradient goes through (`inc_tf.attacks.differentiable`), or without
a gradient on the search's own answers, and shown to the defences themselves. What has no search is attacked as it is.
`reproduce/adaptive.py` writes this page for the paper's defences, `inc.evaluate` for a user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from inc_tf import data, estimates, zoo
from inc_tf.attacks import METHODS, TARGETS, Method
from inc_tf.evaluation import checks
from inc_tf.evaluation.audit import Check
from inc_tf.evaluation.claims import claims
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Run
from inc_tf.evaluation.sweep import CLEAN, Answers, Attack, add_accuracies, sweep
from inc_tf.evaluation.tables import NOTHING, markdown, percent

if TYPE_CHECKING:
    import matplotlib.pyplot as plt

WORST = "worst-case"


@dataclass(frozen=True)
class Budget:
    """What the attacks may spend.

    Attributes:
      epsilons: of the ℓ∞ balls, growing.
      radius: of the ℓ2 ball.
      beyond: an ε at which nothing but guessing may be left.
      searched: on how many images the attacks run that ask a search.
      settings: arguments of attacks, by name, where they are not the declared ones.
      steps: of the attacks that are compared with longer ones.
      restarts: of those that are compared with more.
    """

    epsilons: tuple[float, ...]
    radius: float
    beyond: float
    searched: int
    settings: dict[str, dict] = field(default_factory=dict)
    steps: tuple[int, ...] = (10, 40, 100)
    restarts: tuple[int, ...] = (1, 2, 4)

    def attack(self, name: str, epsilon: float, against: str, **given) -> Attack:
        """One run of the attack `name`, with this budget's settings and what is `given`."""
        return Attack(name, epsilon, {**self.settings.get(name, {}), **given}, against)


def budget(bounds: data.Bounds, shape: Sequence[int], searched: int, epsilons: Sequence[float] = (), **more) -> Budget:
    """The budget that MNIST's ε 0.1, 0.2, 0.3 and radius 2 are in data of other bounds and image `shape` [H, W, C],
    unless `epsilons` are given.
    """
    width = bounds[1] - bounds[0]
    radius = 2.0 * width * (int(np.prod(shape)) / 784) ** 0.5
    return Budget(
        tuple(sorted(epsilons)) or tuple(width * e for e in (0.1, 0.2, 0.3)), radius, 0.5 * width, searched, **more
    )


@dataclass(frozen=True)
class Cast:
    """Which defences the page is about, by name.

    Attributes:
      searches: those behind a search.
      controls: those without one, each with a gradient of its own.
      attacked: the search on whose stand-ins and answers attacks on a search are found.
    """

    searches: tuple[str, ...]
    controls: tuple[str, ...]
    attacked: str = "inc-fast"

    @property
    def all(self) -> tuple[str, ...]:
        """Every defence, searches first."""
        return (*self.searches, *self.controls)


def page(run: Run, spend: Budget, cast: Cast) -> None:
    """Run every declared attack on every defence, and add what is found to the record."""
    few = run.images.take(min(spend.searched, len(run.images)))
    methods = [method for method in METHODS.values() if method.evaluated]
    answers = sweep(run, run.images, [CLEAN], list(cast.all))
    for method in methods:
        answers |= _under(run, method, few, spend, cast)
    add_accuracies(run, answers)
    under = {(d, e): worst(answers, d, e, len(few)) for d in cast.all for e in spend.epsilons}
    for (defense, epsilon), right in under.items():
        run.record.add(estimates.share(right), metric="accuracy", defense=defense, attack=WORST, epsilon=epsilon)
    for defense in cast.all:
        share = estimates.share(worst(answers, defense, spend.radius, len(few), norm=2))
        name = f"{WORST}-l2"
        run.record.add(share, metric="accuracy", defense=defense, attack=name, epsilon=spend.radius)
    if cast.searches:
        found = _checks(run, spend, few, answers, under, cast)
        run.record.checks = [{"check": name, **check._asdict(), "n": len(few)} for name, check in found.items()]


def _under(run: Run, method: Method, few: data.Dataset, spend: Budget, cast: Cast) -> Answers:
    """What every defence makes of one attack: found on C once for all, else on each defence that it suits."""
    if method.target not in TARGETS:
        return {}
    epsilons = (spend.radius,) if method.norm == 2 else spend.epsilons
    target = TARGETS[method.target]

    def shown(against: str, images: data.Dataset, defenses: Sequence[str]) -> Answers:
        attacks = [spend.attack(method.name, epsilon, against) for epsilon in epsilons]
        return sweep(run, images, attacks, list(defenses))

    if not target.searches:
        needed = method.target != "autoencoder" or run.bench.parts.encoder is not None
        return shown(cast.attacked, run.images, cast.all) if needed else {}
    if not target.suits(run.bench.defense(cast.attacked)):
        return {}
    found: Answers = {}
    own = method.target == "defense"
    if cast.searches and not (own and method.gradient):
        found |= shown(cast.attacked, few, cast.searches)
    if own:
        for control in cast.controls:
            found |= shown(control, few, [control])
    return found


def worst(answers: Answers, defense: str, epsilon: float, n: int, norm: float = np.inf) -> np.ndarray:
    """Which of the first `n` images the defence has right under every attack within ε, bool [n]."""

    def counts(attack: Attack) -> bool:
        return attack == CLEAN or (attack.epsilon == epsilon and METHODS[attack.name].norm == norm)

    return _under_all(answers, defense, n, counts)


def _under_all(answers: Answers, defense: str, n: int, chosen: Callable[[Attack], bool]) -> np.ndarray:
    """Which of the first `n` images the defence has right under each of the chosen attacks, bool [n]."""
    cases = [a["correct"][:n] for (attack, shown), a in answers.items() if shown == defense and chosen(attack)]
    return np.all(cases, axis=0)


def _checks(
    run: Run,
    spend: Budget,
    few: data.Dataset,
    answers: Answers,
    under: dict[tuple[str, float], np.ndarray],
    cast: Cast,
) -> dict[str, Check]:
    """The checks of Carlini et al., 2019, on the search that is attacked, at the greatest ε."""
    attacked, epsilon = cast.attacked, spend.epsilons[-1]
    along = "implicit" if TARGETS["implicit"].suits(run.bench.defense(attacked)) else "bpda"

    def all_of(gradient: bool) -> np.ndarray:
        def counts(attack: Attack) -> bool:
            if attack == CLEAN or attack.epsilon != epsilon:
                return False
            method = METHODS[attack.name]
            return TARGETS[method.target].searches and method.gradient is gradient and method.norm == np.inf

        return _under_all(answers, attacked, len(few), counts)

    return checks.run_checks(
        run,
        few,
        attacked,
        lambda epsilon=epsilon, **given: spend.attack(along, epsilon, attacked, **given),
        one_step=spend.attack(f"{along}-fgsm", epsilon, attacked),
        beyond=spend.beyond,
        steps=spend.steps,
        restarts=spend.restarts,
        growing=[under[attacked, e] for e in spend.epsilons],
        by_gradient=all_of(True),
        without_gradient=all_of(False),
        fresh_seed=cast.searches[0],
    )


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε, a column for each defence; then claims and checks."""
    shown = labels(record)
    named = {"clean": "clean", **{m.name: m.describe() for m in METHODS.values() if m.evaluated}}
    named |= {WORST: "worst case, image by image", f"{WORST}-l2": "worst case, image by image, ℓ2"}
    rows = []
    for attack, label in named.items():
        for epsilon in dict.fromkeys(row["epsilon"] for row in record.select(attack=attack, metric="accuracy")):
            found = [record.select(attack=attack, epsilon=epsilon, defense=d, metric="accuracy") for d in shown]
            n = max(cell[0]["n"] for cell in found if cell)
            rows.append([label, f"{epsilon:g}", n, *(percent(cell[0]) if cell else NOTHING for cell in found)])
    tables = [markdown(rows, ["attack", "ε", "n", *shown.values()])]
    said = claims(record)
    if said:
        tables.append(markdown(said, ["claim of the paper", "at each ε", "accuracies"]))
    if record.checks:
        checked = [[check["check"], check["finding"], "yes" if check["passed"] else "NO"] for check in record.checks]
        tables.append(markdown(checked, ["check of the evaluation", "seen", "passed"]))
    return "\n\n".join(tables)


def labels(record: Record) -> dict[str, str]:
    """The defences of a record, by label, in the order in which they are declared."""
    found = list(dict.fromkeys(row["defense"] for row in record.rows))
    order = sorted(found, key=lambda name: list(zoo.DEFENSES).index(name) if name in zoo.DEFENSES else -1)
    return {name: zoo.DEFENSES[name].label if name in zoo.DEFENSES else name for name in order}


def draw(record: Record) -> plt.Figure:
    """The worst case of each defence against ε, and FGSM on C in grey: what the paper measured."""
    from inc_tf.evaluation.plots import INTERVALS, draw_defenses, legend, panels, title

    figure, (axes,) = panels(width=7, height=5)
    shown = labels(record)
    found = {d: [record.select(defense=d, attack=a, metric="accuracy") for a in ("clean", WORST)] for d in shown}
    draw_defenses(axes, {defense: clean + worst for defense, (clean, worst) in found.items()})
    searched = next((name for name in shown if name in ("inc", "inc-fast")), next(iter(shown)))
    fgsm = record.select(defense=searched, attack="fgsm", metric="accuracy")
    accuracies = [100 * row["value"] for row in fgsm]
    axes.plot([row["epsilon"] for row in fgsm], accuracies, "--", color="0.5", label=f"{shown[searched]}, FGSM on C")
    n = record.select(attack=WORST)[0]["n"]
    axes.set(xlabel="ε (ℓ∞)", title=f"{title(record.dataset)}: worst case of all attacks, n = {n}, {INTERVALS}")
    legend(figure)
    return figure
