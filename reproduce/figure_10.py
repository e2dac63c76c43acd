"""Figure 10: photographs, what the deep image prior makes of them, attacked ones and what it makes of those.

ImageNet's pictures may not be passed on: the plot belongs into `results/`, which git ignores. It draws on Table 2's
finished work where that has the same options.
"""

from typing import Any

import click
import matplotlib.pyplot as plt
import tensorflow as tf
from tabulate import tabulate

from inc_tf.evaluation.records import Record
from inc_tf.evaluation.experiment import image_rows, percent
from inc_tf.evaluation.photographs import ATTACKS, LIMITS, Photographs, options
from inc_tf.evaluation.sweep import CLEAN, attack_name

SHOWN = ATTACKS[2]
COLUMNS = 8


@click.command("figure_10")
@options
def main(**arguments) -> None:
    """Figure 10: photographs and attacked photographs, their reconstructions, and what the classifier makes of each."""
    run = Photographs(**arguments)
    found = run.answers()
    for attack in (CLEAN, SHOWN):
        answer = found[attack]
        labels: dict[str, Any] = {"attack": attack.name, "epsilon": attack.epsilon}
        run.add_row({"right": answer["undefended"]}, None, defense="undefended", **labels)
        run.add_row(run.limited(answer, LIMITS["dip"]), None, defense="dip", **labels)
    run.finish(table(run.record), lambda record: draw(run))


def table(record: Record) -> str:
    """Markdown: the accuracy of each defence on the images shown."""
    rows = [
        [row["defense"], row["attack"], f"{row['epsilon']:g}", row["n"], percent(row)]
        for row in record.select(metric="accuracy")
    ]
    return tabulate(rows, ["defence", "attack", "ε", "n", "accuracy"], tablefmt="github", disable_numparse=True)


def draw(run: Photographs) -> plt.Figure:
    """The first images, a row each; over each the probability of its true class, red where another is likelier."""
    columns = min(COLUMNS, len(run.units))
    clean, attacked = (run.pictures(run.units[:columns], [attack]) for attack in (CLEAN, SHOWN))
    rows = {
        "x": clean["attacked"],
        "G(z)": clean["projection"],
        "x_adv": attacked["attacked"],
        "G(z), x_adv": attacked["projection"],
    }
    figure, axes = image_rows(rows, run.data.bounds, columns)
    for line, images in zip(axes, rows.values(), strict=True):
        confidences = tf.nn.softmax(run.classifier(images)).numpy()
        for cell, confidence, unit in zip(line, confidences, run.units, strict=False):
            true = unit.labels[0]
            color = "black" if confidence.argmax() == true else "red"
            cell.set_title(f"{100 * confidence[true]:.0f} %", fontsize="small", color=color)
    figure.suptitle(f"Figure 10: {attack_name(SHOWN)}; the true class's probability, red where another is likelier")
    return figure


if __name__ == "__main__":
    main()
