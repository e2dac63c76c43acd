"""One page of attacks on whole defences: attacks × defences, the worst case image by image, and checks of the results.

Every search is attacked itself: on a differentiable stand-in (`inc_tf.attacks.differentiable`), or without a gradient
on its own output; the images found are shown to the other searches too. A defence without a search is attacked as it
is. A defence that proves to be randomised is scored over its draws (`inc_tf.evaluation.scoring`).
`reproduce/adaptive.py` writes this page for the paper's defences, `inc.evaluate` for a user's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from inc_tf import data, estimates, zoo
from inc_tf.attacks import METHODS, TARGETS, Method
from inc_tf.defense import threshold_at
from inc_tf.evaluation import checks, claims, scoring
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Run
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.sweep import CLEAN, Answers, Attack, sweep
from inc_tf.evaluation.tables import NOTHING, interval, markdown, percent
from inc_tf.projection import gradients

if TYPE_CHECKING:
    import matplotlib.pyplot as plt

WORST = "worst-case"
CONTROL = "worst-case-control"
"""Clean images through the choice that the worst case makes."""

SHORT: Mapping[str, dict] = {
    "bpda": {"steps": 5},
    "unrolled": {"steps": 10},
    "implicit": {"steps": 10},
    "implicit-l2": {"steps": 10},
    "latent": {"restarts": 1, "reprojections": 1},
    "square": {"queries": 10},
    "square-l2": {"queries": 10},
    "spsa": {"steps": 1, "samples": 4},
    "boundary": {"steps": 1, "probes": 5},
    "within-threshold": {"steps": 10},
}
"""Arguments of attacks on a search that takes minutes for a thousand images."""

OUTCOMES = ("accepted_right", "accepted_wrong", "rejected")
"""The possible outcomes for an image behind a threshold."""

_VALIDATION = 200  # clean images from which η is set


@dataclass(frozen=True)
class Budget:
    """What the attacks may spend.

    Attributes:
      epsilons: ε of the ℓ∞ balls, ascending.
      radius: radius of the ℓ2 ball.
      beyond: an ε at which accuracy should be that of guessing.
      searched: how many images to take for a randomised defence, and for attacks whose every query is a search.
      settings: arguments of attacks, by name, that differ from the declared ones.
      slow: the defences whose own attacks keep to `SHORT`.
      votes: over how many draws an attack on a randomised defence averages.
      steps: steps of the attacks that are compared with longer ones.
      restarts: restarts of the attacks that are compared with ones of more restarts.
    """

    epsilons: tuple[float, ...]
    radius: float
    beyond: float
    searched: int
    settings: dict[str, dict] = field(default_factory=dict)
    slow: tuple[str, ...] = ()
    votes: int = 2
    steps: tuple[int, ...] = (10, 40, 100)
    restarts: tuple[int, ...] = (1, 2, 4)

    def attack(self, name: str, epsilon: float, against: str, draws: int = 1, **given) -> Attack:
        """One run of the attack `name`, with this budget's settings and what is `given`."""
        short = SHORT.get(name, {}) if against in self.slow else {}
        return Attack(name, epsilon, {**short, **self.settings.get(name, {}), **given}, against, draws)


def budget(bounds: data.Bounds, shape: Sequence[int], searched: int, epsilons: Sequence[float] = (), **more) -> Budget:
    """MNIST's budget of ε 0.1, 0.2, 0.3 and radius 2, scaled to data of other bounds and image `shape` [H, W, C],
    unless `epsilons` are given.
    """
    width = bounds[1] - bounds[0]
    radius = 2.0 * width * (int(np.prod(shape)) / 784) ** 0.5
    return Budget(
        tuple(sorted(epsilons)) or tuple(width * e for e in (0.1, 0.2, 0.3)), radius, 0.5 * width, searched, **more
    )


@dataclass(frozen=True)
class Cast:
    """The defences on the page, by name.

    Attributes:
      searches: the defences with a search.
      controls: the defences without one, each with a gradient of its own.
      checked: the search that the checks of the evaluation are run on.
    """

    searches: tuple[str, ...]
    controls: tuple[str, ...]
    checked: str = "inc-fast"

    @property
    def all(self) -> tuple[str, ...]:
        """Every defence, searches first."""
        return (*self.searches, *self.controls)


def page(run: Run, spend: Budget, cast: Cast) -> None:
    """Run every declared attack on every defence, and add the results to the record."""
    _Page(run, spend, cast).write()


