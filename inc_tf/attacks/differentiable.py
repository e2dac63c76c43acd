"""The whole defence as a classifier that a gradient goes through, for attacks that know what they attack.

`InvertAndClassify` hides the gradient of its search, which is obfuscation and no robustness. Each function here answers
a stand-in, from images to logits, that any attack of this package takes in the place of a classifier, e.g.
``auto_pgd(implicit(defense), …)``. What it finds is then shown to the defence itself.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from inc_tf.attacks.checks import Classifier, on_a_defense
from inc_tf.defense import InvertAndClassify
from inc_tf.projection import gradients
from inc_tf.projection.starts import Normal

Codes = Callable[[tf.Tensor], tf.Tensor]


@on_a_defense()
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


@on_a_defense("generator")
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


@on_a_defense("generator")
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


def low_pass(
    classifier: keras.Model,
    image: tf.Tensor,
    projections: tf.Tensor,
    *,
    blurs: Sequence[float] = (1.0, 3.0, 6.0),
    gain: float = 0.5,
) -> Classifier:
    """The deep image prior near one image, as if it kept a share of what is low in frequency and nothing else.

    C(x̂ + g·K_σ(x′ − x)), where x̂ is what a search made of x, or of an image near it, and K_σ blurs: a convolutional
    network fits low frequencies long before high ones (Chakrabarty and Maji, 2019), so that a search that stops early
    keeps an attack's. It costs no search, where a gradient through the projector's own would cost all of its steps.

    Args:
      classifier: C, from images to logits.
      image: x, float32 [H, W, C].
      projections: x̂, float32 [P, H, W, C]; the logits are the mean over them and over the blurs (EOT).
      blurs: σ of each Gaussian, in pixels.
      gain: g, the share that is kept.
    """
    where = len(projections) * len(blurs)

    @tf.function(reduce_retracing=True, autograph=False)
    def classify(images: tf.Tensor) -> tf.Tensor:
        kept = [gain * _blurred(images - image, sigma) for sigma in blurs]
        seen = tf.stack([p + k for p in tf.unstack(tf.convert_to_tensor(projections)) for k in kept])
        logits = classifier(tf.reshape(seen, [-1, *image.shape]), training=False)
        return tf.reduce_mean(tf.reshape(logits, [where, -1, logits.shape[-1]]), axis=0)

    return classify


def _blurred(images: tf.Tensor, sigma: float) -> tf.Tensor:
    """A Gaussian blur as far as 3σ; beyond the border it sees zeros."""
    size = 2 * round(3 * sigma) + 1
    return keras.ops.image.gaussian_blur(images, (size, size), (sigma, sigma), data_format="channels_last")
