"""One worker of several: python one_worker.py OUT STEPS; see test_workers.py, which also trains the only one by it."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from inc_tf import data
from inc_tf.errors import InputError
from inc_tf.training import loop, recipes

SAVE_EVERY = 50


def train(out: Path, steps: int, shared: tf.distribute.Strategy | None = None) -> None:
    """A linear classifier of forty digits, to `out`/`task`.npz, with its run in `out`/run."""
    digits = data.load("digits", "train").take(40)
    with shared.scope() if shared else nullcontext():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        optimizer = keras.optimizers.Adam(1e-4)
        optimizer.build(model.trainable_variables)
        batches = loop.Batches(40, 20, 0)

        def update(images, labels):
            with tf.GradientTape() as tape:
                logits = model(loop.share(images), training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(loop.share(labels), logits)
                loss = tf.reduce_mean(losses)
                own = loss / loop.replicas()
            optimizer.apply(tape.gradient(own, model.trainable_variables))
            return loop.means({"loss": loss})

        update = loop.compiled(update)

        def step(t: int):
            if t == SAVE_EVERY + 1:
                print("a state is saved", flush=True)
            return update(tf.constant(digits.images[batches[t]]), tf.constant(digits.labels[batches[t]]))

        loop.run(
            step,
            model.variables + optimizer.variables,
            settings={},
            steps=steps,
            directory=out / "run",
            save_every=SAVE_EVERY,
            log_every=1,
        )
        task = shared.cluster_resolver.task_id if shared else "only"
        np.savez(out / f"{task}.npz", *model.get_weights())


if __name__ == "__main__":
    shared = recipes.STRATEGIES["multi-worker"]()
    try:
        train(Path(sys.argv[1]), int(sys.argv[2]), shared)
        with shared.scope():
            print("done", loop.is_chief(), flush=True)
    except InputError as error:
        print(error, flush=True)
        os._exit(1)
    os._exit(0)  # without TensorFlow's farewell between workers, which waits for both
