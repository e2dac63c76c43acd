"""Figure 12: Invert-and-Classify against Autoencode-and-Classify (Appendix A), under FGSM and under eq. (12)'s attack.

The projection by a search and the projection by one pass through the VAE's encoder, each under FGSM on the bare
classifier C, under FGSM on the whole C∘G∘E, which has gradients (eq. (12)), and under PGD on it.
"""

from matplotlib.figure import Figure

from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import accuracy_panels, labels
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, sweep
from inc_tf.evaluation.tables import accuracies

EPSILONS = (0.1, 0.2, 0.3)
ATTACKS = {
    "fgsm": "FGSM on C",
    "autoencode-fgsm": "FGSM on C∘G∘E, eq. (12)",
    "autoencode-pgd": "PGD-40 on C∘G∘E",
}
DEFENSES = ("undefended", "autoencode", "inc")


@script("figure_12", quick=100)
def main(options: Options) -> None:
    """Figure 12: INC and Autoencode-and-Classify, under FGSM and under the autoencoder's own attack."""
    run = experiment(options, "classifier", "generative")
    attacks = [CLEAN, *(Attack(name, epsilon) for name in ATTACKS for epsilon in EPSILONS)]
    add_accuracies(run, sweep(run, run.images, attacks, list(DEFENSES)))
    run.finish(table(run.record), draw)


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε, a column for each defence."""
    return accuracies(record, ATTACKS, EPSILONS, labels(DEFENSES))


def draw(record: Record) -> Figure:
    """A panel for each attack."""
    return accuracy_panels(record, "Figure 12", ATTACKS, labels(DEFENSES))


if __name__ == "__main__":
    main()
