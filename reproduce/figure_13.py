"""Figure 13: images that fool Autoencode-and-Classify, and their projection by each projector (Appendix A)."""

import matplotlib.pyplot as plt
import numpy as np

from inc_tf.cli.scripts import script
from inc_tf.data import Bounds
from inc_tf.evaluation.plots import image_rows, label, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, experiment
from inc_tf.evaluation.sweep import Attack, add_accuracies, attack_images, sweep
from inc_tf.evaluation.tables import markdown, percent

EPSILON = 0.2
COLUMNS = 10
PROJECTIONS = {"autoencode": "G(E(x_adv))", "inc": "G(z*(x_adv))"}


@script("figure_13", quick=100)
def main(options: Options) -> None:
    """Figure 13: eq. (12)'s attack on the autoencoder, its images, and both projections of them."""
    run = experiment(options, "classifier", "generative")
    attack = Attack("autoencode-fgsm", EPSILON)
    answers = sweep(run, run.images, [attack], list(PROJECTIONS), keep=("projections",))
    add_accuracies(run, answers)
    rows = {"x": run.images.images, "x_adv": attack_images(run, attack, run.images).images}
    rows |= {label: answers[attack, name]["projections"] for name, label in PROJECTIONS.items()}
    run.finish(table(run.record), lambda record: draw(record, rows, run.images.bounds))


def table(record: Record) -> str:
    """Markdown: the accuracy of each defence on these images."""
    rows = [
        [label(row["defense"]), f"{row['epsilon']:g}", row["n"], percent(row)]
        for row in record.select(metric="accuracy")
    ]
    header = ["defence", "ε of eq. (12)'s attack", "n", "accuracy"]
    return markdown(rows, header)


def draw(record: Record, rows: dict[str, np.ndarray], bounds: Bounds) -> plt.Figure:
    """The first images, a row each: clean, attacked, autoencoded, projected."""
    figure, _ = image_rows(rows, bounds, COLUMNS)
    figure.suptitle(f"Figure 13: {title(record.dataset)}, eq. (12)'s attack on the autoencoder at ε = {EPSILON}")
    return figure


if __name__ == "__main__":
    main()
