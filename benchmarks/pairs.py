"""The overpowered attack's speed beside the classifier's own passes, PyTorch, and one pair at a time; one run.

    python benchmarks/pairs.py
    python benchmarks/pairs.py --pairs 4 --steps 2

Writes `benchmarks/results/pairs.json`. PyTorch is skipped by name where it is not installed.
"""

import importlib.util
import math

import click
import keras
import numpy as np
import tensorflow as tf
from machine import RESULTS, seconds, watched
from projection import flops, table

import inc_tf as inc
from inc_tf.attacks.lagrangian import begin
from inc_tf.attacks.overpowered import PairSearch

ETA_SQUARED = 2e-4  # a mean squared difference


@click.command()
@click.option("--pairs", default=256, show_default=True)
@click.option("--steps", default=20, show_default=True, help="Of the attack, timed.")
@click.option("--repeats", default=3, show_default=True, help="The least time counts.")
def main(pairs: int, steps: int, repeats: int) -> None:
    """Time the overpowered attack on MNIST's networks."""
    with watched(RESULTS / "pairs.json") as record:
        record |= measured(pairs, steps, repeats)
        click.echo(table(record["rows"]))


def measured(pairs: int, steps: int, repeats: int) -> dict:
    """What the record says of the attack."""
    name = inc.data.mnist_or_digits()
    generator, classifier = inc.load(f"{name}-vae").generator, inc.load(f"{name}-classifier")
    eta = math.sqrt(ETA_SQUARED * math.prod(generator.output_shape[1:]))
    codes = tf.random.stateless_normal([pairs, 2, generator.input_shape[1]], [0, 0])
    search = PairSearch(generator, classifier, eta)

    def advance(codes, steps):
        return search.advance(begin(codes), tf.constant(steps)).codes.numpy()

    one = seconds(lambda: passes(classifier, generator, codes, steps), repeats) / steps
    times = {
        "ours": seconds(lambda: advance(codes, steps), repeats) / steps,
        "ours, one pair at a time": pairs * seconds(lambda: advance(codes[:1], steps), repeats) / steps,
        "one pair at a time, step by step": pairs
        * seconds(lambda: step_by_step(generator, classifier, codes[0], eta, steps), repeats)
        / steps,
    }
    if importlib.util.find_spec("torch"):
        from pytorch_peer import pairs as by_pytorch

        run = by_pytorch(generator, classifier, codes.numpy(), eta, steps)
        # The same arithmetic, but for the codes with next to no gradient, which Adam steps either way.
        assert np.median(np.abs(advance(codes, steps) - run())) < 1e-2
        times["PyTorch"] = seconds(run, repeats) / steps
    else:
        click.echo("PyTorch is not installed: skipped.")
    share = (flops(generator) + flops(classifier)) / flops(classifier)  # of a step beside the classifier's passes
    rows = [
        {
            "name": name,
            "pair_steps_per_second": pairs / time,
            "of_the_classifiers_rate": share * one / time,
            "ours_is_faster_by": time / times["ours"],
        }
        for name, time in times.items()
    ]
    return {"dataset": name, "pairs": pairs, "steps": steps, "rows": rows}


def step_by_step(
    generator: keras.Model, classifier: keras.Model, codes: tf.Tensor, eta: float, steps: int
) -> np.ndarray:
    """One pair as the paper's text reads: Python alternates a step of Adam in the codes with one in λ; codes [2, k]."""
    codes, multiplier = tf.Variable(codes), tf.Variable(0.0)
    optimizer = keras.optimizers.Adam(0.05)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            images = generator(codes, training=False)
            outputs = tf.nn.softmax(classifier(images, training=False))
            excess = tf.reduce_sum(tf.square(images[0] - images[1])) / eta**2 - 1
            lagrangian = tf.reduce_sum(tf.square(outputs[0] - outputs[1])) + multiplier * excess
        optimizer.apply([-tape.gradient(lagrangian, codes)], [codes])
        multiplier.assign(tf.minimum(0.0, multiplier - 0.003 * tf.clip_by_value(excess, -1.0, 1.0)))
    return codes.numpy()


def passes(classifier: keras.Model, generator: keras.Model, codes: tf.Tensor, times: int) -> np.ndarray:
    """The classifier's forward pass and the gradient of its input, `times` times, on the images of a step."""
    images = generator(tf.reshape(codes, [-1, codes.shape[2]]))
    return _gradients(classifier, images, tf.constant(times)).numpy()


@tf.function(reduce_retracing=True)
def _gradients(classifier, images, times):
    for _ in tf.range(times):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = classifier(images, training=False)
        images += 1e-6 * tape.gradient(logits, images)
    return images


if __name__ == "__main__":
    main()
