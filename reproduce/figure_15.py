"""Figure 15: the autoencoder's detection strategy, by ‖x − G(E(x))‖₂ (Appendix A), under eq. (12)'s attack."""

from pathlib import Path

import click
import matplotlib.pyplot as plt
from tabulate import tabulate

from inc_tf import estimates
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.experiment import Experiment, options
from inc_tf.evaluation.sweep import CLEAN, Attack, attack_name, sweep

ATTACKS = [Attack("autoencode-fgsm", epsilon) for epsilon in (0.1, 0.2, 0.3)]


@click.command("figure_15")
@options(quick=100)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool) -> None:
    """Figure 15: the distance between an image and its autoencoding, clean and under eq. (12)'s attack."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"))
    answers = sweep(experiment, experiment.data, [CLEAN, *ATTACKS], ["autoencode"])
    distances = {attack: answer["distance"] for (attack, _), answer in answers.items()}
    for attack, distance in distances.items():
        labels: dict = {"defense": "autoencode", "attack": attack.name, "epsilon": attack.epsilon}
        experiment.record.add(estimates.mean(distance), metric="distance", **labels)
        if attack != CLEAN:
            experiment.record.add(
                estimates.roc_area(distances[CLEAN], distance, seed=seed), metric="roc_area", **labels
            )
    experiment.finish(table(experiment.record), lambda record: draw(record, distances))


def table(record: Record) -> str:
    """Markdown: a row for each attack."""
    rows = []
    for attack in (CLEAN, *ATTACKS):
        distance = record.one(metric="distance", epsilon=attack.epsilon)
        area = record.select(metric="roc_area", epsilon=attack.epsilon)
        shown = f"{area[0]['value']:.3f} ({area[0]['low']:.3f}–{area[0]['high']:.3f})" if area else "—"
        rows.append([attack_name(attack), distance["n"], f"{distance['value']:.2f}", shown])
    return tabulate(rows, ["attack", "n", "mean ‖x − G(E(x))‖₂", "ROC area"], tablefmt="github", disable_numparse=True)


def draw(record: Record, distances: dict) -> plt.Figure:
    """Histograms of the distance, clean and attacked."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for attack, distance in distances.items():
        axes.hist(distance, bins=40, alpha=0.5, density=True, label=attack_name(attack))
    n = record.rows[0]["n"]
    axes.set(xlabel="‖x − G(E(x))‖₂", ylabel="density", title=f"Figure 15: {record.dataset}, n = {n}")
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