class _Page:
    """One page in the making; the arguments are `page`'s."""

    def __init__(self, run: Run, spend: Budget, cast: Cast):
        self.run, self.spend, self.cast = run, spend, cast
        self.few = run.images.take(min(spend.searched, len(run.images)))
        self.draws = {name: draws(run, self.few, name) for name in cast.all}
        self.answers = sweep(run, run.images, [CLEAN], list(cast.all), draws=self.draws)
        # Clean images do not tell whether one is enough: a class that hardly depends on the draw there may on attacked
        # ones.
        self.votes = {name: spend.votes if self.draws[name] > 1 else 1 for name in cast.all}

    def unsettled(self, name: str) -> np.ndarray:
        """Which clean images are right in some draws and wrong in others, bool [N]."""
        share = self.answers[CLEAN, name]["correct"].mean(axis=0)
        return (share > 0) & (share < 1)

    def write(self) -> None:
        """Everything."""
        record, epsilons = self.run.record, self.spend.epsilons
        record.draws = self.draws
        for method in METHODS.values():
            self._run(method)
        for (attack, defense), answer in self.answers.items():
            labels: dict = {"defense": defense, "attack": shown_as(attack, defense), "epsilon": attack.epsilon}
            record.add(scoring.accuracy(answer["correct"], record.seed), metric="accuracy", **labels)
            if "distance" in answer:
                record.add(estimates.mean(answer["distance"].mean(axis=0)), metric="distance", **labels)
        norms = [(WORST, e, np.inf) for e in epsilons] + [(f"{WORST}-l2", self.spend.radius, 2)]
        scores = {(name, d, e): self._worst(d, e, norm) for name, e, norm in norms for d in self.cast.all}
        scores |= {(CONTROL, d, 0.0): self._control(d) for d in self.cast.all if self.draws[d] > 1}
        for (name, defense, epsilon), left in scores.items():
            found = scoring.of_scores(left, record.seed)
            record.add(found, metric="accuracy", defense=defense, attack=name, epsilon=epsilon)

        by_name = {(d, shown_as(one, d), one.epsilon): answer for (one, d), answer in self.answers.items()}

        def scored(defense: str, attack: str, epsilon: float) -> np.ndarray:
            if attack == WORST:
                return scores[attack, defense, epsilon]
            return by_name[defense, attack, epsilon]["correct"].mean(axis=0)

        for defense in self.cast.all:
            self._behind_threshold(defense)
        for search in self.cast.searches:
            if self._suits("implicit", search):
                slopes = estimates.mean(np.log10(self._slopes(search)))
                record.add(slopes, metric="log10_slope", defense=search, attack=CLEAN.name, epsilon=0.0)
        record.claims = claims.hold(scored, epsilons)
        if self.cast.searches:
            record.checks = self._checks([scores[WORST, self.cast.checked, e] for e in epsilons])

    def _run(self, method: Method) -> None:
        """Every defence meets one attack: found on C once for all, else on each defence that it suits."""
        if method.left_out or method.target not in TARGETS:
            self._leave_out(method, self.cast.all, method.left_out or f"nothing here is a {method.target}")
            return
        target = TARGETS[method.target]
        if not target.searches:
            if method.target == "autoencoder" and self.run.bench.parts.encoder is None:
                self._leave_out(method, self.cast.all, "the generator has no encoder")
                return
            for images, defenses in (
                (self.run.images, [name for name in self.cast.all if self.draws[name] == 1]),
                (self.few, [name for name in self.cast.all if self.draws[name] > 1]),
            ):
                self._show(method, self.cast.checked, images, defenses)
            return
        own = method.target == "defense"
        if own and method.gradient:
            self._leave_out(method, self.cast.searches, "no gradient passes the search itself; stand-ins are attacked")
        else:
            for search in self.cast.searches:
                if self._suits(method.name, search):
                    self._show(method, search, self.few, self.cast.searches)
                else:
                    self._leave_out(method, (search,), "its search is not of the kind that the attack goes through")
        if own:
            for control in self.cast.controls:
                self._show(method, control, self.few, [control])
        else:
            self._leave_out(method, self.cast.controls, "it goes through a search, and there is none")

    def _show(self, method: Method, against: str, images: data.Dataset, defenses: Sequence[str]) -> None:
        if not defenses:
            return
        epsilons = (self.spend.radius,) if method.norm == 2 else self.spend.epsilons
        votes = self.votes[against] if method.searches else 1
        attacks = [self.spend.attack(method.name, epsilon, against, votes) for epsilon in epsilons]
        self.answers |= sweep(self.run, images, attacks, list(defenses), draws=self.draws)

    def _leave_out(self, method: Method, defenses: Sequence[str], reason: str) -> None:
        if defenses:
            self.run.record.left_out.append({"attack": method.name, "defenses": list(defenses), "reason": reason})

    def _worst(self, defense: str, epsilon: float, norm: float) -> np.ndarray:
        return worst(self.answers, defense, epsilon, len(self.few), norm)

    def _control(self, defense: str) -> np.ndarray:
        """What the choice of the worst case leaves of clean images, drawn as often, float64 [n]."""
        attacks, draws = len(_cases(self.answers, defense, self.spend.epsilons[-1], np.inf)), self.draws[defense]
        drawn = sweep(self.run, self.few, [CLEAN], [defense], draws={defense: attacks * draws})[CLEAN, defense]
        return scoring.worst_case(list(drawn["correct"].reshape(attacks, draws, -1)))

    def _behind_threshold(self, defense: str) -> None:
        """What is accepted and right, accepted and wrong, and rejected, where the attacker knows η; without a distance
        everything is accepted.
        """
        record = self.run.record
        eta = self._threshold(defense)
        if eta is None and "distance" in self.answers[CLEAN, defense]:
            record.left_out.append(
                {"attack": "within-threshold", "defenses": [defense], "reason": "no images to set η on"}
            )
            return
        if eta is not None:
            record.add(estimates.Estimate(eta, eta, eta, _VALIDATION), metric="threshold", defense=defense)
        for epsilon in (0.0, *self.spend.epsilons):
            if epsilon:
                cases = {
                    attack: self.answers[attack, defense] for attack in _cases(self.answers, defense, epsilon, np.inf)
                }
                cases |= self._knowing(defense, epsilon, eta) if eta is not None else {}
                attack, n = WORST, len(self.few)
            else:
                cases, attack, n = {CLEAN: self.answers[CLEAN, defense]}, CLEAN.name, len(self.run.images)
            outcomes = [_outcomes(answer, eta, n) for answer in cases.values()]
            unharmed = [~one["accepted_wrong"] for one in outcomes]
            for metric in OUTCOMES:
                left = scoring.worst_case(unharmed, [one[metric] for one in outcomes])
                found = scoring.of_scores(left, record.seed)
                record.add(found, metric=metric, defense=defense, attack=attack, epsilon=epsilon)

    def _threshold(self, defense: str) -> float | None:
        """η at which 5 % of clean validation images are rejected; of images of one's own, the defence's own."""
        if "distance" not in self.answers[CLEAN, defense]:
            return None
        if self.run.source is None:
            return self.run.bench.defense(defense).threshold
        clean = data.load(self.run.images.name, "validation")
        clean = clean.take(min(_VALIDATION, len(clean)))
        return threshold_at(
            sweep(self.run, clean, [CLEAN], [defense])[CLEAN, defense]["distance"], zoo.FALSE_REJECTION_RATE
        )

    def _knowing(self, defense: str, epsilon: float, eta: float) -> dict[Attack, Arrays]:
        """The answers to the attacks that keep below η."""
        names = [name for name in ("latent", "within-threshold") if self._suits(name, defense)]
        attacks = [self.spend.attack(n, epsilon, defense, self.votes[defense], distance=eta) for n in names]
        found = sweep(self.run, self.few, attacks, [defense], draws=self.draws)
        return {attack: answer for (attack, _), answer in found.items()}

    def _slopes(self, search: str) -> np.ndarray:
        """‖Jᵀr‖ where the search ends on the clean images, which the implicit gradient takes for 0, float [n]."""
        codes = sweep(self.run, self.few, [CLEAN], [search], keep=("codes",))[CLEAN, search]["codes"]
        generator = self.run.bench.defense(search).projector.generator
        slopes = gradients.slope(generator, tf.constant(self.few.images), tf.constant(codes)).numpy()
        return np.maximum(slopes, np.finfo(np.float32).tiny)

    def _suits(self, name: str, defense: str) -> bool:
        return TARGETS[METHODS[name].target].suits(self.run.bench.defense(defense))

    def _checks(self, growing: Sequence[np.ndarray]) -> list[dict]:
        """The checks of Carlini et al., 2019, on one search at the greatest ε; and of every search, its draws."""
        checked, epsilon = self.cast.checked, self.spend.epsilons[-1]
        along = "implicit" if TARGETS["implicit"].suits(self.run.bench.defense(checked)) else "bpda"
        votes = self.votes[checked]

        def left(gradient: bool) -> np.ndarray:
            cases = [CLEAN] + [
                attack
                for attack in _cases(self.answers, checked, epsilon, np.inf)
                if attack != CLEAN and METHODS[attack.name].searches and METHODS[attack.name].gradient is gradient
            ]
            return scoring.worst_case([self.answers[a, checked]["correct"][:, : len(self.few)] for a in cases])

        found = checks.run_checks(
            self.run,
            self.few,
            checked,
            lambda epsilon=epsilon, **given: self.spend.attack(along, epsilon, checked, votes, **given),
            one_step=self.spend.attack(f"{along}-fgsm", epsilon, checked, votes),
            beyond=self.spend.beyond,
            steps=self.spend.steps,
            restarts=self.spend.restarts,
            growing=growing,
            by_gradient=left(True),
            without_gradient=left(False),
            draws=self.draws,
        )
        rows = [{"check": name, **check._asdict(), "n": len(self.few)} for name, check in found.items()]
        for name in (name for name in self.cast.searches if self.draws[name] > 1):
            check = checks.settled(self.unsettled(name), self.draws[name])
            said = f"the class does not depend on the draw ({_label(name)})"
            rows.append({"check": said, **check._asdict(), "n": len(self.run.images)})
        return rows


