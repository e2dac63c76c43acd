"""What an attacker gains who averages over more draws of a defence that draws lots: the fast search on MNIST.

    python benchmarks/expectation.py
    python benchmarks/expectation.py --n 4 --draws 1 --draws 2 --epsilon 0.3

The fast search starts from the nearest of 4,096 random codes, others for each seed. AutoPGD-40 along the implicit
gradient averages over 1, 2, 8 and 32 of them; what it finds is answered with seeds that it did not see, and, beside
this, with its own. Writes `benchmarks/results/expectation.json`.
"""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np

import inc_tf as inc
from inc_tf import checkpoints
from inc_tf.attacks.differentiable import implicit
from inc_tf.evaluation import scoring
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.tables import markdown, percent

RESULT = Path(__file__).parent / "results" / "expectation.json"
FRESH = range(1000, 1000 + scoring.DRAWS)
SEED = 0
SEEN = {"fresh": "answered with fresh draws", "own": "with the attack's own"}


@click.command()
@click.option("--n", default=50, show_default=True, help="Images.")
@click.option("--draws", multiple=True, type=int, default=(1, 2, 8, 32), show_default=True, help="Repeatable.")
@click.option("--epsilon", "epsilons", multiple=True, type=float, default=(0.2, 0.3), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT)
def main(n: int, draws: tuple[int, ...], epsilons: tuple[float, ...], out: Path) -> None:
    """Accuracy that the attack leaves, by the draws over which it averages."""
    name = inc.data.mnist_or_digits()
    data, defense = inc.data.load(name, "test").take(n), inc.load(f"{name}-inc-fast")
    known = inc.data.SOURCES[name].checkpoints
    hashes = {known[part]: checkpoints.card(known[part])["sha256"] for part in ("classifier", "generative")}
    command = " ".join(["python benchmarks/expectation.py", f"--n {n}", *(f"--draws {m}" for m in draws)])
    record = Record("expectation", command, name, True, SEED, hashes)
    for epsilon in epsilons:
        for m in draws:
            found = inc.attacks.auto_pgd(
                implicit(defense, seeds=range(m)),
                data.images,
                data.labels,
                bounds=data.bounds,
                epsilon=epsilon,
                seed=SEED,
            )
            for seen, seeds in (("fresh", FRESH), ("own", range(min(m, scoring.DRAWS)))):
                right = np.stack([defense(found, seed=s).predictions.numpy() == data.labels for s in seeds])
                left = scoring.accuracy(right, SEED)
                record.add(left, metric="accuracy", attack=f"{m} draw{'s' * (m > 1)}", defense=seen, epsilon=epsilon)
                click.echo(f"ε {epsilon:g}, {m} draws, {seen}: {percent(record.rows[-1])}", err=True)
            record.write(out)
    click.echo(table(record))


def table(record: Record) -> str:
    """A row for each ε and number of draws."""
    cases = dict.fromkeys((row["epsilon"], row["attack"]) for row in record.rows)
    rows = [
        [f"{epsilon:g}", attack, *(percent(record.one(epsilon=epsilon, attack=attack, defense=d)) for d in SEEN)]
        for epsilon, attack in cases
    ]
    return markdown(rows, ["ε", "averaged over", *SEEN.values()])


if __name__ == "__main__":
    main()
