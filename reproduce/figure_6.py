"""Figure 6: pairs of the overpowered attack, both images of each with the classifier's class and confidence."""

from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from inc_tf import estimates
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.experiment import Experiment, image_rows, percent, titles
from inc_tf.evaluation.pairs import FULL, VALID, find, pair_experiment, pair_options, probabilities

COLUMNS = 8


@click.command("figure_6")
@pair_options(quick=COLUMNS)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, steps: int) -> None:
    """Figure 6: close images of the generator's range that the classifier tells apart."""
    n = FULL if full else n
    experiment = pair_experiment(dataset, seed, out, quiet, quick=n < FULL)
    pairs = find(experiment, "undefended", n, steps)
    rows = {"G(z)": pairs["images"], "G(z′)": pairs["other_images"]}
    both = {label: probabilities(experiment, "undefended", images) for label, images in rows.items()}
    classes = [found.argmax(axis=1) for found in both.values()]
    labels: dict = {"defense": "undefended", "attack": "overpowered"}
    experiment.record.add(estimates.share(pairs["mse"] < VALID), metric="valid", **labels)
    experiment.record.add(estimates.share(classes[0] != classes[1]), metric="flips", **labels)
    experiment.finish(table(experiment.record), lambda record: draw(experiment, rows, both))


def table(record: Record) -> str:
    """Markdown: how many of the pairs are close, and how many are told apart."""
    rows = [[row["metric"], row["n"], percent(row)] for row in record.rows]
    return tabulate(rows, ["pairs that are", "n", "share"], tablefmt="github", disable_numparse=True)


def draw(experiment: Experiment, rows: dict[str, np.ndarray], both: dict[str, np.ndarray]) -> plt.Figure:
    """The first pairs, one over the other; z′ in red where its class is another."""
    figure, axes = image_rows(rows, experiment.data.bounds, COLUMNS)
    expected = both["G(z)"].argmax(axis=1)
    for line, found in zip(axes, both.values(), strict=True):
        titles(line, found, expected, experiment.record.dataset)
    figure.suptitle(f"Figure 6: {experiment.record.dataset}, pairs at a mean squared distance of at most 2e-4")
    return figure


if __name__ == "__main__":
    main()
