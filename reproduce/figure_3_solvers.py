"""Figure 3 for each solver: whether a faster or closer projection makes INC more robust."""

import matplotlib.pyplot as plt
from inc_tf.reproduce import figure_3

from inc_tf.cli.scripts import script
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, experiment
from inc_tf.evaluation.sweep import add_accuracies, sweep

DEFENSES = ("undefended", "inc", "inc-fast", "inc-lbfgs")


@script("figure_3_solvers", quick=100)
def main(options: Options) -> None:
    """Figure 3 with each solver: Adam, Levenberg–Marquardt and L-BFGS."""
    run = experiment(options, "classifier", "generative")
    add_accuracies(run, sweep(run, run.images, figure_3.ATTACKS, list(DEFENSES)))
    run.finish(table(run.record), draw)


def table(record: Record) -> str:
    """Markdown: a row for each ε, a column for each solver."""
    return figure_3.table(record, DEFENSES)


def draw(record: Record) -> plt.Figure:
    """Accuracy against ε, a line for each solver."""
    return figure_3.draw(record, DEFENSES)


if __name__ == "__main__":
    main()
