"""Figure 9: the predictions of both classifiers for the pairs that were found against the first one."""

import matplotlib.pyplot as plt
import numpy as np

from inc_tf import estimates
from inc_tf.cli.scripts import pair_script
from inc_tf.evaluation.pairs import CLASSIFIERS, VALID, find, pair_experiment, probabilities
from inc_tf.evaluation.plots import color, label, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options
from inc_tf.evaluation.tables import interval, markdown


@pair_script("figure_9", quick=64)
def main(options: Options, steps: int) -> None:
    """Figure 9: the softmax outputs of the first and of the robust classifier on the first one's pairs."""
    run, n = pair_experiment(options)
    pairs = find(run, "undefended", n, steps)
    valid = pairs["mse"] < VALID
    run.record.add(estimates.share(valid), metric="valid", attack="overpowered")
    confidences = {}
    for defense in CLASSIFIERS:
        one, other = (probabilities(run, defense, pairs[part][valid]) for part in ("images", "other_images"))
        rows, classes = np.arange(len(one)), one.argmax(axis=1)
        confidences[defense] = one[rows, classes], other[rows, classes]
        gap = confidences[defense][0] - confidences[defense][1]
        run.record.add(estimates.mean(gap), metric="confidence_gap", defense=defense, attack="overpowered")
    run.finish(table(run.record), lambda record: draw(record, confidences))


def table(record: Record) -> str:
    """Markdown: the mean drop of a class's probability from G(z) to G(z′)."""
    rows = [[label(row["defense"]), row["n"], interval(row)] for row in record.select(metric="confidence_gap")]
    header = ["classifier", "valid pairs", "p(class of G(z)) at G(z), less at G(z′)"]
    return markdown(rows, header)


def draw(record: Record, confidences: dict[str, tuple[np.ndarray, np.ndarray]]) -> plt.Figure:
    """A point for each pair: the probability of G(z)'s class at both images; on the diagonal they are alike."""
    figure, beside = panels(len(confidences), 9, 4.5)
    for axes, (defense, (one, other)) in zip(beside, confidences.items(), strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        axes.scatter(one, other, s=12, alpha=0.6, color=color(defense))
        axes.set(title=label(defense), xlabel="at G(z)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    beside[0].set_ylabel("at G(z′)")
    figure.suptitle(f"Figure 9: {title(record.dataset)}, probability of G(z)'s class, {len(one)} pairs")
    return figure


if __name__ == "__main__":
    main()
