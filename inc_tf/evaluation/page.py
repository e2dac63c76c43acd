"""One page of attacks on whole defences: attacks × defences, the worst case image by image, and whether to believe it.

An attack on a search is found on a stand-in that a gradient goes through (`inc_tf.attacks.differentiable`), or without
a gradient on the search with the fast solver, and shown to the defences themselves. What has no search is attacked as
it is. `adaptive` writes this page for the paper's defences, `inc evaluate` for a user's own.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tabulate import tabulate

import inc_tf as inc
from inc_tf import checkpoints, data
from inc_tf.evaluation import audit
from inc_tf import estimates
from inc_tf.attacks.checks import check_inputs
from inc_tf.attacks.differentiable import implicit
from inc_tf.evaluation.records import Record
from inc_tf.saving import load_file
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.experiment import Run, check_out, draw_shares, percent
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, sweep

Answers = dict[tuple[Attack, str], Arrays]

WORST = "worst-case"
SEARCHES = {"inc": "INC, the paper's search", "inc-fast": "INC, fast solver"}
CONTROLS = {
    "undefended": "undefended",
    "autoencode": "Autoencode-and-Classify",
    "manifold-trained": "trained against pairs",
    "pgd-trained": "trained against PGD",
}
DEFENSES = {**CONTROLS, **SEARCHES}

# Settings of the attacks, by what they are found on; those of the names in `_L2` run in ℓ2.
ON_CLASSIFIER: dict[str, dict] = {"fgsm": {}, "pgd": {}, "pgd-l2": {"norm": 2}}
ON_AUTOENCODER: dict[str, dict] = {"autoencode-pgd": {}}
ON_SEARCH: dict[str, dict] = {
    "bpda": {},
    "unrolled": {"loss": "margin"},
    "implicit": {"steps": 40, "restarts": 1},
    "latent": {"restarts": 3, "reprojections": 2},
    "implicit-l2": {"norm": 2},
}
ON_ITSELF: dict[str, dict] = {"own": {}, "own-l2": {"norm": 2}}
WITHOUT_GRADIENT: dict[str, dict] = {
    "square": {"queries": 500},
    "spsa": {"steps": 20, "samples": 32, "learning_rate": 0.05},
    "boundary": {"steps": 5, "probes": 50},
    "square-l2": {"queries": 500, "norm": 2},
}
_L2 = {"pgd-l2", "implicit-l2", "own-l2", "square-l2"}
CHECK_STEPS = (10, 40, 100)
CHECK_RESTARTS = (1, 2, 4)

LABELS = {
    "clean": "clean",
    "fgsm": "FGSM on C",
    "pgd": "PGD-40 on C",
    "autoencode-pgd": "PGD-40 on C∘G∘E",
    "bpda": "BPDA, identity, AutoPGD-40",
    "unrolled": "PGD-40 through 60 steps of the search",
    "implicit": "AutoPGD-40, implicit gradient",
    "latent": "latent, 3 restarts",
    "own": "AutoPGD-40 on the defence itself",
    "square": "Square, 500 queries",
    "spsa": "SPSA, 640 queries",
    "boundary": "HopSkipJump, 5 steps",
    WORST: "worst case, image by image",
    "pgd-l2": "PGD-40 on C, ℓ2",
    "implicit-l2": "AutoPGD-40, implicit gradient, ℓ2",
    "own-l2": "AutoPGD-40 on the defence itself, ℓ2",
    "square-l2": "Square, 500 queries, ℓ2",
    f"{WORST}-l2": "worst case, image by image, ℓ2",
}


@dataclass(frozen=True)
class Budget:
    """What the attacks may spend.

    Attributes:
      epsilons: of the ℓ∞ balls, growing.
      radius: of the ℓ2 ball.
      beyond: an ε at which nothing but guessing may be left.
      dear: on how many images the attacks run that go through a search.
    """

    epsilons: tuple[float, ...]
    radius: float
    beyond: float
    dear: int


def page(run: Run, budget: Budget, controls: list[str]) -> None:
    """Run every attack on every defence, add what is found to the record, and write it."""
    few = run.data.take(min(budget.dear, len(run.data)))
    cheap = [CLEAN, *_attacks(ON_CLASSIFIER, budget)]
    if "autoencode" in controls:
        cheap += _attacks(ON_AUTOENCODER, budget)
    answers = sweep(run, run.data, cheap, [*SEARCHES, *controls])
    answers |= sweep(run, few, _attacks(ON_SEARCH, budget), list(SEARCHES))
    answers |= _on("inc-fast", list(SEARCHES), WITHOUT_GRADIENT, run, few, budget)
    for control in controls:
        own = {} if control == "undefended" else ON_ITSELF  # PGD on C is that already
        answers |= _on(control, [control], {**own, **WITHOUT_GRADIENT}, run, few, budget)
    add_accuracies(run, answers)
    under = {(d, e): worst(answers, d, e, len(few)) for d in [*SEARCHES, *controls] for e in budget.epsilons}
    for (defense, epsilon), right in under.items():
        run.record.add(estimates.share(right), metric="accuracy", defense=defense, attack=WORST, epsilon=epsilon)
    for defense in [*SEARCHES, *controls]:
        right = worst(answers, defense, budget.radius, len(few), l2=True)
        name = f"{WORST}-l2"
        run.record.add(estimates.share(right), metric="accuracy", defense=defense, attack=name, epsilon=budget.radius)
    checks = _checks(run, budget, few, answers, under)
    run.record.checks = [{"check": name, **check._asdict(), "n": len(few)} for name, check in checks.items()]
    run.finish(table(run.record), draw)


def _attacks(settings: dict[str, dict], budget: Budget) -> list[Attack]:
    return [
        Attack(name, epsilon, settings=own)
        for name, own in settings.items()
        for epsilon in ((budget.radius,) if name in _L2 else budget.epsilons)
    ]


def _on(whole: str, shown: list[str], settings: dict, run: Run, images: data.Dataset, budget: Budget) -> Answers:
    """Attacks on the defence `whole` as it answers, and what the defences `shown` make of them."""
    attacks = [replace(attack, surrogate={"against": whole}) for attack in _attacks(settings, budget)]
    return sweep(run, images, attacks, shown)


def worst(answers: Answers, defense: str, epsilon: float, n: int, l2: bool = False) -> np.ndarray:
    """Which of the first `n` images the defence has right under every attack within ε, bool [n]."""
    return _under_all(answers, defense, n, lambda a: a == CLEAN or (a.epsilon == epsilon and (a.name in _L2) == l2))


def _under_all(answers: Answers, defense: str, n: int, chosen: Callable[[Attack], bool]) -> np.ndarray:
    """Which of the first `n` images the defence has right under each of the chosen attacks, bool [n]."""
    cases = [a["correct"][:n] for (attack, shown), a in answers.items() if shown == defense and chosen(attack)]
    return np.all(cases, axis=0)


def _checks(
    run: Run, budget: Budget, few: data.Dataset, answers: Answers, under: dict[tuple[str, float], np.ndarray]
) -> dict[str, audit.Check]:
    """The checks of Carlini et al., 2019, on INC with the fast solver, at the greatest ε."""
    epsilon = budget.epsilons[-1]

    def right(attack: Attack, defense: str = "inc-fast", seed: int | None = None) -> np.ndarray:
        return sweep(run, few, [attack], [defense], seed=seed)[attack, defense]["correct"]

    def by_gradient(epsilon: float = epsilon, **settings) -> Attack:
        return Attack("implicit", epsilon, settings={**ON_SEARCH["implicit"], **settings})

    def all_of(names: dict) -> np.ndarray:
        return _under_all(
            answers, "inc-fast", len(few), lambda a: a.epsilon == epsilon and a.name in names and a.name not in _L2
        )

    found, one_step, unbounded = by_gradient(), Attack("implicit-fgsm", epsilon), by_gradient(budget.beyond)
    longer = [by_gradient(steps=steps) for steps in CHECK_STEPS]
    again = [by_gradient(restarts=restarts) for restarts in CHECK_RESTARTS]
    # All at once, so that a cluster shares them.
    sweep(run, few, list(dict.fromkeys([found, one_step, unbounded, *longer, *again])), ["inc-fast"])
    return {
        "iterative at least as strong as one step": audit.not_weaker(right(found), right(one_step)),
        "more steps do not help the defender": audit.in_order([right(attack) for attack in longer]),
        "accuracy falls with ε": audit.in_order([under["inc-fast", e] for e in budget.epsilons]),
        "without a bound nothing but guessing is left": audit.reaches_chance(
            right(unbounded), run.models["classifier"].output_shape[1]
        ),
        "restarts have converged": audit.converged([right(attack) for attack in again]),
        "gradient-free no stronger than gradient-based": audit.not_weaker(all_of(ON_SEARCH), all_of(WITHOUT_GRADIENT)),
        "a planted hole is found": _planted(),
        "robustness is not under-optimisation (T = 2000, 500, 100)": audit.in_order(
            [right(found, defense) for defense in ("inc", "inc-500", "inc-100")]
        ),
        "fresh seeds of the search make no difference": audit.same(
            right(found, "inc"), right(found, "inc", seed=run.record.seed + 1)
        ),
    }


def _planted() -> audit.Check:
    """AutoPGD along the implicit gradient on a defence whose projection and whose boundary are known.

    Of two pixels the projection keeps the first, and the class is its sign.
    """
    generator = keras.Sequential(
        [keras.layers.Input((1,)), keras.layers.Dense(2, use_bias=False), keras.layers.Reshape((1, 2, 1))]
    )
    generator.layers[0].set_weights([np.array([[1.0, 0.0]], np.float32)])
    classifier = keras.Sequential(
        [keras.layers.Input((1, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    )
    classifier.layers[1].set_weights([np.array([[-10.0, 10.0], [-50.0, 50.0]], np.float32)])
    defense = inc.InvertAndClassify(
        classifier, inc.LatentProjector(generator, inc.LevenbergMarquardt(), inc.Zeros()), bounds=(-1.0, 1.0)
    )
    first = np.linspace(-0.9, 0.9, 10, dtype=np.float32)
    images = np.stack([first, np.zeros_like(first)], axis=1).reshape(-1, 1, 2, 1)
    labels = (first > 0).astype(np.int64)
    found = inc.attacks.auto_pgd(implicit(defense), images, labels, bounds=defense.bounds, epsilon=0.6)
    return audit.found(defense(found).predictions.numpy() != labels, np.abs(first) < 0.6)


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε, a column for each defence; then the checks."""
    shown = {name: label for name, label in DEFENSES.items() if record.select(defense=name)}
    rows = []
    for attack, label in LABELS.items():
        for epsilon in dict.fromkeys(row["epsilon"] for row in record.select(attack=attack, metric="accuracy")):
            found = [record.select(attack=attack, epsilon=epsilon, defense=d, metric="accuracy") for d in shown]
            rows.append([label, f"{epsilon:g}", *(percent(cell[0]) if cell else "—" for cell in found)])
    accuracies = tabulate(rows, ["attack", "ε", *shown.values()], tablefmt="github", disable_numparse=True)
    checked = [[check["check"], check["finding"], "yes" if check["passed"] else "NO"] for check in record.checks]
    further = [
        (claims(record), ["claim of the paper", "at each ε", "accuracies"]),
        (checked, ["check of the evaluation", "seen", "passed"]),
    ]
    tables = [tabulate(rows, names, tablefmt="github", disable_numparse=True) for rows, names in further]
    return "\n\n".join([accuracies, *tables])


