"""How far an attack on a stand-in carries to the search that it stands for.

    python benchmarks/stand_ins.py
    python benchmarks/stand_ins.py --n 10 --steps 10

PGD on each stand-in of `inc_tf.attacks.differentiable`, then the accuracy that is left of the stand-in itself, of INC
with the fast solver, and of the paper's search. Where the first is near nothing and the others are not, the gradients
are good and lead elsewhere: the stand-in's search ends at other codes. Writes `benchmarks/results/stand_ins.json`.
"""

import os
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import tensorflow as tf
from tabulate import tabulate

import inc_tf as inc
from inc_tf import checkpoints, estimates, zoo
from inc_tf.attacks.differentiable import implicit, unrolled
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.tables import percent

RESULT = Path(__file__).parent / "results" / "stand_ins.json"
SEED = 0


@click.command()
@click.option("--n", default=50, show_default=True, help="Images.")
@click.option("--steps", default=40, show_default=True, help="Of PGD.")
@click.option("--epsilon", default=0.3, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT)
def main(n: int, steps: int, epsilon: float, out: Path) -> None:
    """Accuracy of each stand-in for MNIST's search, and of the search, under attack on the stand-in."""
    name = inc.data.mnist_or_digits()
    data = inc.data.load(name, "test").take(n)
    parts = zoo.parts(inc.data.SOURCES[name], ("classifier", "generative"))
    fast, whole = zoo.build("inc-fast", parts), zoo.build("inc", parts)
    through = partial(unrolled, fast)
    stand_ins = {
        "20 steps from E(x)": through(start=parts.encoder, steps=20),
        "60 steps from E(x)": through(start=parts.encoder),
        "60 steps from E(x), learning rate 0.03": through(start=parts.encoder, learning_rate=0.03),
        "60 steps from one start of N(0, 1)": unrolled(whole, seeds=(0,)),
        "60 steps from three starts of N(0, 1), their mean": unrolled(whole, seeds=(0, 1, 2)),
        "10 steps from where the fast search ends": through(
            start=lambda x: tf.stop_gradient(fast.projector(tf.stop_gradient(x)).codes), steps=10
        ),
        "implicit gradient, where the fast search ends": implicit(fast),
        "implicit gradient, where the paper's search ends": implicit(whole),
    }
    hashes = {card: checkpoints.card(card)["sha256"] for card in (f"{name}-classifier", f"{name}-vae")}
    command = f"python benchmarks/stand_ins.py --n {n} --steps {steps} --epsilon {epsilon:g}"
    record = Record("stand_ins", command, name, True, SEED, hashes)
    for label, stand_in in stand_ins.items():
        found = inc.attacks.pgd(
            stand_in,
            data.images,
            data.labels,
            bounds=data.bounds,
            seed=SEED,
            epsilon=epsilon,
            steps=steps,
            loss="margin",
        )
        answers = {
            "stand-in": tf.argmax(stand_in(found), axis=1),
            "inc-fast": fast(found).predictions,
            "inc": whole(found).predictions,
        }
        for defense, predictions in answers.items():
            right = estimates.share(predictions.numpy() == data.labels)
            record.add(right, metric="accuracy", defense=defense, attack=label, epsilon=epsilon)
        click.echo(f"{label}: {' '.join(percent(row) for row in record.rows[-3:])}", err=True)
    record.write(out)
    columns = {"stand-in": "of the stand-in", "inc-fast": "of INC, fast solver", "inc": "of INC, the paper's search"}
    lines = [[label, *(percent(record.one(attack=label, defense=d)) for d in columns)] for label in stand_ins]
    click.echo(tabulate(lines, ["attack on", *columns.values()], tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
