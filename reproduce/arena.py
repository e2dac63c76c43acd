"""Every defence that cleans its input, side by side: clean, under attacks on the classifier, and under its worst case.

Not in the paper. Each defence is attacked along the gradient that breaks it: with the identity in the backward pass
(BPDA), through the steps of its search or at its minimum, through the reverse process of diffusion or a shorter one, or
directly, if it has a gradient; and by Square, which needs none. They are compared with two controls: the classifier
trained against PGD, and randomised smoothing, whose ℓ2 radius is proven.
"""

import time
from dataclasses import replace

import click
import matplotlib.pyplot as plt
import numpy as np

from inc_tf import data, estimates, zoo
from inc_tf.attacks import METHODS, TARGETS
from inc_tf.attacks.checks import has_gradient
from inc_tf.cli.scripts import script
from inc_tf.evaluation import page, scoring
from inc_tf.evaluation.plots import color, label, legend, panels, title, whiskers
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.sweep import CLEAN, Answers, Attack, sweep
from inc_tf.evaluation.tables import NOTHING, interval, markdown, percent
from inc_tf.projection import DiffusionProjector, LatentProjector
from inc_tf.smoothing import SmoothedClassifier

PURIFIERS = (
    *("undefended", "jpeg", "bit-depth", "median", "total-variation"),
    *("autoencode", "inc-fast", "defense-gan", "diffusion"),
)
LINES = ("pgd-trained", "smoothed")
"""What a purifier must beat."""
SEARCHED = ("defense-gan", "diffusion")
"""Those of which a query is expensive."""

TRANSFER = ("fgsm", "pgd")
OWN = ("bpda", "unrolled", "implicit", "reverse", "surrogate-reverse", "end-to-end", "square")
SETTINGS = {
    "defense-gan": {
        "unrolled": {"steps": 10},
        "implicit": {"steps": 5},
        "bpda": {"steps": 10},
        "square": {"queries": 20},
    }
}
"""Arguments of attacks where the declared ones would take hours."""
VOTES = 2  # draws over which an attack averages

TRANSFERRED, CERTIFIED, COST = "transfer", "certified-l2", "milliseconds"
VALIDATED = "validation_accuracy"
TIMES = (100, 200, 300, 400, 500)
"""t* of diffusion among which its default was chosen."""
_VALIDATION = 100  # images
READ = "validation_accuracy_of_robust_reader"
LENGTHS = (10, 25, 50, 100, 200)
"""Steps of Defense-GAN's search, up to its own."""
RADII = (0.25, 0.5, 1.0)
_TIMED = 16  # images


@script("arena", quick=50)
@click.option("--n-search", default=10, show_default=True, help="Images for Defense-GAN and diffusion.")
@click.option(
    "--epsilon", "epsilons", multiple=True, type=float, help="ε of the attacks. Repeatable.  [default: 0.1, 0.2, 0.3]"
)
@click.option(
    "--defense",
    "defenses",
    multiple=True,
    type=click.Choice((*PURIFIERS, *LINES)),
    help="A defence to attack. Repeatable.  [default: all]",
)
@click.option("--copies", default=1000, show_default=True, help="Noisy copies of each image for a certificate.")
def main(options: Options, n_search: int, epsilons: tuple[float, ...], defenses: tuple[str, ...], copies: int) -> None:
    """Today's purifiers beside INC: clean, transferred, worst case, and what a query costs."""
    chosen = [name for name in (*PURIFIERS, *LINES) if name in (defenses or (*PURIFIERS, *LINES))]
    parts = {part for name in chosen for part in zoo.DEFENSES[name].parts}
    run = experiment(options, "classifier", optional=tuple(sorted(parts - {"classifier"})))
    run.record.deviations.append("Not in the paper, which has INC and Autoencode-and-Classify alone.")
    for name in chosen:
        if set(zoo.DEFENSES[name].parts) <= run.bench.parts.models.keys():
            images = run.images.take(min(n_search, len(run.images))) if name in SEARCHED else run.images
            _measure(run, name, images, sorted(epsilons) or [0.1, 0.2, 0.3])
    if "denoiser" in run.bench.parts.models:
        _choose_time(run)
    if {"wgan", "pgd-trained"} <= run.bench.parts.models.keys():
        _lengthen(run)
    if "noise-trained" in run.bench.parts.models:
        _certify(run, copies)
    run.finish(table(run.record), draw)


