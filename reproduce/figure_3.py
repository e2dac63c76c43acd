"""Figure 3: the accuracy of the MNIST classifier, with and without INC, as FGSM's ε grows from 0 to 0.3."""

from collections.abc import Sequence

import matplotlib.pyplot as plt

from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import INTERVALS, draw_defenses, label, legend, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, sweep
from inc_tf.evaluation.tables import markdown, percent

ATTACKS = [CLEAN, *(Attack("fgsm", epsilon) for epsilon in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3))]
DEFENSES = ("undefended", "inc")


@script("figure_3", quick=300)
def main(options: Options) -> None:
    """Figure 3: accuracy against FGSM's ε, with and without INC (Algorithm 1: Adam 0.1, T = 2000, R = 1)."""
    run = experiment(options, "classifier", "generative")
    add_accuracies(run, sweep(run, run.images, ATTACKS, list(DEFENSES)))
    run.finish(table(run.record), draw)


def table(record: Record, defenses: Sequence[str] = DEFENSES) -> str:
    """Markdown: a row for each ε, the accuracy of each defence, and the mean distance of each that projects."""
    projecting = [defense for defense in defenses if defense != "undefended"]
    rows = []
    for attack in ATTACKS:
        accuracies = [record.one(epsilon=attack.epsilon, metric="accuracy", defense=defense) for defense in defenses]
        distances = [record.one(epsilon=attack.epsilon, metric="distance", defense=defense) for defense in projecting]
        mean_distances = " / ".join(f"{row['value']:.2f}" for row in distances)
        rows.append([f"{attack.epsilon:.2f}", *map(percent, accuracies), mean_distances])
    header = ["FGSM ε", *map(label, defenses), "mean ‖G(z*) − x‖₂"]
    return markdown(rows, header)


def draw(record: Record, defenses: Sequence[str] = DEFENSES) -> plt.Figure:
    """Accuracy against ε, a line for each defence."""
    figure, (axes,) = panels()
    draw_defenses(axes, {defense: record.select(defense=defense, metric="accuracy") for defense in defenses})
    n = record.rows[0]["n"]
    axes.set(xlabel="FGSM ε (ℓ∞)", title=f"Figure 3: {title(record.dataset)}, n = {n}, {INTERVALS}")
    legend(figure)
    return figure


if __name__ == "__main__":
    main()
