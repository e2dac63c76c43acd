"""Figure 7: both losses over the training against the overpowered attack, from the log in its checkpoint's card."""

import matplotlib.pyplot as plt
import numpy as np

from inc_tf import checkpoints, data, estimates
from inc_tf.cli.scripts import script
from inc_tf.evaluation.pairs import pair_experiment
from inc_tf.evaluation.plots import legend, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options
from inc_tf.evaluation.tables import interval, markdown

LINES = {
    "loss": "cross-entropy on the data",
    "pairs/loss": "‖C(G(z)) − C(G(z′))‖² on the pairs",
    "pairs/flips": "pairs of two classes",
}
_SPANS = 10  # of training, over each of which the log is averaged


@script("figure_7", quick=None, papers="celeb_a")
def main(options: Options) -> None:
    """Figure 7: both losses over the training against the overpowered attack."""
    run, _ = pair_experiment(options)
    run.record.quick = False
    card = checkpoints.card(data.SOURCES[run.images.name].checkpoints["manifold-trained"])
    run.record.deviations.append(
        f"Each step searches {card['pairs']} pairs for {card['attack_steps']} steps on from where they were, "
        f"each for {card['lifetime']} steps of training; the paper starts anew and takes 500. μ = {card['mu']:g}."
    )
    history = card["history"]
    for span in np.array_split(np.arange(len(history["step"])), _SPANS):
        for metric in LINES:
            values = np.array(history[metric])[span]
            run.record.add(estimates.mean(values), metric=f"{metric}@{history['step'][span[-1]]}")
    run.finish(table(run.record), draw)


def _spans(record: Record) -> list[int]:
    return [int(row["metric"].split("@")[1]) for row in record.rows[:: len(LINES)]]


def table(record: Record) -> str:
    """Markdown: a row for each tenth of the training."""
    rows = []
    for step in _spans(record):
        found = [record.one(metric=f"{metric}@{step}") for metric in LINES]
        rows.append([step, *(interval(row) for row in found)])
    return markdown(rows, ["to step", *LINES.values()])


def draw(record: Record) -> plt.Figure:
    """A line for each loss."""
    figure, (axes,) = panels(width=7)
    steps = _spans(record)
    for metric, label in LINES.items():
        rows = [record.one(metric=f"{metric}@{step}") for step in steps]
        axes.plot(steps, [row["value"] for row in rows], marker="o", label=label)
        most = 1.0 if metric == "pairs/flips" else np.inf  # a share's
        low, high = [max(row["low"], 0) for row in rows], [min(row["high"], most) for row in rows]
        axes.fill_between(steps, low, high, alpha=0.2)
    axes.set(xlabel="training step", ylim=(0, None), title=f"Figure 7: {title(record.dataset)}, 95 % intervals")
    axes.grid(alpha=0.3)
    legend(figure, 3)
    return figure


if __name__ == "__main__":
    main()
