"""Figure 4: faces, their projections, attacked faces and theirs, each with the classifier's class and confidence.

CelebA may not be redistributed. The plot shows its images, so it belongs in `results/`, which Git ignores.
"""

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import image_rows, label, title, titles
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, attack_images, sweep
from inc_tf.evaluation.tables import markdown, percent

EPSILON = 0.1
COLUMNS = 8


@script("figure_4", quick=COLUMNS, papers="celeb_a")
def main(options: Options) -> None:
    """Figure 4: images and attacked images, their projections, and what the classifier thinks of each."""
    run = experiment(options, "classifier", "generative", papers="celeb_a")
    attack = Attack("fgsm", EPSILON)
    run.record.deviations.append(f"The paper does not name the attack of this figure: FGSM at ε {EPSILON}.")
    answers = sweep(run, run.images, [CLEAN, attack], ["undefended"])
    projected = sweep(run, run.images, [CLEAN, attack], ["inc"], keep=("projections",))
    add_accuracies(run, answers | projected)
    rows = {
        "x": run.images.images,
        "G(z*)": projected[CLEAN, "inc"]["projections"],
        "x_adv": attack_images(run, attack, run.images).images,
        "G(z*_adv)": projected[attack, "inc"]["projections"],
    }
    run.finish(table(run.record), lambda record: draw(run, rows))


def table(record) -> str:
    """Markdown: the accuracy of each defence on the images shown."""
    rows = [
        [label(row["defense"]), row["attack"], f"{row['epsilon']:g}", row["n"], percent(row)]
        for row in record.select(metric="accuracy")
    ]
    return markdown(rows, ["defence", "attack", "ε", "n", "accuracy"])


def draw(run: Run, rows: dict[str, np.ndarray]) -> plt.Figure:
    """The first images, a row each; over each the class and its probability, red where it is wrong."""
    figure, axes = image_rows(rows, run.images.bounds, COLUMNS)
    for line, images in zip(axes, rows.values(), strict=True):
        found = tf.nn.softmax(run.bench.parts["classifier"](images[:COLUMNS])).numpy()
        titles(line, found, run.images.labels, run.bench.parts.class_names)
    figure.suptitle(f"Figure 4: {title(run.record.dataset)}, FGSM at ε = {EPSILON}; wrong classes in red")
    return figure


if __name__ == "__main__":
    main()
