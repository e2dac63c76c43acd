"""Figure 5: how far attacks on a substitute model carry over to INC (section 4.2.2).

The substitute has the inner classifier's architecture and learns INC's answers on images that INC is asked about. What
FGSM and BIM find on it is tried on INC, over the images that both get right.
"""

from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from inc_tf import data, evaluation
from inc_tf.attacks import substitute
from inc_tf.records import Record
from reproduce._common import Experiment, draw_shares, options, percent
from reproduce._sweep import CLEAN, Attack, build_defense, sweep

EPSILONS = (0.01, 0.05, 0.1, 0.2)
ATTACKS = {"substitute-fgsm": "FGSM", "substitute-bim": "BIM, 20 steps of 2ε"}
DEFENSES = {"undefended": "undefended", "inc": "INC"}
EPOCHS = 40
BATCH_SIZE = 50


@click.command("figure_5")
@options(quick=100, papers="celeb_a")
@click.option("--queries", default=200, show_default=True, help="Validation images that INC is asked about.")
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, queries: int) -> None:
    """Figure 5: the share of attacks on a substitute model that carry over to INC."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"), papers="celeb_a")
    trained = {"queries": queries, "substitute_epochs": EPOCHS}
    experiment.models["substitute"] = _substitute(experiment, queries)
    experiment.record.deviations.append(
        f"The paper does not say how often INC is asked: here on {queries} validation images and on an adversarial "
        "input (FGSM on the inner classifier, ε 0.1) of each."
    )
    attacks = [Attack(name, epsilon, surrogate=trained) for name in ATTACKS for epsilon in EPSILONS]
    clean_own = experiment.models["substitute"].predict(experiment.data.images, verbose=0).argmax(axis=1)
    own_right = clean_own == experiment.data.labels
    experiment.record.add(
        evaluation.share(own_right), metric="accuracy", defense="substitute", attack="clean", epsilon=0.0
    )
    answers = sweep(experiment, experiment.data, [CLEAN, *attacks], list(DEFENSES))
    for attack in attacks:
        for defense in DEFENSES:
            both = own_right & answers[CLEAN, defense]["correct"]
            carried = evaluation.share(~answers[attack, defense]["correct"][both])
            experiment.record.add(
                carried, metric="transfer", defense=defense, attack=attack.name, epsilon=attack.epsilon
            )
    experiment.finish(table(experiment.record), draw)


def _substitute(experiment: Experiment, queries: int):
    classifier, seed = experiment.models["classifier"], experiment.record.seed
    images = data.load(experiment.record.dataset, "validation").take(queries)
    defense = build_defense(experiment, "inc")

    def ask() -> dict[str, np.ndarray]:
        answers = substitute.query(
            lambda x: defense(x, seed=seed).predictions, classifier, images.images, bounds=images.bounds
        )
        return {"images": answers.images, "labels": answers.labels}

    found = experiment.cached({"queries": queries}, images, ask)
    answers = data.Dataset("substitute", "train", found["images"], found["labels"], images.bounds)
    directory = experiment.out / "runs" / f"substitute-{experiment.record.dataset}-{queries}-{seed}"
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
    rows = [
        [label, f"{epsilon:g}"]
        + [
            percent(record.one(metric="transfer", defense=defense, attack=attack, epsilon=epsilon))
            for defense in DEFENSES
        ]
        for attack, label in ATTACKS.items()
        for epsilon in EPSILONS
    ]
    return tabulate(rows, ["on the substitute", "ε", *DEFENSES.values()], tablefmt="github", disable_numparse=True)


def draw(record: Record) -> plt.Figure:
    """The share that carries over against ε: a panel for each attack, a line for each defence."""
    figure, panels = plt.subplots(1, len(ATTACKS), figsize=(10, 4), sharey=True)
    for axes, (attack, title) in zip(panels, ATTACKS.items(), strict=True):
        for defense, label in DEFENSES.items():
            rows = record.select(metric="transfer", defense=defense, attack=attack)
            draw_shares(axes, rows, label, "carried over, %")
        axes.set(xlabel="ε (ℓ∞)", title=f"{title} on the substitute")
    panels[0].legend()
    figure.suptitle(f"Figure 5: {record.dataset}, {record.rows[0]['n']} images, of which those that both get right")
    return figure


if __name__ == "__main__":
    main()