def draws(run: Run, images: data.Dataset, name: str) -> int:
    """Over how many draws a defence is scored, found by querying it with two seeds."""
    first, second = (
        sweep(run, images, [CLEAN], [name], keep=("logits",), seed=run.bench.seed + i)[CLEAN, name] for i in range(2)
    )
    return scoring.DRAWS if scoring.draws_lots(first["logits"], second["logits"]) else 1


def shown_as(attack: Attack, defense: str) -> str:
    """The attack's name in a row of the record, with the search on which it was found if that is another one."""
    own = attack == CLEAN or not METHODS[attack.name].searches or attack.against == defense
    return attack.name if own else f"{attack.name} from {attack.against}"


def worst(answers: Answers, defense: str, epsilon: float, n: int, norm: float = np.inf) -> np.ndarray:
    """What a defence keeps of each of the first `n` images under its worst attack within ε, float64 [n]; the answers
    are of `sweep` with `draws`.
    """
    cases = _cases(answers, defense, epsilon, norm)
    return scoring.worst_case([answers[attack, defense]["correct"][:, :n] for attack in cases])


def _cases(answers: Answers, defense: str, epsilon: float, norm: float) -> list[Attack]:
    """The attacks that the defence was shown within ε in this norm, and the clean images."""
    return [
        attack
        for attack, shown in answers
        if shown == defense and (attack == CLEAN or (attack.epsilon == epsilon and METHODS[attack.name].norm == norm))
    ]


