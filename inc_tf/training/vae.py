"""Training a variational autoencoder by its evidence lower bound, as J. H. Metzen's notebook does."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from inc_tf import estimates
from inc_tf.data import Dataset
from inc_tf.models.mnist import VAE
from inc_tf.seeds import derive
from inc_tf.training import loop


def train(
    model: VAE,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    steps: int = 41_250,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    seed: int = 0,
    directory: Path,
) -> float:
    """Train `model` in place by Adam; the defaults are the notebook's, 75 epochs of MNIST. Returns the seconds taken.

    `settings` and `directory` are `loop.run`'s.
    """
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)
    batches = loop.Batches(len(data), batch_size, seed)
    noise_shape = (batch_size, model.generator.input_shape[1])

    def update(images, noise_seed):
        noise = tf.random.stateless_normal(noise_shape, noise_seed)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.negative_elbo(loop.share(images), loop.share(noise)))
            own = loss / loop.replicas()
        optimizer.apply(tape.gradient(own, model.trainable_variables))
        return loop.means({"negative_elbo": loss})

    update = loop.compiled(update, jit=True)

    def step(t: int) -> loop.Scalars:
        return update(tf.constant(data.images[batches[t]]), tf.constant([derive(seed, "noise"), t]))

    return loop.run(
        step,
        model.variables + optimizer.variables,
        settings=settings,
        steps=steps,
        directory=directory,
        save_every=2750,
        validate=lambda t: {"validation/mse": reconstruction_mse(model, validation).value},
    )


def reconstruction_mse(model: keras.Model, data: Dataset) -> estimates.Estimate:
    """The mean squared error per pixel of G(E(x)) over `data`, for a VAE or the autoencoder of a BEGAN."""
    output = loop.outputs(model, data.images)
    return estimates.mean(np.square(output - data.images).mean(axis=(1, 2, 3)))