def claims(record: Record) -> list[list[str]]:
    """What the paper claims, whether it holds at every, some or no ε beyond the intervals, and the figures."""
    epsilons = [row["epsilon"] for row in record.select(defense="inc", attack=WORST, metric="accuracy")]

    def cells(defense: str, attack: str) -> list[dict]:
        return [record.one(defense=defense, attack=attack, epsilon=e, metric="accuracy") for e in epsilons]

    def verdict(claim: str, more: list[dict], less: list[dict], what: str) -> list[str]:
        held = [one["low"] > other["high"] for one, other in zip(more, less, strict=True)]
        said = "holds" if all(held) else "holds in part" if any(held) else "does not hold"
        return [claim, said, f"{_row(more)} beside {_row(less)} {what}"]

    clean = record.one(defense="inc", attack="clean", epsilon=0.0, metric="accuracy")
    half = [{part: clean[part] / 2 for part in ("value", "low", "high")}] * len(epsilons)

    found = [
        verdict(
            "attacks on the classifier lose their force behind INC (4.1)",
            cells("inc", "pgd"),
            cells("undefended", "pgd"),
            "undefended, PGD on C",
        ),
        verdict(
            "no gradient attack through the search can be made to work (4.2.2)",
            cells("inc", "implicit"),
            half,
            "half of clean accuracy",
        ),
        verdict("INC withstands who knows it", cells("inc", WORST), half, "half of clean accuracy"),
    ]
    if record.select(defense="autoencode"):
        carried, own = cells("inc", "autoencode-pgd"), cells("autoencode", "own")
        what = "of the autoencoder itself"
        found.append(verdict("attacks on the autoencoder do not carry over to INC (Appendix A)", carried, own, what))
    if record.select(defense="manifold-trained"):
        trained, bare = cells("manifold-trained", WORST), cells("undefended", WORST)
        found.append(verdict("training against pairs on the manifold makes C robust (4.3)", trained, bare, "untrained"))
    return found