def _choose_time(run: Run) -> None:
    """Add what diffusion keeps of validation images at each t*, clean and under PGD on C at ε 0.3."""
    validation = data.load(run.images.name, "validation").take(_VALIDATION)
    for time_ in TIMES:
        name = f"diffusion-{time_}"
        projector = DiffusionProjector(run.bench.parts["denoiser"], time_, bounds=run.images.bounds)
        run.bench.made[name] = zoo.behind(run.bench.parts, projector)
        for (attack, _), answer in sweep(run, validation, [CLEAN, Attack("pgd", 0.3, against=name)], [name]).items():
            found = estimates.share(answer["correct"])
            run.record.add(found, metric=VALIDATED, defense=name, attack=attack.name, epsilon=attack.epsilon)


def _lengthen(run: Run) -> None:
    """Add what Defense-GAN keeps of validation images under FGSM on C at ε 0.3, by the steps of its search, and what
    the classifier trained against PGD reads in the same G(z*).
    """
    validation = data.load(run.images.name, "validation").take(_VALIDATION)
    own = run.bench.defense("defense-gan").projector
    attack = Attack("fgsm", 0.3)
    for steps in LENGTHS:
        name = f"defense-gan-{steps}"
        projector = LatentProjector(own.generator, replace(own.solver, steps=steps), own.start)
        run.bench.made[name] = zoo.behind(run.bench.parts, projector)
        (answer,) = sweep(run, validation, [attack], [name], keep=("projections",)).values()
        read = run.bench.parts["pgd-trained"].predict(answer["projections"], verbose=0).argmax(axis=1)
        for metric, right in ((VALIDATED, answer["correct"]), (READ, read == validation.labels)):
            run.record.add(estimates.share(right), metric=metric, defense=name, attack=attack.name, epsilon=0.3)
        run.record.add(estimates.mean(answer["distance"]), metric="validation_distance", defense=name)


def _measure(run: Run, name: str, images: data.Dataset, epsilons: list[float]) -> None:
    """Add what one defence keeps, and what it costs."""
    record = run.record
    draws = record.draws[name] = page.draws(run, images, name)
    attacks = [
        Attack(method, epsilon, SETTINGS.get(name, {}).get(method, {}), name, _votes(method, draws))
        for method in (*TRANSFER, *_own(run, name))
        for epsilon in epsilons
    ]
    answers = sweep(run, images, [CLEAN, *attacks], [name], draws={name: draws})
    for (attack, _), answer in answers.items():
        found = scoring.accuracy(answer["correct"], record.seed)
        record.add(found, metric="accuracy", defense=name, attack=attack.name, epsilon=attack.epsilon)
    transferred: Answers = {case: a for case, a in answers.items() if case[0].name in ("clean", *TRANSFER)}
    for epsilon in epsilons:
        for kind, shown in ((TRANSFERRED, transferred), (page.WORST, answers)):
            left = scoring.of_scores(page.worst(shown, name, epsilon, len(images)), record.seed)
            record.add(left, metric="accuracy", defense=name, attack=kind, epsilon=epsilon)
    record.add(_cost(run, name), metric=COST, defense=name)


def _votes(method: str, draws: int) -> int:
    return VOTES if draws > 1 and METHODS[method].searches else 1


def _own(run: Run, name: str) -> list[str]:
    """The attacks that know the defence and go through it."""
    defense = run.bench.defense(name)
    suited = [method for method in OWN if TARGETS[METHODS[method].target].suits(defense)]
    if not has_gradient(defense, run.images.images[:1]):
        suited.remove("end-to-end")
    return suited


def _cost(run: Run, name: str) -> estimates.Estimate:
    """Processor time of a query in milliseconds, in a batch of 16: the mean of three, and the least and the most."""
    images, defense = run.images.take(min(_TIMED, len(run.images))), run.bench.defense(name)

    def compute() -> dict[str, np.ndarray]:
        defense(images.images)  # compiles
        taken = []
        for _ in range(3):
            start = time.process_time()
            defense(images.images)
            taken.append(1000 * (time.process_time() - start) / len(images))
        return {COST: np.array(taken)}

    taken = run.cached({COST: run.bench.digest(name), **images.digest}, compute)[COST]
    return estimates.Estimate(float(taken.mean()), float(taken.min()), float(taken.max()), len(images))


def _certify(run: Run, copies: int) -> None:
    """Add the share of images that smoothing provably has right within each radius."""
    smoothed = run.bench.defense("smoothed")
    assert isinstance(smoothed, SmoothedClassifier)

    def compute() -> dict[str, np.ndarray]:
        return smoothed.certify(run.images.images, n=copies, seed=run.bench.seed)._asdict()

    key = {CERTIFIED: run.bench.digest("smoothed"), "copies": copies, "seed": run.bench.seed, **run.images.digest}
    found = run.cached(key, compute)
    for radius in RADII:
        proven = (found["predictions"] == run.images.labels) & (found["radii"] > radius)
        run.record.add(estimates.share(proven), metric="accuracy", defense="smoothed", attack=CERTIFIED, epsilon=radius)


