"""Figure 4: faces, their projections, attacked faces and theirs, each with the classifier's class and confidence.

CelebA may not be passed on: the plot shows its images, so it belongs into `results/`, which git ignores.
"""

from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tabulate import tabulate

from inc_tf.evaluation.experiment import Experiment, image_rows, options, percent, titles
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, attack_images, sweep

EPSILON = 0.1
COLUMNS = 8


@click.command("figure_4")
@options(quick=COLUMNS, papers="celeb_a")
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool) -> None:
    """Figure 4: images and attacked images, their projections, and what the classifier thinks of each."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"), papers="celeb_a")
    attack = Attack("fgsm", EPSILON)
    experiment.record.deviations.append(f"The paper does not name the attack of this figure: FGSM at ε {EPSILON}.")
    answers = sweep(experiment, experiment.data, [CLEAN, attack], ["undefended"])
    projected = sweep(experiment, experiment.data, [CLEAN, attack], ["inc"], keep=("projections",))
    add_accuracies(experiment, answers | projected)
    rows = {
        "x": experiment.data.images,
        "G(z*)": projected[CLEAN, "inc"]["projections"],
        "x_adv": attack_images(experiment, attack, experiment.data).images,
        "G(z*_adv)": projected[attack, "inc"]["projections"],
    }
    experiment.finish(table(experiment.record), lambda record: draw(experiment, rows))


def table(record) -> str:
    """Markdown: the accuracy of each defence on the images shown."""
    rows = [
        [row["defense"], row["attack"], f"{row['epsilon']:g}", row["n"], percent(row)]
        for row in record.select(metric="accuracy")
    ]
    return tabulate(rows, ["defence", "attack", "ε", "n", "accuracy"], tablefmt="github", disable_numparse=True)


def draw(experiment: Experiment, rows: dict[str, np.ndarray]) -> plt.Figure:
    """The first images, a row each; over each the class and its probability, red where it is wrong."""
    figure, axes = image_rows(rows, experiment.data.bounds, COLUMNS)
    for line, images in zip(axes, rows.values(), strict=True):
        found = tf.nn.softmax(experiment.models["classifier"](images[:COLUMNS])).numpy()
        titles(line, found, experiment.data.labels, experiment.record.dataset)
    figure.suptitle(f"Figure 4: {experiment.record.dataset}, FGSM at ε = {EPSILON}; wrong classes in red")
    return figure


if __name__ == "__main__":
    main()
