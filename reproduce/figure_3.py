"""Figure 3: the accuracy of the MNIST classifier, with and without INC, as FGSM's ε grows from 0 to 0.3."""

from pathlib import Path

import click
import matplotlib.pyplot as plt
from tabulate import tabulate

from inc_tf.records import Record
from reproduce._common import Experiment, draw_shares, options, percent
from reproduce._sweep import CLEAN, Attack, add_accuracies, sweep

EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
DEFENSES = {"undefended": "undefended", "inc": "Invert-and-Classify"}


@click.command("figure_3")
@options(quick=300)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool) -> None:
    """Figure 3: accuracy against FGSM's ε, with and without INC (Algorithm 1: Adam 0.1, T = 2000, R = 1)."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "vae"))
    attacks = [CLEAN, *(Attack("fgsm", epsilon) for epsilon in EPSILONS[1:])]
    add_accuracies(experiment, sweep(experiment, experiment.data, attacks, list(DEFENSES)))
    experiment.finish(table(experiment.record), draw)


def table(record: Record) -> str:
    """Markdown: a row for each ε."""
    rows = [
        [f"{epsilon:.2f}"]
        + [percent(record.one(epsilon=epsilon, metric="accuracy", defense=defense)) for defense in DEFENSES]
        + [f"{record.one(epsilon=epsilon, metric='distance')['value']:.2f}"]
        for epsilon in EPSILONS
    ]
    return tabulate(
        rows, ["FGSM ε", "undefended", "INC", "mean ‖G(z*) − x‖₂"], tablefmt="github", disable_numparse=True
    )


def draw(record: Record) -> plt.Figure:
    """Accuracy against ε, a line for each defence."""
    figure, axes = plt.subplots(figsize=(6, 4))
    for defense, label in DEFENSES.items():
        draw_shares(axes, record.select(defense=defense, metric="accuracy"), label)
    n = record.rows[0]["n"]
    axes.set(xlabel="FGSM ε (ℓ∞)", title=f"Figure 3: {record.dataset}, n = {n}, 95 % Wilson intervals")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
