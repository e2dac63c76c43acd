"""Training a classifier by cross-entropy, as TensorFlow's MNIST tutorial does."""

from pathlib import Path

import keras
import tensorflow as tf

from inc_tf import evaluation
from inc_tf.data import Dataset
from inc_tf.training import loop


def train(
    model: keras.Model,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    steps: int = 20_000,
    batch_size: int = 50,
    learning_rate: float = 1e-4,
    seed: int = 0,
    directory: Path,
) -> float:
    """Train `model`, images → logits, in place by Adam; the defaults are the tutorial's. Returns the seconds taken.

    `settings` and `directory` are `loop.run`'s.
    """
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)
    batches = loop.Batches(len(data), batch_size, seed)

    @tf.function
    def update(images, labels):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        return {"loss": loss, "accuracy": tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == labels, tf.float32))}

    def step(t: int) -> loop.Scalars:
        rows = batches[t]
        return update(tf.constant(data.images[rows]), tf.constant(data.labels[rows]))

    return loop.run(
        step,
        model.variables + optimizer.variables,
        settings=settings,
        steps=steps,
        directory=directory,
        save_every=1000,
        validate=lambda: {"validation/accuracy": accuracy(model, validation).value},
    )


def accuracy(model: keras.Model, data: Dataset) -> evaluation.Estimate:
    """The share of `data` that `model` classifies right."""
    logits = model.predict(data.images, batch_size=500, verbose=0)
    return evaluation.share(logits.argmax(axis=1) == data.labels)
