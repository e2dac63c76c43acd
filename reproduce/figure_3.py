"""Figure 3: the accuracy of the MNIST classifier, with and without INC, as FGSM's ε grows from 0 to 0.3."""

from pathlib import Path

import click
import matplotlib.pyplot as plt
from tabulate import tabulate

import inc_tf as inc
from inc_tf import data, evaluation
from inc_tf.records import Record
from inc_tf.store import Arrays
from reproduce._common import Experiment, options, percent

EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
DEFENSES = ("undefended", "inc")


@click.command("figure_3")
@options(quick=300)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool) -> None:
    """Figure 3: accuracy against FGSM's ε, with and without INC (Algorithm 1: Adam 0.1, T = 2000, R = 1)."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "vae"))
    classifier, generator = experiment.models["classifier"], experiment.models["vae"].generator
    defense = inc.InvertAndClassify(classifier, inc.LatentProjector(generator))

    def compute(images: data.Dataset, unit: dict) -> Arrays:
        attacked = inc.attacks.fgsm(
            classifier, images.images, images.labels, bounds=images.bounds, epsilon=unit["epsilon"]
        )
        answer = defense(attacked, seed=seed)
        undefended = classifier.predict(attacked, verbose=0).argmax(axis=1)
        return {
            "undefended": undefended == images.labels,
            "inc": answer.predictions.numpy() == images.labels,
            "distance": answer.distances.numpy(),
        }

    units = [{"attack": "fgsm", "epsilon": epsilon} for epsilon in EPSILONS]
    for epsilon, answer in zip(EPSILONS, experiment.run(units, compute), strict=True):
        attack = "fgsm" if epsilon else "clean"
        for name in DEFENSES:
            experiment.record.add(
                evaluation.share(answer[name]), metric="accuracy", defense=name, attack=attack, epsilon=epsilon
            )
        distance = evaluation.mean(answer["distance"])
        experiment.record.add(distance, metric="distance", defense="inc", attack=attack, epsilon=epsilon)
    experiment.finish(table(experiment.record), draw)


def table(record: Record) -> str:
    """Markdown: a row for each ε."""
    rows = [
        [f"{epsilon:.2f}"]
        + [percent(row) for row in record.select(epsilon=epsilon, metric="accuracy")]
        + [f"{record.select(epsilon=epsilon, metric='distance')[0]['value']:.2f}"]
        for epsilon in EPSILONS
    ]
    return tabulate(
        rows, ["FGSM ε", "undefended", "INC", "mean ‖G(z*) − x‖₂"], tablefmt="github", disable_numparse=True
    )


def draw(record: Record) -> plt.Figure:
    """Accuracy against ε, a line for each defence, with 95 % intervals."""
    figure, axes = plt.subplots(figsize=(6, 4))
    for name, label in zip(DEFENSES, ("undefended", "Invert-and-Classify"), strict=True):
        rows = record.select(defense=name, metric="accuracy")
        values = [100 * row["value"] for row in rows]
        below = [value - 100 * row["low"] for value, row in zip(values, rows, strict=True)]
        above = [100 * row["high"] - value for value, row in zip(values, rows, strict=True)]
        axes.errorbar(EPSILONS, values, yerr=[below, above], marker="o", capsize=3, label=label)
    axes.set(xlabel="FGSM ε (ℓ∞)", ylabel="accuracy, %", ylim=(0, 101))
    axes.set_title(f"Figure 3: {record.dataset}, n = {rows[0]['n']}, 95 % Wilson intervals")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
