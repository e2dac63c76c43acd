"""Training a diffusion model by the simple loss of Ho et al. (2020): the mean squared error of the predicted noise."""

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from inc_tf import estimates
from inc_tf.data import Bounds, Dataset
from inc_tf.data.scaling import to_unit
from inc_tf.models.diffusion import LinearSchedule
from inc_tf.rows import column
from inc_tf.seeds import derive
from inc_tf.training import loop

_VALIDATED = 500  # images


def train(
    model: keras.Model,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    steps: int = 9_000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    average: float = 0.999,
    seed: int = 0,
    directory: Path,
) -> float:
    """Train `model`, (x_t, t) → noise, in place by Adam, on times from 1 to T. Returns the seconds taken.

    Args:
      learning_rate: the initial learning rate; it falls to 0 along a cosine.
      average: the momentum of the exponential average of the weights that the model ends with.

    `settings` and `directory` are `loop.run`'s.
    """
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=average)
    optimizer.build(model.trainable_variables)
    batches = loop.Batches(len(data), batch_size, seed)
    few = validation.take(min(_VALIDATED, len(validation)))

    def update(images, noise_seed):
        noised = _noised(images, noise_seed, data.bounds)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(_errors(model, [loop.share(part) for part in noised], training=True))
            own = loss / loop.replicas()
        optimizer.apply(tape.gradient(own, model.trainable_variables))
        return loop.means({"noise_mse": loss})

    update = loop.compiled(update)

    def step(t: int) -> loop.Scalars:
        return update(tf.constant(data.images[batches[t]]), tf.constant([derive(seed, "noise"), t]))

    seconds = loop.run(
        step,
        model.variables + optimizer.variables,
        settings=settings,
        steps=steps,
        directory=directory,
        save_every=500,
        validate=lambda t: {"validation/noise_mse": noise_mse(model, few).value},
    )
    optimizer.finalize_variable_values(model.trainable_variables)
    return seconds


def noise_mse(model: keras.Model, data: Dataset, batch_size: int = 500) -> estimates.Estimate:
    """The mean squared error of the predicted noise over `data`, each image at one time of a fixed draw."""
    errors = []
    for start in range(0, len(data), batch_size):
        images = tf.constant(data.images[start : start + batch_size])
        errors.append(_errors(model, _noised(images, tf.constant([0, start]), data.bounds), training=False))
    return estimates.mean(np.concatenate(errors))


def _noised(images: tf.Tensor, seed: tf.Tensor, bounds: Bounds) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """x_t of images, their times, and the noise in them, each image at a time of its own."""
    schedule = LinearSchedule()
    seeds = tf.random.split(seed, 2)
    times = tf.random.stateless_uniform(tf.shape(images)[:1], seeds[0], 1, schedule.steps + 1, tf.int32)
    noise = tf.random.stateless_normal(tf.shape(images), seeds[1])
    signal = column(tf.gather(tf.constant(schedule.signal(), tf.float32), times))
    scaled = 2 * to_unit(images, bounds) - 1
    return tf.sqrt(signal) * scaled + tf.sqrt(1 - signal) * noise, tf.cast(times, tf.float32), noise


def _errors(model: keras.Model, noised: Sequence[tf.Tensor], training: bool) -> tf.Tensor:
    """The mean squared error of the predicted noise of each image, [N], for the images that `_noised` returns."""
    images, times, noise = noised
    return tf.reduce_mean(tf.math.squared_difference(model([images, times], training=training), noise), axis=[1, 2, 3])
