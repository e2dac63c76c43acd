"""How much harder an attacker can try on the fast search on MNIST, and what it gives.

    python benchmarks/attempts.py
    python benchmarks/attempts.py --n 4 --epsilon 0.3

Each attempt is AutoPGD along the implicit gradient. The fast search starts from the nearest of 4,096 random codes,
others for each seed: the attack averages over 1, 2 or 8 of these draws, with more steps, restarts or another loss. What
it finds is answered with seeds that it did not see, and, beside this, with its own. The worst case picks, image by
image, the attempt that is worst. Writes `benchmarks/results/attempts.json`.
"""

import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np

import inc_tf as inc
from inc_tf import checkpoints
from inc_tf.attacks.differentiable import implicit
from inc_tf.attacks.losses import Loss
from inc_tf.evaluation import scoring
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.tables import NOTHING, markdown, percent

RESULT = Path(__file__).parent / "results" / "attempts.json"
FRESH = range(1000, 1000 + scoring.DRAWS)
SEED = 0
SEEN = {"fresh": "answered with fresh draws", "own": "with the attack's own"}
WORST = "the worst of these, image by image"


class Attempt(NamedTuple):
    """How hard the attacker tries."""

    draws: int
    steps: int = 40
    restarts: int = 1
    loss: Loss = "cross-entropy"

    def __str__(self) -> str:
        return f"{self.draws} draws, {self.steps} steps, {self.restarts} starts, {self.loss}"


ATTEMPTS = (
    *(Attempt(1), Attempt(2), Attempt(8)),
    *(Attempt(2, loss="margin"), Attempt(2, restarts=4, loss="margin"), Attempt(2, steps=100, restarts=4)),
)


@click.command()
@click.option("--n", default=50, show_default=True, help="Images.")
@click.option("--epsilon", "epsilons", multiple=True, type=float, default=(0.3, 0.2), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT)
def main(n: int, epsilons: tuple[float, ...], out: Path) -> None:
    """Accuracy that each attempt leaves."""
    name = inc.data.mnist_or_digits()
    data, defense = inc.data.load(name, "test").take(n), inc.load(f"{name}-inc-fast")
    known = inc.data.SOURCES[name].checkpoints
    hashes = {known[part]: checkpoints.card(known[part])["sha256"] for part in ("classifier", "generative")}
    command = " ".join([f"python benchmarks/attempts.py --n {n}", *(f"--epsilon {epsilon:g}" for epsilon in epsilons)])
    record = Record("attempts", command, name, True, SEED, hashes)
    for epsilon in epsilons:
        fresh = []
        for attempt in ATTEMPTS:
            found = inc.attacks.auto_pgd(
                implicit(defense, seeds=range(attempt.draws)),
                data.images,
                data.labels,
                bounds=data.bounds,
                epsilon=epsilon,
                seed=SEED,
                steps=attempt.steps,
                restarts=attempt.restarts,
                loss=attempt.loss,
            )
            for seen, seeds in (("fresh", FRESH), ("own", range(attempt.draws))):
                right = np.stack([defense(found, seed=s).predictions.numpy() == data.labels for s in seeds])
                left = scoring.accuracy(right, SEED)
                record.add(left, metric="accuracy", attack=str(attempt), defense=seen, epsilon=epsilon)
                click.echo(f"ε {epsilon:g}, {attempt}, {seen}: {percent(record.rows[-1])}", err=True)
                fresh += [right] * (seen == "fresh")
        left = scoring.of_scores(scoring.worst_case(fresh), SEED)
        record.add(left, metric="accuracy", attack=WORST, defense="fresh", epsilon=epsilon)
        record.write(out)
    click.echo(table(record))


def table(record: Record) -> str:
    """A row for each ε and attempt."""
    rows = []
    for epsilon, attack in dict.fromkeys((row["epsilon"], row["attack"]) for row in record.rows):
        found = [record.select(epsilon=epsilon, attack=attack, defense=seen) for seen in SEEN]
        rows.append([f"{epsilon:g}", attack, *(percent(one[0]) if one else NOTHING for one in found)])
    return markdown(rows, ["ε", "attempt", *SEEN.values()])


if __name__ == "__main__":
    main()
