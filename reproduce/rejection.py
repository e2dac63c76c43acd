"""Rejection, scored: the distance ‖G(z*) − x‖₂ as a detector of adversarial images, for INC and for the autoencoder.

The attacks know the classifier and the autoencoder, but not η; `adaptive` has an attack that knows η.

The paper rejects images that are too far from the generator's range, but gives neither a threshold nor a detection
rate. Here η is set on clean validation images at three false-rejection rates, and detection is measured on test images.
"""

from typing import Any

import click
import matplotlib.pyplot as plt
import numpy as np
from inc_tf.reproduce.table_1 import CARLINI_WAGNER, CUT
from sklearn.metrics import roc_curve

import inc_tf as inc
from inc_tf import data, estimates
from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import label, legend, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, sweep
from inc_tf.evaluation.tables import NOTHING, interval, markdown

SIGNED = [Attack(name, epsilon) for name in ("fgsm", "bim", "autoencode-fgsm") for epsilon in (0.1, 0.2, 0.3)]
ATTACKS = [*SIGNED, *CARLINI_WAGNER]
DEFENSES = ("inc", "autoencode")
COLORS = {"fgsm": "C0", "bim": "C1", "autoencode-fgsm": "C2", "cw-l2": "C3", "cw-l0": "C4", "cw-linf": "C5"}
LINES = {0.1: ":", 0.2: "--", 0.3: "-", None: "-"}
"""Of the ROC curves: a colour for each attack, a line for each ε."""
RATES = (0.01, 0.05, 0.1)


@script("rejection", quick=100)
@click.option("--n-cw", default=20, show_default=True, help="Run Carlini and Wagner's attacks on the first N images.")
def main(options: Options, n_cw: int) -> None:
    """Rejection: the distance's ROC for every attack, and what is accepted at false-rejection rates of 1, 5, 10 %."""
    run = experiment(options, "classifier", "generative")
    run.record.deviations += [CUT, "The paper sets no threshold and measures no rejection."]
    validation = data.load(run.record.dataset, "validation")
    on_validation = sweep(run, validation.take(min(options.n, len(validation))), [CLEAN], list(DEFENSES))
    answers = sweep(run, run.images, [CLEAN, *SIGNED], list(DEFENSES))
    answers |= sweep(run, run.images.take(n_cw), CARLINI_WAGNER, list(DEFENSES))
    for defense in DEFENSES:
        clean = on_validation[CLEAN, defense]["distance"]
        thresholds = {rate: inc.threshold_at(clean, rate) for rate in RATES}
        for attack in (CLEAN, *ATTACKS):
            _add(run.record, attack, defense, answers, thresholds)
    for attack in ATTACKS:
        sides = [[answers[case, defense]["distance"] for defense in DEFENSES] for case in (CLEAN, attack)]
        difference = estimates.roc_difference(*sides)
        run.record.add(difference, metric="roc_difference", attack=attack.name, epsilon=attack.epsilon)
    run.finish(table(run.record), lambda record: draw(record, answers))


def _add(record: Record, attack: Attack, defense: str, answers: dict, thresholds: dict[float, float]) -> None:
    answer = answers[attack, defense]
    labels: dict[str, Any] = {"defense": defense, "attack": attack.name, "epsilon": attack.epsilon}
    if attack != CLEAN:
        area = estimates.roc_area(answers[CLEAN, defense]["distance"], answer["distance"])
        record.add(area, metric="roc_area", **labels)
    for rate, threshold in thresholds.items():
        accepted = answer["distance"] < threshold
        record.add(estimates.share(accepted), metric=f"accepted@{rate:g}", **labels)
        record.add(estimates.share(accepted & answer["correct"]), metric=f"accepted_right@{rate:g}", **labels)
        record.add(estimates.share(accepted & ~answer["correct"]), metric=f"accepted_wrong@{rate:g}", **labels)


def table(record: Record) -> str:
    """Markdown: a row for each defence and attack; shares in percent of all images."""
    rows = []
    for defense in DEFENSES:
        for attack in (CLEAN, *ATTACKS):
            found = {"defense": defense, "attack": attack.name, "epsilon": attack.epsilon}
            area = record.select(metric="roc_area", **found)
            above = record.select(metric="roc_difference", attack=attack.name, epsilon=attack.epsilon)
            cells = [interval(area[0]) if area else NOTHING]
            cells.append(interval(above[0]) if above and defense == "inc" else NOTHING)
            for rate in RATES:
                right, wrong = (
                    record.one(metric=f"accepted_{what}@{rate:g}", **found)["value"] for what in ("right", "wrong")
                )
                cells.append(f"{100 * right:.1f} / {100 * wrong:.1f}")
            rows.append([label(defense), attack.label, *cells])
    header = [
        "defence",
        "attack",
        "ROC area",
        "INC's less the autoencoder's",
        *(f"right / wrong, η at {100 * rate:g} %" for rate in RATES),
    ]
    return markdown(rows, header)


def draw(record: Record, answers: dict) -> plt.Figure:
    """The ROC of each attack, a panel for each defence."""
    figure, beside = panels(len(DEFENSES), 11, 6)
    for axes, defense in zip(beside, DEFENSES, strict=True):
        clean = answers[CLEAN, defense]["distance"]
        for attack in ATTACKS:
            distance = answers[attack, defense]["distance"]
            attacked = np.repeat([0, 1], [len(clean), len(distance)])
            false, true, _ = roc_curve(attacked, np.concatenate([clean, distance]))
            axes.plot(false, true, LINES[attack.epsilon], color=COLORS[attack.name], label=attack.label)
        axes.set(xlabel="clean images rejected", title=label(defense), aspect="equal")
        axes.grid(alpha=0.3)
    beside[0].set_ylabel("attacked images rejected")
    legend(figure, 4)
    figure.suptitle(f"The distance ‖G(z*) − x‖₂ as a detector: {title(record.dataset)}, n = {record.rows[0]['n']}")
    return figure


if __name__ == "__main__":
    main()
