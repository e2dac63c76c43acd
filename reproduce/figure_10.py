"""Figure 10: photographs and attacked photographs, each with its reconstruction by the deep image prior.

ImageNet's pictures may not be redistributed, so the plot belongs in `results/`, which Git ignores. The script reuses
Table 2's finished work if that had the same options.
"""

from typing import Any

import matplotlib.pyplot as plt
import tensorflow as tf

from inc_tf.cli.scripts import photograph_script
from inc_tf.evaluation.photographs import ATTACKS, LIMITS, Photographs, Photography
from inc_tf.evaluation.plots import image_rows, label
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options
from inc_tf.evaluation.sweep import CLEAN
from inc_tf.evaluation.tables import markdown, percent

SHOWN = ATTACKS[2]
COLUMNS = 8


@photograph_script("figure_10")
def main(options: Options, wanted: Photography) -> None:
    """Figure 10: photographs and attacked photographs, their reconstructions, and what the classifier makes of each."""
    photographs = Photographs(options, wanted)
    run, found = photographs.run, photographs.answers()
    for attack in (CLEAN, SHOWN):
        answer = found[attack]
        labels: dict[str, Any] = {"attack": attack.name, "epsilon": attack.epsilon}
        photographs.add_row({"right": answer["undefended"]}, None, defense="undefended", **labels)
        photographs.add_row(photographs.limited(answer, LIMITS["dip"]), None, defense="dip", **labels)
    run.finish(table(run.record), lambda record: draw(photographs))


def table(record: Record) -> str:
    """Markdown: the accuracy of each defence on the images shown."""
    rows = [
        [label(row["defense"]), row["attack"], f"{row['epsilon']:g}", row["n"], percent(row)]
        for row in record.select(metric="accuracy")
    ]
    return markdown(rows, ["defence", "attack", "ε", "n", "accuracy"])


def draw(photographs: Photographs) -> plt.Figure:
    """The first images, a row each; over each the probability of its true class, red where another is likelier."""
    shown = photographs.units[:COLUMNS]
    clean, attacked = (
        photographs.pictures([photographs.unit(image, attack) for image in shown]) for attack in (CLEAN, SHOWN)
    )
    rows = {
        "x": clean["attacked"],
        "G(z)": clean["projection"],
        "x_adv": attacked["attacked"],
        "G(z), x_adv": attacked["projection"],
    }
    figure, axes = image_rows(rows, photographs.run.images.bounds, len(shown))
    for line, images in zip(axes, rows.values(), strict=True):
        confidences = tf.nn.softmax(photographs.classifier(images)).numpy()
        for cell, confidence, image in zip(line, confidences, shown, strict=True):
            true = image.labels[0]
            color = "black" if confidence.argmax() == true else "red"
            cell.set_title(f"{100 * confidence[true]:.0f} %", fontsize="small", color=color)
    figure.suptitle(f"Figure 10: {SHOWN.label}; the true class's probability, red where another is likelier")
    return figure


if __name__ == "__main__":
    main()
