"""Training a Wasserstein GAN with a gradient penalty (Gulrajani et al., 2017), as Defense-GAN's code does for MNIST."""

from pathlib import Path

import keras
import tensorflow as tf

from inc_tf import estimates
from inc_tf.data import Dataset
from inc_tf.models.wgan import WGAN
from inc_tf.seeds import derive
from inc_tf.training import loop


def train(
    model: WGAN,
    data: Dataset,
    validation: Dataset,
    *,
    settings: dict,
    steps: int = 200_000,
    batch_size: int = 50,
    learning_rate: float = 1e-4,
    decay: bool = False,
    critic_steps: int = 5,
    penalty: float = 10.0,
    seed: int = 0,
    directory: Path,
) -> float:
    """Train `model` in place; the defaults are those of Gulrajani et al.'s code for MNIST. Returns the seconds taken.

    A step is one of the critic D, on D(G(z)) − D(x) + λ(‖∇D‖₂ − 1)², the gradient at a point between the two; after
    each `critic_steps` of them the generator takes one on −D(G(z)). Both by Adam (β 0.5 and 0.9).

    Args:
      steps: of the critic.
      decay: let the learning rates fall to 0 along a cosine.
      penalty: λ.

    `settings` and `directory` are `loop.run`'s.
    """
    optimizers = []
    for part, taken in ((model.critic, steps), (model.generator, max(1, steps // critic_steps))):
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, taken) if decay else learning_rate
        optimizers.append(keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9))
        optimizers[-1].build(part.trainable_variables)
    batches = loop.Batches(len(data), batch_size, seed)
    code_shape = (batch_size, model.generator.input_shape[1])

    def codes(seed):
        return loop.share(tf.random.stateless_normal(code_shape, seed))

    def update_critic(images, seeds):
        images = loop.share(images)
        generated = model.generator(codes(seeds[0]), training=True)
        where = loop.share(tf.random.stateless_uniform([batch_size, 1, 1, 1], seeds[1]))
        between = images + where * (generated - images)
        with tf.GradientTape() as tape:
            with tf.GradientTape(watch_accessed_variables=False) as inner:
                inner.watch(between)
                scores = model.critic(between)
            squares = tf.reduce_sum(tf.square(inner.gradient(scores, between)), axis=[1, 2, 3])
            distance = tf.reduce_mean(model.critic(images)) - tf.reduce_mean(model.critic(generated))
            loss = penalty * tf.reduce_mean(tf.square(tf.sqrt(squares + 1e-12) - 1)) - distance
            own = loss / loop.replicas()
        optimizers[0].apply(tape.gradient(own, model.critic.trainable_variables))
        return loop.means({"wasserstein": distance, "loss/critic": loss})

    def update_generator(seed):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(model.critic(model.generator(codes(seed), training=True)))
            own = loss / loop.replicas()
        optimizers[1].apply(tape.gradient(own, model.generator.trainable_variables))
        return loop.means({"loss/generator": loss})

    update_critic, update_generator = loop.compiled(update_critic), loop.compiled(update_generator)

    def step(t: int) -> loop.Scalars:
        seeds = tf.constant([[derive(seed, part), t] for part in ("codes", "between")])
        scalars = update_critic(tf.constant(data.images[batches[t]]), seeds)
        if (t + 1) % critic_steps == 0:
            scalars |= update_generator(tf.constant([derive(seed, "generator"), t]))
        return scalars

    return loop.run(
        step,
        model.variables + [variable for optimizer in optimizers for variable in optimizer.variables],
        settings=settings,
        steps=steps,
        directory=directory,
        save_every=1000,
        validate=lambda t: {"validation/wasserstein": wasserstein(model, validation).value},
    )


def wasserstein(model: WGAN, data: Dataset) -> estimates.Estimate:
    """The critic's estimate of the distance between `data` and as many generated images: the mean of D(x) − D(G(z))."""
    real = loop.outputs(model.critic, data.images)[:, 0]
    generated = loop.outputs(model.critic, model.sample(len(data), seed=0).numpy())[:, 0]
    return estimates.mean(real - generated)
