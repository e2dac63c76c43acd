"""Figure 7: both losses over the training against the overpowered attack, as its checkpoint's card has logged them."""

from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from inc_tf import checkpoints
from inc_tf import estimates
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.experiment import CHECKPOINTS, options
from inc_tf.evaluation.pairs import pair_experiment

LINES = {
    "loss": "cross-entropy on the data",
    "pairs/loss": "‖C(G(z)) − C(G(z′))‖² on the pairs",
    "pairs/flips": "pairs told apart",
}
_SPANS = 10  # of training, over each of which the log is averaged


@click.command("figure_7")
@options(quick=None, papers="celeb_a")
def main(dataset: str, seed: int, out: Path, quiet: bool) -> None:
    """Figure 7: both losses over the training against the overpowered attack."""
    experiment = pair_experiment(dataset, seed, out, quiet, quick=False)
    card = checkpoints.card(CHECKPOINTS[experiment.record.dataset]["robust"])
    experiment.record.deviations.append(
        f"Each step searches {card['pairs']} pairs for {card['attack_steps']} steps on from where they were, "
        f"each for {card['lifetime']} steps of training; the paper starts anew and takes 500. μ = {card['mu']:g}."
    )
    history = card["history"]
    for span in np.array_split(np.arange(len(history["step"])), _SPANS):
        for metric in LINES:
            values = np.array(history[metric])[span]
            experiment.record.add(estimates.mean(values), metric=f"{metric}@{history['step'][span[-1]]}")
    experiment.finish(table(experiment.record), draw)


def _spans(record: Record) -> list[int]:
    return [int(row["metric"].split("@")[1]) for row in record.rows[:: len(LINES)]]


def table(record: Record) -> str:
    """Markdown: a row for each tenth of the training."""
    rows = []
    for step in _spans(record):
        found = [record.one(metric=f"{metric}@{step}") for metric in LINES]
        rows.append([step, *(f"{row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f})" for row in found)])
    return tabulate(rows, ["to step", *LINES.values()], tablefmt="github", disable_numparse=True)


def draw(record: Record) -> plt.Figure:
    """A line for each loss."""
    figure, axes = plt.subplots(figsize=(7, 4))
    steps = _spans(record)
    for metric, label in LINES.items():
        rows = [record.one(metric=f"{metric}@{step}") for step in steps]
        axes.plot(steps, [row["value"] for row in rows], marker="o", label=label)
        axes.fill_between(steps, [row["low"] for row in rows], [row["high"] for row in rows], alpha=0.2)
    axes.set(xlabel="training step", ylim=(0, None), title=f"Figure 7: {record.dataset}, 95 % intervals")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
