"""What is between the fast search and its products: Levenberg–Marquardt on MNIST's VAE in batches of 1, 8 and 64.

    python benchmarks/fast_search.py

A server that answers one image, or what 64 clients ask for, waits for this search. For each batch: the whole search,
one step's JᵀJ and Jᵀr by several ways, and the products with the weights that no way can do without, k + 4 codes
an image and step. From these follow the images per second that products alone would allow. For one image XLA compiles
all of them, as it does in the search. Writes `benchmarks/results/fast_search.json`.
"""

import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import tensorflow as tf
from machine import RESULTS, seconds, watched
from projection import table

import inc_tf as inc
from inc_tf.projection.solvers.levenberg_marquardt import normal_equations

BATCHES = (1, 8, 64)
CALLS = 20  # in one graph, so that Python's share is not counted
TRIALS = 4  # codes that a step tries


@click.command()
@click.option("--repeats", default=15, show_default=True, help="The least time counts.")
def main(repeats: int) -> None:
    """Time the search and its parts."""
    name = inc.data.mnist_or_digits()
    projector = inc.load(f"{name}-inc-fast").projector
    images = tf.constant(inc.data.load(name, "test").take(max(BATCHES)).images)
    with watched(RESULTS / "fast_search.json") as record:
        record |= {"dataset": name, "rows": [row(projector, images[:n], repeats) for n in BATCHES]}
        click.echo(table(record["rows"]))


def row(projector: inc.LatentProjector, images: tf.Tensor, repeats: int) -> dict:
    """Milliseconds of a batch."""
    generator, n = projector.generator, len(images)
    minimize = projector.solver.compile(generator)
    prepare, draw = projector.start.compile(generator)
    codes = draw(images, tf.zeros([n], tf.int32), *prepare(tf.constant(0)))[:, 0]
    steps = float(tf.reduce_mean(tf.cast(minimize(images, codes).steps, tf.float32)))
    ways: dict[str, Callable] = {
        "JᵀJ, the library": lambda z: normal_equations(generator, z, images),
        "JᵀJ, written by hand": lambda z: by_hand(generator, z, images),
        "JᵀJ, its products alone": lambda z: products(generator, z, generator.input_shape[1], tf.float32),
        "these in bfloat16": lambda z: products(generator, z, generator.input_shape[1], tf.bfloat16),
        "all products": lambda z: products(generator, z, generator.input_shape[1] + TRIALS, tf.float32),
    }
    taken = {name: 1000 * seconds(repeated(way, codes, n == 1), repeats) / CALLS for name, way in ways.items()}
    search = 1000 * seconds(lambda: minimize(images, codes).errors.numpy(), repeats)
    return {
        "images": n,
        "steps": steps,
        "search": search,
        "of a step": search / steps,
        **taken,
        "images/s": 1000 * n / search,
        "images/s, products alone": 1000 * n / (steps * taken["all products"]),
    }


def repeated(way: Callable, codes: tf.Tensor, compiled: bool) -> Callable[[], object]:
    """`way` of the codes, and again of codes that follow from what it returned."""

    @tf.function(jit_compile=compiled, autograph=False)
    def run(codes: tf.Tensor) -> tf.Tensor:
        def again(i: tf.Tensor, z: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, z + 1e-9 * sum(tf.reduce_sum(part) for part in tf.nest.flatten(way(z)))

        return tf.while_loop(lambda i, z: i < CALLS, again, (0, codes))[1]

    return lambda: run(codes).numpy()


def layers(generator: keras.Model) -> list[tuple[tf.Tensor, tf.Tensor, Callable]]:
    """The weights, biases and activations of a dense generator."""
    return [(*layer.weights, layer.activation) for layer in generator.layers if layer.weights]


def by_hand(generator: keras.Model, codes: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`normal_equations` of a dense generator: tangents go through its layers with the codes."""
    n, k = codes.shape[0], codes.shape[1]
    values, tangents = codes, tf.repeat(tf.eye(k)[tf.newaxis], n, axis=0)
    for weights, biases, activation in layers(generator):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            before = values @ weights + biases
            tape.watch(before)
            values = activation(before)
        slopes = tape.gradient(values, before)
        tangents = tf.reshape(tf.reshape(tangents, [n * k, -1]) @ weights, [n, k, -1]) * slopes[:, tf.newaxis]
    residual = values - tf.reshape(images, [n, -1])
    return tf.matmul(tangents, tangents, transpose_b=True), tf.linalg.matvec(tangents, residual)


def products(generator: keras.Model, codes: tf.Tensor, each: int, dtype: tf.DType) -> tf.Tensor:
    """`each` codes an image through the generator's weights, and nothing else."""
    values = tf.cast(tf.repeat(codes, each, axis=0), dtype)
    for weights, *_ in layers(generator):
        values = values @ tf.cast(weights, dtype)
    return tf.cast(values, tf.float32)


if __name__ == "__main__":
    main()
