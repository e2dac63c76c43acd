"""Figure 12: Invert-and-Classify against Autoencode-and-Classify (Appendix A), under FGSM and under eq. (12)'s attack.

The projection by a search and the projection by one pass through the VAE's encoder, each under FGSM on the bare
classifier C, under FGSM on the whole C∘G∘E, which has gradients (eq. (12)), and under PGD on it.
"""

from pathlib import Path

import click

from inc_tf.evaluation.experiment import Experiment, accuracy_panels, accuracy_table, options
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, sweep

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
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"))
    attacks = [CLEAN, *(Attack(name, epsilon) for name in ATTACKS for epsilon in EPSILONS)]
    add_accuracies(experiment, sweep(experiment, experiment.data, attacks, ["undefended", *DEFENSES]))
    experiment.finish(
        accuracy_table(experiment.record, ATTACKS, EPSILONS, {"undefended": "undefended", **DEFENSES}),
        lambda record: accuracy_panels(record, "Figure 12", ATTACKS, DEFENSES),
    )


if __name__ == "__main__":
    main()