def _epsilons(record: Record) -> list[float]:
    return sorted({row["epsilon"] for row in record.select(attack=page.WORST)})


def table(record: Record) -> str:
    """Markdown: a row for each defence; then each attack by itself, and what smoothing proves."""
    defenses = list(dict.fromkeys(row["defense"] for row in record.select(attack=page.WORST)))
    kinds = [(kind, epsilon) for epsilon in _epsilons(record) for kind in (TRANSFERRED, page.WORST)]
    rows = []
    for name in defenses:
        clean, cost = record.one(defense=name, attack="clean"), record.one(defense=name, metric=COST)
        found = [record.one(defense=name, attack=kind, epsilon=epsilon) for kind, epsilon in kinds]
        rows.append([label(name), clean["n"], f"{cost['value']:.1f}", *map(percent, (clean, *found))])
    said = [f"{kind.replace('-', ' ')} {epsilon:g}" for kind, epsilon in kinds]
    tables = [markdown(rows, ["defence", "n", "ms a query", "clean", *said])]
    each = []
    for method in (*TRANSFER, *OWN):
        for epsilon in _epsilons(record):
            shown = [record.select(defense=name, attack=method, epsilon=epsilon) for name in defenses]
            if any(shown):
                cells = [percent(one[0]) if one else NOTHING for one in shown]
                each.append([METHODS[method].describe(), f"{epsilon:g}", *cells])
    tables.append(markdown(each, ["attack", "ε", *map(label, defenses)]))
    kept = {t: record.select(defense=f"diffusion-{t}", metric=VALIDATED) for t in TIMES}
    validated = [[t, *map(percent, rows)] for t, rows in kept.items() if rows]
    if validated:
        tables.append("Diffusion on validation images, from which its time t* was chosen:")
        tables.append(markdown(validated, ["t*", "clean", "PGD-40 on C, ε 0.3"]))
    lengths = [steps for steps in LENGTHS if record.select(defense=f"defense-gan-{steps}")]
    if lengths:
        tables.append(
            "Defense-GAN on validation images under FGSM on C at ε 0.3, by the steps of its search: what C answers, "
            "and what the classifier trained against PGD reads in the same G(z*):"
        )
        tables.append(markdown([_length(record, steps) for steps in lengths], ["steps", "‖G(z*) − x‖", "C", "reader"]))
    certified = record.select(attack=CERTIFIED)
    if certified:
        proven = "; ".join(f"{row['epsilon']:g}: {percent(row)}" for row in certified)
        tables.append(
            f"Accuracy that randomised smoothing proves within an ℓ2 radius, n = {certified[0]['n']}: {proven}."
        )
    lots = "; ".join(f"{label(name)}: {m}" for name, m in record.draws.items() if m > 1)
    if lots:
        tables.append(f"Draws over which a defence that draws lots is scored: {lots}.")
    return "\n\n".join(tables)


def _length(record: Record, steps: int) -> list:
    name = f"defense-gan-{steps}"
    distance = record.one(defense=name, metric="validation_distance")
    shares = (record.one(defense=name, metric=metric) for metric in (VALIDATED, READ))
    return [steps, interval(distance, 2), *map(percent, shares)]


def draw(record: Record) -> plt.Figure:
    """Worst-case accuracy at the greatest ε against the cost of a query; the lines to beat across."""
    figure, (axes,) = panels(width=7, height=4.5)
    epsilon = _epsilons(record)[-1]
    for row in record.select(attack=page.WORST, epsilon=epsilon):
        name, cost = row["defense"], record.one(defense=row["defense"], metric=COST)["value"]
        value, reach = whiskers([row], 100)
        axes.errorbar([cost], value, yerr=reach, fmt="o", capsize=3, color=color(name), label=label(name))
        if name in LINES:
            axes.axhline(value[0], color=color(name), linestyle="--", linewidth=1)
    axes.set(xscale="log", xlabel="processor time of a query, ms", ylabel="worst-case accuracy, %", ylim=(-4, 104))
    axes.set_title(f"{title(record.dataset)}: worst case at ε {epsilon:g} (ℓ∞), 95 % intervals")
    axes.grid(alpha=0.3)
    legend(figure, 3)
    return figure


if __name__ == "__main__":
    main()
