"""PGD through the unrolled search, ours beside PyTorch eager, with the same networks, images and steps; one run.

    python benchmarks/unrolled.py
    python benchmarks/unrolled.py --images 4 --steps 2

Each of PGD's steps takes the gradient of C(G(z_K(x))), z_K the last of K = 60 steps of Adam from E(x), through all of
them. The library's backward pass takes each step of the search once more, where PyTorch keeps the activations of all of
them. As one XLA program, search, classifier and gradient, it is faster; but attacks take the gradient of any classifier
by a tape. Beside this, one gradient by three ways of going back through the search, and what each keeps of eight faces
and 20 steps behind BEGAN. Writes `benchmarks/results/unrolled.json`. PyTorch is skipped by name where it is not
installed.
"""

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
import tensorflow as tf
from machine import RESULTS, elsewhere, peak_gib, seconds, watched
from projection import flops, in_turn, table

import inc_tf as inc
from inc_tf.attacks.differentiable import unrolled
from inc_tf.attacks.losses import LOSSES
from inc_tf.projection import gradients

EPSILON, SEARCH_STEPS = 0.3, 60
FACES, FACES_STEPS = 8, 20
ROUNDS = 9
STEP_BY_STEP = gradients.recomputed
WAYS: dict[str, Callable] = {
    "as TensorFlow differentiates the loop": lambda step, compiled: step,
    "every step taken again": lambda step, compiled: STEP_BY_STEP(step),
    "every step taken again, by XLA where it pays (the library)": STEP_BY_STEP,
}
"""What becomes of a step of the search, by what it is called."""


@click.command()
@click.option("--images", default=100, show_default=True)
@click.option("--steps", default=40, show_default=True, help="Of PGD.")
@click.option("--repeats", default=3, show_default=True, help="The least time counts.")
def main(images: int, steps: int, repeats: int) -> None:
    """Time the attack on MNIST's networks."""
    with watched(RESULTS / "unrolled.json") as record:
        record |= measured(images, steps, repeats)
        record |= {"ways": ways(images)}
        click.echo(table(record["rows"]))
        click.echo(table(record["ways"]))


def measured(images: int, steps: int, repeats: int) -> dict:
    """What the record says of the attack."""
    name = inc.data.mnist_or_digits()
    data = inc.data.load(name, "test").take(images)
    classifier, vae = inc.load(f"{name}-classifier"), inc.load(f"{name}-vae")
    defense = inc.InvertAndClassify(classifier, inc.LatentProjector(vae.generator))
    stand_in, another = (unrolled(defense, start=vae.encoder, steps=SEARCH_STEPS) for _ in range(2))

    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["inc_tf"] = inc.attacks.pgd(
            stand_in, data.images, data.labels, bounds=data.bounds, epsilon=EPSILON, steps=steps, loss="margin"
        ).numpy()

    compiled = as_one_program(another, data, steps)  # a graph that was traced for no XLA cannot be compiled
    runs = {"inc_tf": ours, "one XLA program": lambda: found.update({"one XLA program": compiled()})}
    difference = None
    if importlib.util.find_spec("torch"):
        from pytorch_peer import UnrolledSearch

        peer = UnrolledSearch(classifier, vae.generator, vae.encoder, SEARCH_STEPS)
        difference = disagreement(stand_in, peer, data)
        runs["PyTorch"] = lambda: found.update(PyTorch=peer.pgd(data.images, data.labels, EPSILON, steps))
    else:
        click.echo("PyTorch is not installed: skipped.")
    # Of G in a step of the search: forward, its gradient, and the gradient of both.
    work = images * steps * SEARCH_STEPS * 4 * flops(vae.generator)
    rows = in_turn(runs, repeats, images * steps, work)
    for row in rows:
        row["broken"] = float(np.mean(stand_in(found[row["name"]]).numpy().argmax(axis=1) != data.labels))
    context = {"dataset": name, "images": images, "steps": steps, "search_steps": SEARCH_STEPS, "epsilon": EPSILON}
    return {**context, "gradients_differ_by": difference, "rows": rows}


@contextmanager
def going_back(way: str) -> Iterator[None]:
    """What is traced here goes back through the search in one of `WAYS`."""
    gradients.recomputed = WAYS[way]
    try:
        yield
    finally:
        gradients.recomputed = STEP_BY_STEP


def ways(images: int) -> list[dict]:
    """Milliseconds of one gradient of MNIST's images, the median of runs in turn, and the peak memory of one of faces,
    by each way.
    """
    name = inc.data.mnist_or_digits()
    x = tf.constant(inc.data.load(name, "test").take(images).images)
    vae = inc.load(f"{name}-vae")
    runs, codes = {}, vae.encoder(x)
    for way in WAYS:
        with going_back(way):
            runs[way] = functools.partial(gradient(vae.generator, SEARCH_STEPS), x, codes)
            runs[way]()  # is traced
    times = [[seconds(run, 1, warm=False) for run in runs.values()] for _ in range(ROUNDS)]
    rows = []
    for way, taken in zip(WAYS, np.median(times, axis=0), strict=True):
        (peak,) = elsewhere(f"import unrolled; print(unrolled.peak_of({way!r}))")
        rows.append({"way": way, "ms": 1000 * taken, "faces_peak_gib": peak})
    return rows


def gradient(generator, steps: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function from x and z₀ to the gradient of ‖z_K(x)‖² with respect to x."""

    @tf.function(autograph=False)
    def of(x: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            size = tf.reduce_sum(gradients.unrolled(generator, x, codes, steps=steps) ** 2)
        return tape.gradient(size, x)

    return of


def peak_of(way: str) -> float:
    """The peak memory of this process, GiB, after one gradient of faces by one of `WAYS`."""
    generator = inc.load("celeba-began").generator
    x = tf.random.stateless_uniform([FACES, *generator.output_shape[1:]], [0, 0], -1.0, 1.0)
    with going_back(way):
        gradient(generator, FACES_STEPS)(x, tf.zeros([FACES, generator.input_shape[1]]))
    return peak_gib()


def as_one_program(stand_in, data: inc.data.Dataset, steps: int) -> Callable[[], np.ndarray]:
    """A function that answers images after PGD's steps, each of which is one compiled program."""
    clean, labels = tf.constant(data.images), tf.constant(data.labels)

    @tf.function(jit_compile=True, autograph=False)
    def step(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            margins = LOSSES["margin"](labels, stand_in(x))
        x += 2.5 * EPSILON / steps * tf.sign(tape.gradient(margins, x))
        return tf.clip_by_value(tf.clip_by_value(x, clean - EPSILON, clean + EPSILON), 0.0, 1.0)

    def attack() -> np.ndarray:
        x = tf.clip_by_value(clean + tf.random.stateless_uniform(clean.shape, [0, 0], -EPSILON, EPSILON), 0.0, 1.0)
        for _ in range(steps):
            x = step(x)
        return x.numpy()

    return attack


def disagreement(stand_in, peer, data: inc.data.Dataset) -> float:
    """The largest difference between the two gradients of the margin on the clean images, relative to the largest."""
    images = tf.constant(data.images)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        margins = LOSSES["margin"](data.labels, stand_in(images))
    ours, theirs = tape.gradient(margins, images).numpy(), peer.gradient(data.images, data.labels)
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


if __name__ == "__main__":
    main()