def _outcomes(answer: Arrays, eta: float | None, n: int) -> dict[str, np.ndarray]:
    """Each of `OUTCOMES` of the first `n` images, bool [m, n]."""
    right = answer["correct"][:, :n]
    accepted = np.ones_like(right) if eta is None else answer["distance"][:, :n] < eta
    return dict(zip(OUTCOMES, (accepted & right, accepted & ~right, ~accepted), strict=True))


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε, a column for each defence; then claims, checks and omitted attacks."""
    shown = labels(record)
    named = {"clean": "clean"}
    for method in METHODS.values():
        named[method.name] = method.describe()
        named |= {f"{method.name} from {d}": f"{method.describe()}, found on {label}" for d, label in shown.items()}
    named |= {WORST: "worst case, image by image", f"{WORST}-l2": "worst case, image by image, ℓ2"}
    named[CONTROL] = "control: clean images, through the worst case's choice"
    rows = []
    for attack, label in named.items():
        for epsilon in dict.fromkeys(row["epsilon"] for row in record.select(attack=attack, metric="accuracy")):
            found = [record.select(attack=attack, epsilon=epsilon, defense=d, metric="accuracy") for d in shown]
            sizes = sorted({cell[0]["n"] for cell in found if cell}, reverse=True)
            cells = [percent(cell[0]) if cell else NOTHING for cell in found]
            rows.append([label, f"{epsilon:g}", " / ".join(map(str, sizes)), *cells])
    tables = [markdown(rows, ["attack", "ε", "n", *shown.values()])]
    slopes = record.select(metric="log10_slope")
    if slopes:
        ends = "; ".join(f"{shown[row['defense']]}: {interval(row, 2)}" for row in slopes)
        tables.append(f"log₁₀ ‖Jᵀr‖ where the search ends, which the implicit gradient takes for a minimum: {ends}.")
    lots = [f"{shown[name]}: {m}" for name, m in record.draws.items() if m > 1]
    if lots:
        tables.append(f"Defences that draw lots, as two seeds showed, and over how many draws: {'; '.join(lots)}.")
    if record.select(metric=OUTCOMES[0]):
        tables += [
            "Behind a threshold η that rejects 5 % of clean images, accepted and right / accepted and wrong / "
            "rejected, %, by an attacker who knows η:",
            _outcome_table(record, shown),
        ]
    if record.claims:
        said = [[c["claim"], verdict(c["verdicts"], c["images"]), c["finding"], c["n"]] for c in record.claims]
        tables.append(markdown(said, ["claim of the paper", "at each ε", "accuracies", "n"]))
    if record.checks:
        seen = [[c["check"], c["finding"], verdict([c["verdict"]], c["images"]), c["n"]] for c in record.checks]
        tables.append(markdown(seen, ["check of the evaluation", "seen", "verdict", "n"]))
    if record.left_out:
        missing = [[o["attack"], ", ".join(map(_label, o["defenses"])), o["reason"]] for o in record.left_out]
        tables.append(markdown(missing, ["attack left out", "of", "because"]))
    return "\n\n".join(tables)


def _outcome_table(record: Record, shown: Mapping[str, str]) -> str:
    """A row for each ε, a column for each defence."""
    rows = []
    for attack, epsilon in dict.fromkeys((r["attack"], r["epsilon"]) for r in record.select(metric=OUTCOMES[0])):
        cells = []
        for defense in shown:
            found = [record.select(defense=defense, attack=attack, epsilon=epsilon, metric=m) for m in OUTCOMES]
            cells.append(" / ".join(f"{100 * one[0]['value']:.1f}" for one in found) if all(found) else NOTHING)
        rows.append(["clean" if attack == CLEAN.name else "worst case", f"{epsilon:g}", *cells])
    return markdown(rows, ["attack", "ε", *shown.values()])


def verdict(verdicts: Sequence[str], images: int | None) -> str:
    """A verdict as tables show it: one word if all agree, and how many images would decide an undecided one."""
    said = " / ".join(verdicts if len(set(verdicts)) > 1 else verdicts[:1])
    return f"{said} ({images:,} images would decide)" if images else said


def _label(defense: str) -> str:
    return zoo.DEFENSES[defense].label if defense in zoo.DEFENSES else defense


def labels(record: Record) -> dict[str, str]:
    """The defences of a record, by label, in the order in which they are declared."""
    found = list(dict.fromkeys(row["defense"] for row in record.rows))
    order = sorted(found, key=lambda name: list(zoo.DEFENSES).index(name) if name in zoo.DEFENSES else -1)
    return {name: _label(name) for name in order}


def draw(record: Record) -> plt.Figure:
    """The worst case of each defence against ε, and in grey FGSM on C, as the paper measured."""
    from inc_tf.evaluation.plots import draw_defenses, legend, panels, title

    figure, (axes,) = panels(width=7, height=5)
    shown = labels(record)
    found = {d: [record.select(defense=d, attack=a, metric="accuracy") for a in ("clean", WORST)] for d in shown}
    draw_defenses(axes, {defense: clean + worst for defense, (clean, worst) in found.items()})
    searched = next((name for name in shown if name in ("inc", "inc-fast")), next(iter(shown)))
    fgsm = record.select(defense=searched, attack="fgsm", metric="accuracy")
    accuracies = [100 * row["value"] for row in fgsm]
    axes.plot([row["epsilon"] for row in fgsm], accuracies, "--", color="0.5", label=f"{shown[searched]}, FGSM on C")
    n = record.select(attack=WORST)[0]["n"]
    axes.set(xlabel="ε (ℓ∞)", title=f"{title(record.dataset)}: worst case of all attacks, n = {n}, 95 % intervals")
    legend(figure)
    return figure
