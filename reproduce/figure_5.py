"""Figure 5: how far attacks on a substitute model carry over to INC (section 4.2.2).

The substitute has the inner classifier's architecture and learns INC's answers on images that INC is asked about. What
FGSM and BIM find on it is tried on INC, over the images that both get right.
"""

from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from inc_tf import data
from inc_tf import estimates
from inc_tf.attacks import substitute
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.experiment import Experiment, draw_shares, options, percent
from inc_tf.evaluation.sweep import CLEAN, Attack, build_defense, sweep

EPSILONS = (0.01, 0.05, 0.1, 0.2)
ATTACKS = {"substitute-fgsm": "FGSM", "substitute-bim": "BIM, 20 steps of 2ε"}
DEFENSES = {"undefended": "undefended", "inc": "INC"}
FAST = {"undefended": "undefended", "inc-fast": "INC, fast solver"}
EPOCHS = 40
BATCH_SIZE = 50


@click.command("figure_5")
@options(quick=100, papers="celeb_a")
@click.option("--queries", default=200, show_default=True, help="Validation images that INC is asked about.")
@click.option("--fast", is_flag=True, help="INC with the fast solver, in the place of the paper's search.")
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, queries: int, fast: bool) -> None:
    """Figure 5: the share of attacks on a substitute model that carry over to INC."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"), papers="celeb_a")
    defenses = FAST if fast else DEFENSES
    search = list(defenses)[1]
    trained = {"queries": queries, "substitute_epochs": EPOCHS, **({"of": search} if fast else {})}
    experiment.made["substitute"] = _substitute(experiment, queries, search)
    if fast:
        experiment.record.deviations.append("INC with the fast solver, in the place of the paper's search.")
    experiment.record.deviations.append(
        f"The paper does not say how often INC is asked: here on {queries} validation images and on an adversarial "
        "input (FGSM on the inner classifier, ε 0.1) of each."
    )
    attacks = [Attack(name, epsilon, surrogate=trained) for name in ATTACKS for epsilon in EPSILONS]
    clean_own = experiment.made["substitute"].predict(experiment.data.images, verbose=0).argmax(axis=1)
    own_right = clean_own == experiment.data.labels
    experiment.record.add(
        estimates.share(own_right), metric="accuracy", defense="substitute", attack="clean", epsilon=0.0
    )
    answers = sweep(experiment, experiment.data, [CLEAN, *attacks], list(defenses))
    for attack in attacks:
        for defense in defenses:
            both = own_right & answers[CLEAN, defense]["correct"]
            carried = estimates.share(~answers[attack, defense]["correct"][both])
            experiment.record.add(
                carried, metric="transfer", defense=defense, attack=attack.name, epsilon=attack.epsilon
            )
    experiment.finish(table(experiment.record), draw)


def _substitute(experiment: Experiment, queries: int, search: str):
    classifier, seed = experiment.models["classifier"], experiment.record.seed
    images = data.load(experiment.record.dataset, "validation").take(queries)
    defense = build_defense(experiment, search)

    def ask() -> dict[str, np.ndarray]:
        answers = substitute.query(
            lambda x: defense(x, seed=seed).predictions, classifier, images.images, bounds=images.bounds
        )
        return {"images": answers.images, "labels": answers.labels}

    asked = {"queries": queries} if search == "inc" else {"queries": queries, "of": search}
    found = experiment.cached(asked, images, ask)
    answers = data.Dataset("substitute", "train", found["images"], found["labels"], images.bounds)
    directory = experiment.out / "runs" / f"substitute-{search}-{experiment.record.dataset}-{queries}-{seed}"
    return substitute.train_substitute(
        classifier,
        answers,
        seed=seed,
        steps=EPOCHS * len(answers) // BATCH_SIZE,
        batch_size=BATCH_SIZE,
        directory=directory,
    )


def table(record: Record) -> str:
    """Markdown: for each attack and ε, the share that carries over, of the images that both get right."""
    shown = _shown(record)
    rows = [
        [label, f"{epsilon:g}"]
        + [percent(record.one(metric="transfer", defense=defense, attack=attack, epsilon=epsilon)) for defense in shown]
        for attack, label in ATTACKS.items()
        for epsilon in EPSILONS
    ]
    return tabulate(rows, ["on the substitute", "ε", *shown.values()], tablefmt="github", disable_numparse=True)


def _shown(record: Record) -> dict[str, str]:
    """The defences of the record, by label."""
    return {name: label for name, label in {**DEFENSES, **FAST}.items() if record.select(defense=name)}


def draw(record: Record) -> plt.Figure:
    """The share that carries over against ε: a panel for each attack, a line for each defence."""
    figure, panels = plt.subplots(1, len(ATTACKS), figsize=(10, 4), sharey=True)
    for axes, (attack, title) in zip(panels, ATTACKS.items(), strict=True):
        for defense, label in _shown(record).items():
            rows = record.select(metric="transfer", defense=defense, attack=attack)
            draw_shares(axes, rows, label, "carried over, %")
        axes.set(xlabel="ε (ℓ∞)", title=f"{title} on the substitute")
    panels[0].legend()
    figure.suptitle(f"Figure 5: {record.dataset}, {record.rows[0]['n']} images, of which those that both get right")
    return figure


if __name__ == "__main__":
    main()
