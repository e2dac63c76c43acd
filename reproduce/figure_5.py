"""Figure 5: how far attacks on a substitute model carry over to INC (section 4.2.2).

The substitute has the inner classifier's architecture and learns from INC's predictions on the images of its queries.
The images that FGSM and BIM make on it are tried on INC, if both classify the original correctly.
"""

import functools

import click
import keras
import matplotlib.pyplot as plt

from inc_tf import data, estimates
from inc_tf.attacks import surrogates
from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import draw_defenses, label, legend, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.sweep import CLEAN, Attack, sweep
from inc_tf.evaluation.tables import markdown, percent
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.saving import content_hash
from inc_tf.training import train_substitute

EPSILONS = (0.01, 0.05, 0.1, 0.2)
ATTACKS = {"substitute-fgsm": "FGSM", "substitute-bim": "BIM, 20 steps of 2ε"}
DEFENSES = ("undefended", "inc")
FAST = ("undefended", "inc-fast")
EPOCHS = 40
BATCH_SIZE = 50


@script("figure_5", quick=100, papers="celeb_a")
@click.option("--queries", default=200, show_default=True, help="Validation images that INC is queried with.")
@click.option("--fast", is_flag=True, help="Run INC with the fast search instead of the paper's.")
def main(options: Options, queries: int, fast: bool) -> None:
    """Figure 5: the share of attacks on a substitute model that carry over to INC."""
    run = experiment(options, "classifier", "generative", papers="celeb_a")
    defenses = FAST if fast else DEFENSES
    search = defenses[1]
    run.bench.made["substitute"] = _substitute(run, queries, search)
    if fast:
        run.record.deviations.append("INC with the fast search, instead of the paper's.")
    run.record.deviations.append(
        f"The paper does not say how often INC is asked: here on {queries} validation images and on an adversarial "
        "input (FGSM on the inner classifier, ε 0.1) of each."
    )
    attacks = [Attack(name, epsilon) for name in ATTACKS for epsilon in EPSILONS]
    clean_own = run.bench.made["substitute"].predict(run.images.images, verbose=0).argmax(axis=1)
    own_right = clean_own == run.images.labels
    run.record.add(estimates.share(own_right), metric="accuracy", defense="substitute", attack="clean", epsilon=0.0)
    answers = sweep(run, run.images, [CLEAN, *attacks], list(defenses))
    for attack in attacks:
        for defense in defenses:
            both = own_right & answers[CLEAN, defense]["correct"]
            carried = estimates.share(~answers[attack, defense]["correct"][both])
            run.record.add(carried, metric="transfer", defense=defense, attack=attack.name, epsilon=attack.epsilon)
    run.finish(table(run.record), draw)


def _substitute(run: Run, queries: int, search: str) -> keras.Model:
    """A classifier that has learnt from the answers of the defence `search`."""
    images = data.load(run.images.name, "validation").take(queries)
    key = {"query": run.bench.digest(search), "seed": run.bench.seed, **images.digest}
    unit = Unit(key, functools.partial(_ask, search=search, images=images), f"questions to {search}")
    answers = data.Dataset("substitute", "train", bounds=images.bounds, **run.answer(unit))
    imitated = [run.bench.digest("classifier"), answers.digest, run.bench.seed]
    return train_substitute(
        run.bench.parts["classifier"],
        answers,
        seed=run.bench.seed,
        steps=EPOCHS * len(answers) // BATCH_SIZE,
        batch_size=BATCH_SIZE,
        directory=run.out / "runs" / f"substitute-{content_hash(imitated)[:16]}",
    )


def _ask(bench: Bench, search: str, images: data.Dataset) -> Arrays:
    defense = bench.defense(search)
    answers = surrogates.query(
        lambda x: defense(x, seed=bench.seed).predictions,
        bench.parts["classifier"],
        images.images,
        bounds=images.bounds,
    )
    return {"images": answers.images, "labels": answers.labels}


def table(record: Record) -> str:
    """Markdown: for each attack and ε, the share that carries over, of the images that both get right."""
    shown = _shown(record)
    rows = [
        [said, f"{epsilon:g}"]
        + [percent(record.one(metric="transfer", defense=defense, attack=attack, epsilon=epsilon)) for defense in shown]
        for attack, said in ATTACKS.items()
        for epsilon in EPSILONS
    ]
    return markdown(rows, ["on the substitute", "ε", *map(label, shown)])


def _shown(record: Record) -> list[str]:
    """The defences of the record."""
    return [name for name in dict.fromkeys((*DEFENSES, *FAST)) if record.select(defense=name)]


def draw(record: Record) -> plt.Figure:
    """The share that carries over against ε: a panel for each attack, a line for each defence."""
    figure, beside = panels(len(ATTACKS), 10)
    for axes, (attack, said) in zip(beside, ATTACKS.items(), strict=True):
        found = {d: record.select(metric="transfer", defense=d, attack=attack) for d in _shown(record)}
        draw_defenses(axes, found, "success rate, %")
        axes.set(xlabel="ε (ℓ∞)", title=f"{said} on the substitute")
    legend(figure)
    n = record.rows[0]["n"]
    figure.suptitle(f"Figure 5: {title(record.dataset)}, of {n} images those that both classify correctly")
    return figure


if __name__ == "__main__":
    main()
