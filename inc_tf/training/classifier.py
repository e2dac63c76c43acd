"""Training a classifier by cross-entropy, as TensorFlow's MNIST and CIFAR-10 tutorials do, and against an adversary."""

from pathlib import Path
from typing import Protocol

import keras
import tensorflow as tf

from inc_tf import estimates
from inc_tf.data import Dataset
from inc_tf.seeds import derive
from inc_tf.training import loop


class Adversary(Protocol):
    """The opponent in adversarial training: it finds examples before each step, and adds a loss on them."""

    variables: list[keras.Variable]
    """Its state, which it carries from step to step."""

    def find(self, t: int, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """The examples it finds against the classifier at step `t`, for that step's batch; tensors [N, …]."""
        ...

    def loss(self, *found: tf.Tensor) -> tuple[tf.Tensor, loop.Scalars]:
        """The loss on these examples, a differentiable scalar, and scalars to log."""
        ...


def train(
    model: keras.Model,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    steps: int = 20_000,
    batch_size: int = 50,
    learning_rate: float = 1e-4,
    decay: bool = False,
    average: float | None = None,
    mirror: bool = False,
    noise: float = 0.0,
    adversary: Adversary | None = None,
    seed: int = 0,
    directory: Path,
) -> float:
    """Train `model`, images → logits, in place by Adam; returns the seconds taken. Defaults: the MNIST tutorial's.

    Args:
      decay: let the learning rate fall to 0 along a cosine.
      average: the momentum of the exponential average of the weights that the model ends with; None: no average.
      mirror: flip each image left to right with probability ½.
      noise: σ of the Gaussian noise that is added to each image, in the images' own units (Cohen et al., 2019).
      adversary: adds its loss on the examples that it finds before each step.

    `settings` and `directory` are `loop.run`'s. The layers' own regularisation is added to the loss.
    """
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps) if decay else learning_rate
    optimizer = keras.optimizers.Adam(rate, use_ema=average is not None, ema_momentum=average or 0.99)
    optimizer.build(model.trainable_variables)
    batches = loop.Batches(len(data), batch_size, seed)

    def update(images, labels, flip_seed, found):
        if mirror:
            flips = tf.random.stateless_uniform([batch_size, 1, 1, 1], flip_seed) < 0.5
            images = tf.where(flips, images[:, :, ::-1], images)
        if noise:
            noise_seed = tf.stack([derive(seed, "noise"), flip_seed[1]])
            images += noise * tf.random.stateless_normal(tf.shape(images), noise_seed)
        images, labels = loop.share(images), loop.share(labels)
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            loss += tf.add_n(model.losses) if model.losses else 0.0
            extra, scalars = adversary.loss(*[loop.share(part) for part in found]) if adversary else (0.0, {})
            own = (loss + extra) / loop.replicas()
        optimizer.apply(tape.gradient(own, model.trainable_variables))
        right = tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == labels, tf.float32))
        return loop.means({"loss": loss, "accuracy": right, **scalars})

    update = loop.compiled(update)

    def step(t: int) -> loop.Scalars:
        rows = batches[t]
        flip_seed = tf.constant([derive(seed, "mirror"), t])
        images, labels = tf.constant(data.images[rows]), tf.constant(data.labels[rows])
        found = adversary.find(t, images, labels) if adversary else ()
        return update(images, labels, flip_seed, found)

    seconds = loop.run(
        step,
        model.variables + optimizer.variables + (adversary.variables if adversary else []),
        settings=settings,
        steps=steps,
        directory=directory,
        log_every=10 if adversary else loop.LOG_EVERY,
        save_every=100 if adversary else 1000,
        validate=lambda t: {"validation/accuracy": accuracy(model, validation).value},
    )
    if average is not None:
        optimizer.finalize_variable_values(model.trainable_variables)
    return seconds


def accuracy(model: keras.Model, data: Dataset) -> estimates.Estimate:
    """The share of `data` that `model` classifies right."""
    logits = loop.outputs(model, data.images)
    return estimates.share(logits.argmax(axis=1) == data.labels)
