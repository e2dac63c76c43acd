"""Does it hold for another generator? Attacks that know the defence, on VAEs that were trained with three seeds.

Not in the paper. One generator is one draw of a random recipe; what `adaptive` finds on it might be its own.
"""

from pathlib import Path

import click
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

from inc_tf import evaluation
from inc_tf.records import Record
from reproduce._adaptive import LABELS, SEARCHES, WORST
from reproduce._common import CHECKPOINTS, Experiment, draw_shares, options, percent
from reproduce._sweep import CLEAN, Attack, sweep

EPSILONS = (0.1, 0.2, 0.3)
GENERATORS = ("generative", "generative-seed-1", "generative-seed-2")
ATTACKS: dict[str, dict] = {
    "fgsm": {},
    "autoencode-pgd": {},
    "unrolled": {"loss": "margin"},
    "implicit": {"loss": "margin"},
}


@click.command("adaptive_seeds")
@options(quick=50)
@click.option("--epsilon", "epsilons", multiple=True, type=float, help="Repeatable.  [default: 0.1, 0.2, 0.3]")
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, epsilons: tuple[float, ...]) -> None:
    """Attacks that know the defence, behind generators of three seeds."""
    attacks = [
        Attack(name, epsilon, settings) for name, settings in ATTACKS.items() for epsilon in epsilons or EPSILONS
    ]
    models = ("classifier", "generative")
    first = Experiment(dataset, n, full, seed, out, quiet, models)
    first.record.deviations.append("Not in the paper, which attacks the classifier behind one generator.")
    name = first.record.dataset
    others = [
        Experiment(name, n, full, seed, out, quiet, models, generative=part)
        for part in GENERATORS[1:]
        if part in CHECKPOINTS[name]
    ]
    runs = [first, *others]
    for number, run in enumerate(runs):
        _add(first.record, number, sweep(run, run.data, [CLEAN, *attacks], list(SEARCHES)))
    first.record.checkpoints = {card: sha for run in runs for card, sha in run.record.checkpoints.items()}
    first.record.seconds = round(sum(run.store.seconds for run in runs), 1)
    first.finish(table(first.record), draw)


def _add(record: Record, number: int, answers: dict) -> None:
    """Add the accuracies behind the generator of that number, and those under the worst of the attacks."""
    worst: dict[tuple[str, float], list[np.ndarray]] = {}
    for (attack, search), answer in answers.items():
        right = answer["correct"]
        defense = f"{search}-seed-{number}"
        record.add(
            evaluation.share(right), metric="accuracy", defense=defense, attack=attack.name, epsilon=attack.epsilon
        )
        if attack != CLEAN:
            clean = answers[CLEAN, search]["correct"]
            worst.setdefault((defense, attack.epsilon), [clean]).append(right)
    for (defense, epsilon), cases in worst.items():
        share = evaluation.share(np.all(cases, axis=0))
        record.add(share, metric="accuracy", defense=defense, attack=WORST, epsilon=epsilon)


def _defenses(record: Record) -> dict[str, str]:
    """Those of the record, by label."""
    found = dict.fromkeys(row["defense"] for row in record.rows)
    return {
        f"{search}-seed-{number}": f"{label}, generator {number}"
        for search, label in SEARCHES.items()
        for number in range(len(GENERATORS))
        if f"{search}-seed-{number}" in found
    }


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε, a column for each search and generator."""
    shown = _defenses(record)
    cases = dict.fromkeys((row["attack"], row["epsilon"]) for row in record.rows)
    order = ["clean", *ATTACKS, WORST]
    rows = [
        [
            LABELS[attack],
            f"{epsilon:g}",
            *(percent(record.one(attack=attack, epsilon=epsilon, defense=d)) for d in shown),
        ]
        for attack, epsilon in sorted(cases, key=lambda case: (order.index(case[0]), case[1]))
    ]
    return tabulate(rows, ["attack", "ε", *shown.values()], tablefmt="github", disable_numparse=True)


def draw(record: Record) -> plt.Figure:
    """The worst case of each search and generator against ε."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for defense, label in _defenses(record).items():
        draw_shares(
            axes,
            [*record.select(defense=defense, attack="clean"), *record.select(defense=defense, attack=WORST)],
            label,
        )
    n = record.rows[0]["n"]
    axes.set(xlabel="ε (ℓ∞)", title=f"{record.dataset}: worst case, three generators, n = {n}, 95 % Wilson intervals")
    axes.legend(fontsize="small")
    return figure


if __name__ == "__main__":
    main()
