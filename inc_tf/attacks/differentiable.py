"""The whole defence as a classifier that a gradient goes through, for attacks that know what they attack.

`InvertAndClassify` hides the gradient of its search, which is obfuscation and no robustness. Each function here answers
a stand-in, from images to logits, that any attack of this package takes in the place of a classifier, e.g.
``auto_pgd(implicit(defense), …)``. What it finds is then shown to the defence itself.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from inc_tf.attacks.checks import Classifier
from inc_tf.defense import InvertAndClassify
from inc_tf.projection import gradients
from inc_tf.projection.starts import Normal

Codes = Callable[[tf.Tensor], tf.Tensor]


def straight_through(
    defense: InvertAndClassify, *, through: Codes | None = None, seeds: Sequence[int] = (0,)
) -> Classifier:
    """BPDA: forward the defence as it is, backward as if its projection were another function.

    Athalye, Carlini and Wagner, 2018. With a search in it, a forward pass costs what the defence costs.

    Args:
      defense: C behind a projector.
      through: what the gradient passes in the projection's place, images to images, e.g. the autoencoder G∘E; None:
        the identity.
      seeds: of the search; the logits are the mean over them (EOT).
    """

    def classify(images: tf.Tensor) -> tf.Tensor:
        passed = images if through is None else through(images)
        logits = []
        for seed in seeds:
            projected = tf.stop_gradient(defense.projector(tf.stop_gradient(images), seed=seed).images)
            logits.append(defense.classifier(passed + tf.stop_gradient(projected - passed), training=False))
        return tf.add_n(logits) / len(seeds)

    return classify


def unrolled(
    defense: InvertAndClassify,
    *,
    encoder: Codes | None = None,
    seeds: Sequence[int] = (0,),
    steps: int = 60,
    learning_rate: float = 0.1,
) -> Classifier:
    """C(G(z_K(x))), z_K the last of K steps of Adam, differentiable through every step.

    Args:
      defense: C behind a projector with a `generator`.
      encoder: where the search starts, images to codes, e.g. the VAE's E; None: z₀ ~ N(0, 1) of each seed, as the
        paper's own search with that seed.
      seeds: of the starts; the logits are the mean over them (EOT). One is enough with an encoder.
      steps: K.
      learning_rate: of the search.
    """
    generator = defense.projector.generator
    _, draw = Normal().compile(generator)
    k = generator.input_shape[1]

    @tf.function(reduce_retracing=True, autograph=False)
    def classify(images: tf.Tensor) -> tf.Tensor:
        logits = []
        for seed in seeds if encoder is None else (0,):
            start = (
                encoder(images) if encoder else tf.reshape(draw(tf.stop_gradient(images), tf.constant(seed)), [-1, k])
            )
            codes = gradients.unrolled(generator, images, start, steps=steps, learning_rate=learning_rate)
            logits.append(defense.classifier(generator(codes, training=False), training=False))
        return tf.add_n(logits) / len(logits)

    return classify


def implicit(defense: InvertAndClassify, *, seeds: Sequence[int] = (0,)) -> Classifier:
    """C(G(z*(x))) with the gradient that the implicit function theorem gives at the minimum that the search finds.

    Args:
      defense: C behind a projector with a `generator`, whose solver converges: `LevenbergMarquardt`, say.
      seeds: of the search; the logits are the mean over them (EOT).
    """
    generator = defense.projector.generator

    @tf.function(reduce_retracing=True, autograph=False)
    def at(images: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
        codes = gradients.implicit(generator, images, found)
        return defense.classifier(generator(codes, training=False), training=False)

    def classify(images: tf.Tensor) -> tf.Tensor:
        logits = [at(images, defense.projector(tf.stop_gradient(images), seed=seed).codes) for seed in seeds]
        return tf.add_n(logits) / len(seeds)

    return classify
