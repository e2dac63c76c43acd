"""Does the deep image prior hold? An attack that knows it, beside BIM, which does not.

Not in the paper. A gradient through a search of hundreds of steps would cost all of them; the attack goes through a
stand-in that keeps low frequencies (`inc_tf.attacks.differentiable.low_pass`), around what Table 2's searches made of
the clean image and of BIM's. Its images are then shown to the defence itself.
"""

import functools

import click
import keras
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

import inc_tf as inc
from inc_tf import data
from inc_tf.attacks.differentiable import low_pass
from inc_tf.evaluation.records import Record
from inc_tf.evaluation import photographs
from inc_tf.evaluation.page import WORST
from inc_tf.evaluation.experiment import draw_shares, percent
from inc_tf.evaluation.photographs import LIMITS, Craft, Photographs, options
from inc_tf.evaluation.sweep import CLEAN, Attack

STEPS = 20
EPSILONS = (0.05, 0.1)
ATTACKS = [Attack("low-pass", epsilon, {"pgd": STEPS}) for epsilon in EPSILONS]
LABELS = {"bim": "BIM", "low-pass": "PGD through a low-pass stand-in", WORST: "worst case, image by image"}


class Adaptive(Photographs):
    """Table 2's run, and besides it the attacks through the stand-in."""

    def craft(self, image: data.Dataset, attack: Attack) -> Craft:
        if attack not in ATTACKS:
            return super().craft(image, attack)
        near = self.pictures([image], photographs.ATTACKS)["projection"]
        return functools.partial(_craft, near=near)


def _craft(classifier: keras.Model, image: data.Dataset, attack: Attack, near: np.ndarray) -> np.ndarray:
    found = inc.attacks.pgd(
        low_pass(classifier, image.images[0], near),
        image.images,
        image.labels,
        bounds=image.bounds,
        epsilon=attack.epsilon or 0.0,
        steps=STEPS,
        loss="margin",
    )
    return found.numpy()[0]


@click.command("adaptive_dip")
@options
def main(**arguments) -> None:
    """The deep image prior under PGD through a stand-in for it; what Table 2 has finished is not computed again."""
    run = Adaptive(**arguments)
    found = run.answers()
    found |= run.answers(ATTACKS)
    run.record.deviations.append("Not in the paper, whose attacks on photographs do not know the defence.")
    limit = LIMITS["dip"]
    clean = run.limited(found[CLEAN], limit)["right"]
    for attack in (CLEAN, *photographs.ATTACKS[2:], *ATTACKS):
        answer, labels = found[attack], {"attack": attack.name, "epsilon": attack.epsilon}
        run.add_row({"right": answer["undefended"]}, None, defense="undefended", **labels)
        run.add_row(run.limited(answer, limit), None, defense="dip", **labels)
    for epsilon in EPSILONS:
        right = [clean, *(run.limited(found[a], limit)["right"] for a in found if a.epsilon == epsilon)]
        run.add_row({"right": np.all(right, axis=0)}, None, defense="dip", attack=WORST, epsilon=epsilon)
    run.finish(table(run.record), draw)


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε; undefended, and behind the deep image prior."""
    labels = {"clean": "clean", **LABELS}
    lines = []
    for row in record.select(defense="dip", metric="accuracy"):
        case = {"attack": row["attack"], "epsilon": row["epsilon"], "metric": "accuracy"}
        bare = record.select(defense="undefended", **case)
        lines.append(
            [labels[row["attack"]], f"{row['epsilon']:g}", *map(percent, bare), *[""] * (not bare), percent(row)]
        )
    headers = [f"attack, n = {record.rows[0]['n']}", "ε", "undefended", f"DIP, at most {LIMITS['dip']} steps"]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def draw(record: Record) -> plt.Figure:
    """The accuracy behind the deep image prior against ε, a line for each attack."""
    figure, axes = plt.subplots(figsize=(6, 4.5))
    clean = record.select(defense="dip", attack="clean", metric="accuracy")
    for attack, label in LABELS.items():
        draw_shares(axes, clean + record.select(defense="dip", attack=attack, metric="accuracy"), label)
    axes.set(xlabel="ε (ℓ∞)", title=f"DIP on {record.dataset}, n = {record.rows[0]['n']}, 95 % Wilson intervals")
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    main()
