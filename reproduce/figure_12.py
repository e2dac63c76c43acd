"""Figure 12: Invert-and-Classify against Autoencode-and-Classify (Appendix A), under FGSM and under eq. (12)'s attack.

The projection by a search and the projection by one pass through the VAE's encoder, each under FGSM on the bare
classifier C, under FGSM on the whole C∘G∘E, which has gradients (eq. (12)), and under PGD on it.
"""

from pathlib import Path

import click
import matplotlib.pyplot as plt
from tabulate import tabulate

from inc_tf.records import Record
from reproduce._common import Experiment, draw_shares, options, percent
from reproduce._sweep import CLEAN, Attack, add_accuracies, sweep

EPSILONS = (0.1, 0.2, 0.3)
ATTACKS = {
    "fgsm": "FGSM on C",
    "autoencode-fgsm": "FGSM on C∘G∘E, eq. (12)",
    "autoencode-pgd": "PGD-40 on C∘G∘E",
}
DEFENSES = {"autoencode": "Autoencode-and-Classify", "inc": "Invert-and-Classify"}


@click.command("figure_12")
@options(quick=100)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool) -> None:
    """Figure 12: INC and Autoencode-and-Classify, under FGSM and under the autoencoder's own attack."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "vae"))
    attacks = [CLEAN, *(Attack(name, epsilon) for name in ATTACKS for epsilon in EPSILONS)]
    add_accuracies(experiment, sweep(experiment, experiment.data, attacks, ["undefended", *DEFENSES]))
    experiment.finish(table(experiment.record), draw)


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε."""
    rows = [["clean", "0", *_percents(record, "clean", 0.0)]]
    rows += [
        [label, f"{epsilon:g}", *_percents(record, name, epsilon)]
        for name, label in ATTACKS.items()
        for epsilon in EPSILONS
    ]
    return tabulate(rows, ["attack", "ε", "undefended", *DEFENSES.values()], tablefmt="github", disable_numparse=True)


def _percents(record: Record, attack: str, epsilon: float) -> list[str]:
    return [
        percent(record.one(attack=attack, epsilon=epsilon, defense=defense, metric="accuracy"))
        for defense in ("undefended", *DEFENSES)
    ]


def draw(record: Record) -> plt.Figure:
    """Accuracy against ε: a panel for each attack, a line for each defence."""
    figure, panels = plt.subplots(1, len(ATTACKS), figsize=(13, 4), sharey=True)
    for axes, (attack, title) in zip(panels, ATTACKS.items(), strict=True):
        for defense, label in DEFENSES.items():
            rows = [
                row for row in record.select(defense=defense, metric="accuracy") if row["attack"] in ("clean", attack)
            ]
            draw_shares(axes, rows, label)
        axes.set(xlabel="ε (ℓ∞)", title=title)
    panels[0].legend()
    figure.suptitle(f"Figure 12: {record.dataset}, n = {record.rows[0]['n']}, 95 % Wilson intervals")
    return figure


if __name__ == "__main__":
    main()
