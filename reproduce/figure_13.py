"""Figure 13: images that fool Autoencode-and-Classify, and what each projector makes of them (Appendix A)."""

from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from inc_tf.data import Bounds
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.experiment import Experiment, image_rows, options, percent
from inc_tf.evaluation.sweep import Attack, add_accuracies, attack_images, sweep

EPSILON = 0.2
COLUMNS = 10
PROJECTIONS = {"autoencode": "G(E(x_adv))", "inc": "G(z*(x_adv))"}


@click.command("figure_13")
@options(quick=100)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool) -> None:
    """Figure 13: eq. (12)'s attack on the autoencoder, its images, and both projections of them."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"))
    attack = Attack("autoencode-fgsm", EPSILON)
    answers = sweep(experiment, experiment.data, [attack], list(PROJECTIONS), keep=("projections",))
    add_accuracies(experiment, answers)
    rows = {"x": experiment.data.images, "x_adv": attack_images(experiment, attack, experiment.data).images}
    rows |= {label: answers[attack, name]["projections"] for name, label in PROJECTIONS.items()}
    experiment.finish(table(experiment.record), lambda record: draw(record, rows, experiment.data.bounds))


def table(record: Record) -> str:
    """Markdown: the accuracy of each defence on these images."""
    rows = [[row["defense"], f"{row['epsilon']:g}", row["n"], percent(row)] for row in record.select(metric="accuracy")]
    header = ["defence", "ε of eq. (12)'s attack", "n", "accuracy"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def draw(record: Record, rows: dict[str, np.ndarray], bounds: Bounds) -> plt.Figure:
    """The first images, a row each: clean, attacked, autoencoded, projected."""
    figure, _ = image_rows(rows, bounds, COLUMNS)
    figure.suptitle(f"Figure 13: {record.dataset}, eq. (12)'s attack on the autoencoder at ε = {EPSILON}")
    return figure


if __name__ == "__main__":
    main()
