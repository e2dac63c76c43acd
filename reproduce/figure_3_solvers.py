"""Figure 3 for each solver: whether a faster or nearer projection is a more robust one."""

from pathlib import Path

import click
import matplotlib.pyplot as plt

from inc_tf.evaluation.records import Record
from inc_tf.reproduce import figure_3
from inc_tf.evaluation.experiment import Experiment, options
from inc_tf.evaluation.sweep import add_accuracies, sweep

DEFENSES = {
    "undefended": "undefended",
    "inc": "INC, Adam T = 2000",
    "inc-fast": "INC, Levenberg–Marquardt",
    "inc-lbfgs": "INC, L-BFGS",
}


@click.command("figure_3_solvers")
@options(quick=100)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool) -> None:
    """Figure 3 with each solver: Adam, Levenberg–Marquardt and L-BFGS."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"))
    add_accuracies(experiment, sweep(experiment, experiment.data, figure_3.ATTACKS, list(DEFENSES)))
    experiment.finish(figure_3.table(experiment.record, DEFENSES), draw)


def draw(record: Record) -> plt.Figure:
    """Accuracy against ε, a line for each solver."""
    return figure_3.draw(record, DEFENSES)


if __name__ == "__main__":
    main()
