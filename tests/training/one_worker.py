"""One worker of several, or the only one: python one_worker.py OUT STEPS; see test_workers.py."""

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

shared = recipes.STRATEGIES["multi-worker"]() if "TF_CONFIG" in os.environ else None

out, steps = Path(sys.argv[1]), int(sys.argv[2])
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
    state = model.variables + optimizer.variables
    try:
        loop.run(
            lambda t: update(tf.constant(digits.images[batches[t]]), tf.constant(digits.labels[batches[t]])),
            state,
            settings={},
            steps=steps,
            directory=out / "run",
            save_every=50,
            log_every=1,
        )
    except InputError as error:
        print(error, flush=True)
        os._exit(1)
    name = shared.cluster_resolver.task_id if shared else "only"
    np.savez(out / f"{name}.npz", *model.get_weights())
    print("done", loop.is_chief(), flush=True)
os._exit(0)  # without TensorFlow's farewell between workers, which waits for both
