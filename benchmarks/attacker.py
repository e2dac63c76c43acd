"""What an attacker who knows the defence pays: the implicit gradient, and queries of the fast search.

    python benchmarks/attacker.py
    python benchmarks/attacker.py --images 8 --faces 1 --queries 10

The implicit gradient is timed beside the search at whose end it is taken: on MNIST's VAE (Levenberg–Marquardt) and on
the shipped BEGAN (L-BFGS). Square, which asks for answers alone, is timed with the search of a few images as it is,
each one XLA program, and with all of them as one batch that drains. Writes `benchmarks/results/attacker.json`.
"""

import os
import time
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import tensorflow as tf
from machine import RESULTS, seconds, watched
from projection import table

import inc_tf as inc
from inc_tf.projection import gradients

SEARCH = "inc_tf.projection.solvers.search"


@click.command()
@click.option("--images", default=64, show_default=True, help="Of MNIST, for the gradient.")
@click.option("--faces", default=4, show_default=True, help="Of CelebA, where `TFDS_DATA_DIR` has it; 0 for none.")
@click.option("--queries", default=100, show_default=True, help="Of Square, an image.")
@click.option("--repeats", default=3, show_default=True, help="The least time counts.")
def main(images: int, faces: int, queries: int, repeats: int) -> None:
    """Time the gradient and the queries."""
    with watched(RESULTS / "attacker.json") as record:
        sizes = {inc.data.mnist_or_digits(): images, "celeb_a": faces}
        record["implicit"] = [gradient(name, n, repeats) for name, n in sizes.items() if n]
        record["queries"] = asked(queries, repeats)
        click.echo("\n\n".join(map(table, record.values())))


def gradient(name: str, n: int, repeats: int) -> dict:
    """Milliseconds an image of the fast search, and of the gradient where it ends."""
    data, projector = inc.data.load(name, "test").take(n), inc.load(f"{name}-inc-fast").projector
    images = tf.constant(data.images)
    codes = projector(images).codes

    @tf.function(autograph=False)
    def pulled_back() -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            found = gradients.implicit(projector.generator, images, codes)
        return tape.gradient(found, images, output_gradients=tf.ones_like(found))

    search = 1000 * seconds(lambda: projector(images), repeats) / n
    taken = 1000 * seconds(lambda: pulled_back().numpy(), repeats) / n
    return {
        "dataset": name,
        "images": n,
        "search_ms": search,
        "gradient_ms": taken,
        "gradient_to_search": taken / search,
    }


def asked(queries: int, repeats: int) -> list[dict]:
    """Square's queries a second of the fast search, by the number of images; ε is too small for it to end early."""
    name = inc.data.mnist_or_digits()
    data = inc.data.load(name, "test")
    compiled = inc.load(f"{name}-inc-fast")
    with mock.patch(f"{SEARCH}._FEW", 0):
        drained = inc.load(f"{name}-inc-fast")

    def a_second(defense: inc.InvertAndClassify, n: int) -> float:
        shown = []

        def classify(images: tf.Tensor) -> tf.Tensor:
            shown.append(len(images))
            return defense(images).logits

        def attack() -> None:
            few = data.take(n)
            inc.attacks.square(classify, few.images, few.labels, bounds=few.bounds, epsilon=0.02, queries=queries)

        attack()
        rates = []
        for _ in range(repeats):
            shown.clear()
            started = time.perf_counter()
            attack()
            rates.append(sum(shown) / (time.perf_counter() - started))
        return max(rates)

    rows = []
    for n in (1, 2, 4):
        ours, before = a_second(compiled, n), a_second(drained, n)
        rows.append({"images": n, "per_second": ours, "drained_per_second": before, "times_faster": ours / before})
    return rows


if __name__ == "__main__":
    main()
