"""Figure 6: pairs of the overpowered attack, both images of each with the classifier's class and confidence."""

import matplotlib.pyplot as plt
import numpy as np

from inc_tf import estimates
from inc_tf.cli.scripts import pair_script
from inc_tf.evaluation.pairs import VALID, find, pair_experiment, probabilities
from inc_tf.evaluation.plots import image_rows, title, titles
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run
from inc_tf.evaluation.tables import markdown, percent

COLUMNS = 8


@pair_script("figure_6", quick=COLUMNS)
def main(options: Options, steps: int) -> None:
    """Figure 6: close images of the generator's range that the classifier tells apart."""
    run, n = pair_experiment(options)
    pairs = find(run, "undefended", n, steps)
    rows = {"G(z)": pairs["images"], "G(z′)": pairs["other_images"]}
    both = {label: probabilities(run, "undefended", images) for label, images in rows.items()}
    classes = [found.argmax(axis=1) for found in both.values()]
    labels: dict = {"defense": "undefended", "attack": "overpowered"}
    run.record.add(estimates.share(pairs["mse"] < VALID), metric="valid", **labels)
    run.record.add(estimates.share(classes[0] != classes[1]), metric="flips", **labels)
    run.finish(table(run.record), lambda record: draw(run, rows, both))


def table(record: Record) -> str:
    """Markdown: how many of the pairs are close, and how many are told apart."""
    rows = [[row["metric"], row["n"], percent(row)] for row in record.rows]
    return markdown(rows, ["pairs that are", "n", "share"])


def draw(run: Run, rows: dict[str, np.ndarray], both: dict[str, np.ndarray]) -> plt.Figure:
    """The first pairs, one over the other; z′ in red where its class is another."""
    figure, axes = image_rows(rows, run.images.bounds, COLUMNS)
    expected = both["G(z)"].argmax(axis=1)
    for line, found in zip(axes, both.values(), strict=True):
        titles(line, found, expected, run.bench.parts.class_names)
    figure.suptitle(f"Figure 6: {title(run.record.dataset)}, pairs at a mean squared distance of at most 2e-4")
    return figure


if __name__ == "__main__":
    main()
