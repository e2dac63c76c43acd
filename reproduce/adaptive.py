"""Does it hold? Attacks that know the defence, on every defence, and the worst of them image by image.

Not in the paper, whose attacks know the classifier alone.
"""

from pathlib import Path

import click

from inc_tf.evaluation.page import CONTROLS, page, scaled
from inc_tf.evaluation.experiment import Experiment, options
from inc_tf.evaluation.sweep import CLASSIFIERS


@click.command("adaptive")
@options(quick=100)
@click.option("--n-dear", default=10, show_default=True, help="Images for the attacks through a search.")
@click.option("--epsilon", "epsilons", multiple=True, type=float, help="Repeatable.  [default: 0.1, 0.2, 0.3]")
def main(
    dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, n_dear: int, epsilons: tuple[float, ...]
) -> None:
    """Attacks that know the defence, every defence, and the worst case."""
    experiment = Experiment(
        dataset, n, full, seed, out, quiet, models=("classifier", "generative"), optional=("robust", "pgd")
    )
    experiment.record.deviations.append("Not in the paper: it attacks the classifier, not the search.")
    images = experiment.data
    controls = [name for name in CONTROLS if CLASSIFIERS.get(name, "classifier") in experiment.models]
    page(experiment, scaled(images.bounds, images.images.shape[1:], n_dear, epsilons), controls)


if __name__ == "__main__":
    main()
