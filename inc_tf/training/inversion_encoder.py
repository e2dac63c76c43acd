"""The encoder of section 4.2.3's combined attack: it learns to imitate the inversion, E(x) ≈ z*(x).

C∘G∘E, an `InvertAndClassify` behind an `EncoderProjector`, has gradients, and what an attack finds on it is tried on
the defence.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from inc_tf.errors import InputError
from inc_tf.seeds import derive
from inc_tf.training import loop


def inversion_encoder(generator: keras.Model) -> keras.Model:
    """A convolutional network from `generator`'s images, float32 [N, H, W, C], to its codes, float32 [N, k], untrained.

    The paper does not say which; two convolutions of stride 2 and a dense layer, of the MNIST classifier's sizes.
    """
    return keras.Sequential(
        [
            layers.Input(generator.output_shape[1:]),
            layers.Conv2D(32, 5, strides=2, padding="same", activation="relu"),
            layers.Conv2D(64, 5, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(1024, activation="relu"),
            layers.Dense(generator.input_shape[1]),
        ],
        name="inversion_encoder",
    )


def train_inversion_encoder(
    generator: keras.Model,
    images: np.ndarray,
    codes: np.ndarray,
    *,
    seed: int | None = None,
    steps: int = 4000,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    directory: Path,
) -> keras.Model:
    """An `inversion_encoder` trained by Adam on the mean squared error between E(x) and z*(x).

    Args:
      generator: G, from codes [N, k] to images [N, H, W, C].
      images: x, float32 [N, H, W, C]; not the ones that will be attacked.
      codes: z*(x), float32 [N, k], e.g. ``defense(images).codes``.
      seed: of the weights and the batches; None is 0. Sets Keras's global seed.
      steps: of Adam.
      batch_size: images a step.
      learning_rate: of Adam.
      directory: gets the state, from which the same call carries on, and TensorBoard's logs.

    Raises `InputError` for codes of another number or size than G's, where a batch is larger than the images, or the
    directory holds another run.
    """
    images, codes = np.asarray(images), np.asarray(codes)
    if codes.shape != (len(images), generator.input_shape[1]):
        raise InputError(
            f"The codes have shape {list(codes.shape)}; they must be [{len(images)}, {generator.input_shape[1]}], "
            "one for each image."
        )
    seed = 0 if seed is None else seed
    keras.utils.set_random_seed(derive(seed, "inversion encoder"))
    encoder = inversion_encoder(generator)
    optimizer = keras.optimizers.Adam(learning_rate)
    optimizer.build(encoder.trainable_variables)
    batches = loop.Batches(len(images), batch_size, seed)

    @tf.function(autograph=False)
    def update(images, codes):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.math.squared_difference(encoder(images, training=True), codes))
        optimizer.apply(tape.gradient(loss, encoder.trainable_variables))
        return {"mse": loss}

    def step(t: int) -> loop.Scalars:
        rows = batches[t]
        return update(tf.constant(images[rows]), tf.constant(codes[rows]))

    loop.run(
        step,
        encoder.variables + optimizer.variables,
        settings={
            "inversion_encoder": generator.name,
            "images": len(images),
            "seed": seed,
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
        },
        steps=steps,
        directory=directory,
        save_every=1000,
    )
    return encoder
