"""Training BEGAN (Berthelot et al., 2017), as carpedm20/BEGAN-tensorflow does."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from inc_tf.data import Dataset
from inc_tf.data.scaling import to_unit
from inc_tf.models.celeba import BEGAN
from inc_tf.seeds import derive
from inc_tf.training import loop

_SHOWN = 16  # images of a grid
_COMPARED = 200  # images whose pairwise distances are the diversity
_SNAPSHOT_EVERY = 2500


def train(
    model: BEGAN,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    steps: int = 300_000,
    batch_size: int = 16,
    learning_rate: float = 8e-5,
    gamma: float = 0.5,
    proportional_gain: float = 1e-3,
    seed: int = 0,
    directory: Path,
) -> float:
    """Train `model` in place; the defaults are the repository's. Returns the seconds taken.

    The discriminator D lowers L(x) − k·L(G(z)), the generator L(G(z)), where L is the mean absolute error of D's
    reconstruction; k moves by λ(γ·L(x) − L(G(z))) within [0, 1]. The rate of both Adams is halved after each third of
    the steps, the repository's every 100,000 of 300,000.

    Args:
      gamma: γ, the diversity ratio.
      proportional_gain: λ.

    `settings` and `directory` are `loop.run`'s. `directory` also gets `snapshots/<step>.weights.h5`, the generator's
    weights every 2,500 steps.
    """
    update, changed = compiled_step(model, batch_size, steps, learning_rate, gamma, proportional_gain)
    batches = loop.Batches(len(data), batch_size, seed)

    def step(t: int) -> loop.Scalars:
        return update(tf.constant(data.images[batches[t]]), tf.constant([derive(seed, "codes"), t]))

    def validate(t: int) -> dict[str, float]:
        if t % _SNAPSHOT_EVERY == 0:
            (directory / "snapshots").mkdir(exist_ok=True)
            model.generator.save_weights(directory / "snapshots" / f"{t}.weights.h5")
        tf.summary.image("samples", [_grid(model.sample(_SHOWN, derive(seed, "shown")), data.bounds)], step=t)
        few = validation.take(_SHOWN).images
        pairs = np.concatenate([few, loop.outputs(model, few)], axis=2)
        tf.summary.image("reconstructions", [_grid(pairs, data.bounds)], step=t)
        return {"validation/diversity": diversity(model, validation)}

    return loop.run(
        step,
        changed,
        settings=settings,
        steps=steps,
        directory=directory,
        save_every=500,
        validate=validate,
    )


def compiled_step(
    model: BEGAN,
    batch_size: int,
    steps: int,
    learning_rate: float = 8e-5,
    gamma: float = 0.5,
    proportional_gain: float = 1e-3,
) -> tuple[Callable[[tf.Tensor, tf.Tensor], loop.Scalars], list[keras.Variable]]:
    """One of the `steps` of `train`: a function of images, float32 [batch_size, 64, 64, 3], and codes' seed, int32 [2].

    Returns it, with the variables that it changes.
    """
    last_of_thirds = [-(-steps // 3) - 1, -(-2 * steps // 3) - 1]
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(
        last_of_thirds, [learning_rate, learning_rate / 2, learning_rate / 4]
    )
    generator_variables = model.generator.trainable_variables
    discriminator_variables = model.encoder.trainable_variables + model.decoder.trainable_variables
    optimizers = [keras.optimizers.Adam(rate), keras.optimizers.Adam(rate)]
    for optimizer, variables in zip(optimizers, (generator_variables, discriminator_variables), strict=True):
        optimizer.build(variables)
    k = keras.Variable(0.0, trainable=False, aggregation="only_first_replica", name="k")
    code_shape = (batch_size, model.generator.input_shape[1])

    def update(images, code_seed):
        codes = tf.random.stateless_normal(code_shape, code_seed, stddev=model.latent_stddev)
        images, codes = loop.share(images), loop.share(codes)
        with tf.GradientTape(persistent=True) as tape:
            generated = model.generator(codes, training=True)
            real_loss = _l1(model(images), images)
            generated_loss = _l1(model(generated), generated)
            own = real_loss / loop.replicas(), generated_loss / loop.replicas()
        real = tape.gradient(own[0], discriminator_variables)
        both = tape.gradient(own[1], generator_variables + discriminator_variables)
        generators, generated_gradients = both[: len(generator_variables)], both[len(generator_variables) :]
        optimizers[0].apply(generators)
        optimizers[1].apply([a - k * b for a, b in zip(real, generated_gradients, strict=True)])
        logged = loop.means({"loss/real": real_loss, "loss/generated": generated_loss})
        balance = gamma * logged["loss/real"] - logged["loss/generated"]
        k.assign(tf.clip_by_value(k + proportional_gain * balance, 0.0, 1.0))
        return {**logged, "convergence": logged["loss/real"] + tf.abs(balance), "k": tf.identity(k.value)}

    changed = [k, *model.variables, *(variable for optimizer in optimizers for variable in optimizer.variables)]
    return loop.compiled(update), changed


def diversity(model: BEGAN, data: Dataset, seed: int = 0) -> float:
    """The mean distance between two generated images over that between two real ones; near 0 after a collapse."""
    n = min(_COMPARED, len(data))
    real = data.images[:: len(data) // n][:n]
    return _mean_pairwise_distance(model.sample(n, seed).numpy()) / _mean_pairwise_distance(real)


def _l1(output: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.abs(output - target))


def _mean_pairwise_distance(images: np.ndarray) -> float:
    flat = images.reshape(len(images), -1).astype(np.float64)
    squares = np.square(flat).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0))
    return distances.sum() / (len(flat) * (len(flat) - 1))


def _grid(images: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """The images side by side, four a row, as one in [0, 1]."""
    rows = np.concatenate(np.split(np.asarray(images), len(images) // 4), axis=1)
    return np.clip(to_unit(np.concatenate(rows, axis=1), bounds), 0, 1)