def _row(rows: list[dict]) -> str:
    return " / ".join(f"{100 * row['value']:.0f}" for row in rows) + " %"


def draw(record: Record) -> plt.Figure:
    """The worst case of each defence against ε, and FGSM on C in grey: what the paper measured."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for defense, label in DEFENSES.items():
        rows = [
            *record.select(defense=defense, attack="clean", metric="accuracy"),
            *record.select(defense=defense, attack=WORST, metric="accuracy"),
        ]
        if rows:
            draw_shares(axes, rows, label)
    fgsm = record.select(defense="inc", attack="fgsm", metric="accuracy")
    accuracies = [100 * row["value"] for row in fgsm]
    axes.plot([row["epsilon"] for row in fgsm], accuracies, "--", color="0.5", label="INC, FGSM on C")
    n = record.select(attack=WORST)[0]["n"]
    axes.set(xlabel="ε (ℓ∞)", title=f"{record.dataset}: worst case of all attacks, n = {n}, 95 % Wilson intervals")
    axes.legend(fontsize="small")
    return figure


def evaluate(
    classifier: Path,
    generator: Path,
    encoder: Path | None,
    images: data.Dataset,
    *,
    n: int,
    dear: int,
    epsilons: tuple[float, ...],
    seed: int,
    out: Path,
    quiet: bool,
) -> None:
    """Write the page for a user's own classifier C, generator G and, where there is one, encoder E: `.keras` files.

    Raises `InputError` for files that cannot be loaded and models that do not fit one another or the images.
    """
    check_out(out)
    files = {"classifier": classifier, "generator": generator, **({"encoder": encoder} if encoder else {})}
    loaded = {part: load_file(path) for part, path in files.items()}
    hashes = {path.stem: checkpoints.sha256(path) for path in files.values()}
    taken = images.take(min(n, len(images)))
    parts = SimpleNamespace(generator=loaded["generator"], encoder=loaded.get("encoder"))
    models = {"classifier": loaded["classifier"], "generative": parts}
    run = Run(taken, models, hashes, seed, out, quiet, papers="mnist", quick=len(taken) < len(images))
    check_inputs(loaded["classifier"], taken.images[:2], taken.labels[:2], taken.bounds)
    controls = ["undefended", *(["autoencode"] if encoder else [])]
    page(run, scaled(taken.bounds, taken.images.shape[1:], dear, epsilons), controls)


def scaled(bounds: data.Bounds, shape: tuple[int, ...], dear: int, epsilons: tuple[float, ...] = ()) -> Budget:
    """The budget that MNIST's ε 0.1, 0.2, 0.3 and radius 2 are in data of other bounds and sizes, unless `epsilons`
    are given.
    """
    width = bounds[1] - bounds[0]
    radius = 2.0 * width * (tf.TensorShape(shape).num_elements() / 784) ** 0.5
    return Budget(tuple(sorted(epsilons)) or tuple(width * e for e in (0.1, 0.2, 0.3)), radius, 0.5 * width, dear)
