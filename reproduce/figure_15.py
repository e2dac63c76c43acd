"""Figure 15: the autoencoder's detection strategy, by ‖x − G(E(x))‖₂ (Appendix A), under eq. (12)'s attack."""

import matplotlib.pyplot as plt
import numpy as np

from inc_tf import estimates
from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import legend, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, sweep
from inc_tf.evaluation.tables import interval, markdown

ATTACKS = [Attack("autoencode-fgsm", epsilon) for epsilon in (0.1, 0.2, 0.3)]


@script("figure_15", quick=100)
def main(options: Options) -> None:
    """Figure 15: the distance between an image and its autoencoding, clean and under eq. (12)'s attack."""
    run = experiment(options, "classifier", "generative")
    answers = sweep(run, run.images, [CLEAN, *ATTACKS], ["autoencode"])
    distances = {attack: answer["distance"] for (attack, _), answer in answers.items()}
    for attack, distance in distances.items():
        labels: dict = {"defense": "autoencode", "attack": attack.name, "epsilon": attack.epsilon}
        run.record.add(estimates.mean(distance), metric="distance", **labels)
        if attack != CLEAN:
            run.record.add(estimates.roc_area(distances[CLEAN], distance), metric="roc_area", **labels)
    run.finish(table(run.record), lambda record: draw(record, distances))


def table(record: Record) -> str:
    """Markdown: a row for each attack."""
    rows = []
    for attack in (CLEAN, *ATTACKS):
        distance = record.one(metric="distance", epsilon=attack.epsilon)
        area = record.select(metric="roc_area", epsilon=attack.epsilon)
        shown = interval(area[0]) if area else "—"
        rows.append([attack.label, distance["n"], f"{distance['value']:.2f}", shown])
    return markdown(rows, ["attack", "n", "mean ‖x − G(E(x))‖₂", "ROC area"])


def draw(record: Record, distances: dict) -> plt.Figure:
    """Histograms of the distance, clean and attacked."""
    figure, (axes,) = panels(width=7)
    bins = np.linspace(0, max(distance.max() for distance in distances.values()), 60)
    for attack, distance in distances.items():
        axes.hist(distance, bins=bins, histtype="step", linewidth=1.5, density=True, label=attack.label)
    n = record.rows[0]["n"]
    axes.set(xlabel="‖x − G(E(x))‖₂", ylabel="density", title=f"Figure 15: {title(record.dataset)}, n = {n}")
    legend(figure, 4)
    return figure


if __name__ == "__main__":
    main()
