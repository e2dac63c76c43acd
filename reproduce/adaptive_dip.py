"""Does the deep image prior hold? Attacks that know it, beside BIM, which does not.

Not in the paper. One attack goes through a stand-in that keeps low frequencies, around the reconstructions that Table
2's searches made of the clean image and of BIM's, so it needs no further search. The other, which is optional, takes
the gradient of the reconstruction itself, and costs a search in each step. Both stand-ins are in
`inc_tf.attacks.differentiable`; the images that the attacks find are then given to the defence itself.
"""

import functools

import click
import matplotlib.pyplot as plt
import numpy as np

from inc_tf import data
from inc_tf.attacks import METHODS
from inc_tf.attacks.differentiable import low_pass, reconstructed
from inc_tf.cli.scripts import photograph_script
from inc_tf.evaluation import audit, photographs
from inc_tf.evaluation.page import WORST, verdict
from inc_tf.evaluation.photographs import LIMITS, Later, Photographs, Photography
from inc_tf.evaluation.plots import INTERVALS, draw_shares, legend, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options
from inc_tf.evaluation.sweep import CLEAN, Attack
from inc_tf.evaluation.tables import markdown, percent
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.saving import configuration

STEPS = 20
EPSILONS = (0.05, 0.1)
ATTACKS = [Attack("low-pass", epsilon) for epsilon in EPSILONS]
THROUGH = [Attack("reconstructed", epsilon) for epsilon in EPSILONS]
THROUGH_STEPS = 5
LABELS = {
    "bim": "BIM",
    "low-pass": "PGD through a low-pass stand-in",
    "reconstructed": f"PGD-{THROUGH_STEPS}, the reconstruction's own gradient",
    WORST: "worst case, image by image",
}


@photograph_script(
    "adaptive_dip",
    click.option(
        "--n-through",
        default=0,
        show_default=True,
        help="Attack the first N images through the search too; each step costs a search.",
    ),
)
def main(options: Options, wanted: Photography, n_through: int) -> None:
    """The deep image prior under PGD through a stand-in for it; what Table 2 has finished is not computed again."""
    prior = Photographs(options, wanted)
    run, found = prior.run, prior.answers()
    found |= prior.answers(ATTACKS, functools.partial(_unit, prior))
    through = prior.answers(THROUGH, functools.partial(_unit_through, prior), first=n_through) if n_through else {}
    run.record.deviations.append("Not in the paper, whose attacks on photographs do not know the defence.")
    limit = LIMITS["dip"]
    clean = prior.limited(found[CLEAN], limit)["right"]
    for attack in (CLEAN, *photographs.ATTACKS[2:], *ATTACKS):
        answer, labels = found[attack], {"attack": attack.name, "epsilon": attack.epsilon}
        prior.add_row({"right": answer["undefended"]}, None, defense="undefended", **labels)
        prior.add_row(prior.limited(answer, limit), None, defense="dip", **labels)
    for epsilon in EPSILONS:
        right = [clean, *(prior.limited(found[a], limit)["right"] for a in found if a.epsilon == epsilon)]
        prior.add_row({"right": np.all(right, axis=0)}, None, defense="dip", attack=WORST, epsilon=epsilon)
    for attack, answer in through.items():
        labels = {"defense": "dip", "attack": attack.name, "epsilon": attack.epsilon}
        prior.add_row(prior.limited(answer, limit), None, **labels)
    for attack, answer in {**{a: found[a] for a in ATTACKS}, **through}.items():
        left = prior.limited(answer, limit)["right"]
        check = audit.above(clean[: len(left)], left)
        claim = f"{LABELS[attack.name]} breaks it at ε {attack.epsilon:g}"
        run.record.claims.append(
            {
                "claim": claim,
                "verdicts": [check.verdict],
                "finding": f"{check.finding}, unattacked beside attacked",
                "images": check.images,
                "n": len(left),
            }
        )
    run.finish(table(run.record), draw)


def _unit(prior: Photographs, image: data.Dataset, attack: Attack) -> Unit:
    near = [prior.unit(image, one) for one in photographs.ATTACKS]
    settings = METHODS["pgd"].settings(epsilon=attack.epsilon, steps=STEPS, loss="margin")
    read = Later(lambda: prior.pictures(near)["projection"])
    craft = functools.partial(_craft, near=read, settings=settings)
    return prior.unit(image, attack, craft, method=configuration(settings), near=[one.key for one in near])


def _unit_through(prior: Photographs, image: data.Dataset, attack: Attack) -> Unit:
    settings = METHODS["pgd"].settings(epsilon=attack.epsilon, steps=THROUGH_STEPS, loss="margin")
    craft = functools.partial(_craft_through, settings=settings)
    return prior.unit(image, attack, craft, method=configuration(settings))


def _craft_through(bench: Bench, image: data.Dataset, settings: dict) -> np.ndarray:
    """PGD along the reconstruction's own gradient on one image; the attacker's seed is not the defence's."""
    target = reconstructed(bench.parts["classifier"], bench.parts["projector"], seeds=(bench.seed + 1,))
    return METHODS["pgd"].function(target, image.images, image.labels, bounds=image.bounds, **settings).numpy()[0]


def _craft(bench: Bench, image: data.Dataset, near: Later, settings: dict) -> np.ndarray:
    """PGD through the stand-in around one image, whose reconstructions `near` it are read."""
    target = low_pass(bench.parts["classifier"], image.images[0], near())
    return METHODS["pgd"].function(target, image.images, image.labels, bounds=image.bounds, **settings).numpy()[0]


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
    headers = [
        f"attack, n = {record.rows[0]['n']}",
        "ε",
        "undefended",
        f"deep image prior, at most {LIMITS['dip']} steps",
    ]
    said = [[c["claim"], c["finding"], verdict(c["verdicts"], c["images"]), c["n"]] for c in record.claims]
    return "\n\n".join([markdown(lines, headers), markdown(said, ["claim", "accuracies", "verdict", "n"])])


def draw(record: Record) -> plt.Figure:
    """The accuracy behind the deep image prior against ε, a line for each attack."""
    figure, (axes,) = panels(height=4.5)
    clean = record.select(defense="dip", attack="clean", metric="accuracy")
    found = {said: record.select(defense="dip", attack=attack, metric="accuracy") for attack, said in LABELS.items()}
    draw_shares(axes, {said: clean + rows for said, rows in found.items()})
    n = record.rows[0]["n"]
    axes.set(xlabel="ε (ℓ∞)", title=f"Deep image prior, {title(record.dataset)}, n = {n}, {INTERVALS}")
    legend(figure, 3)
    return figure


if __name__ == "__main__":
    main()
