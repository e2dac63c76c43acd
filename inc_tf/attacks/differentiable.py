"""The whole defence as a classifier that a gradient goes through, for attacks that know what they attack.

`InvertAndClassify` hides the gradient of its search, which is obfuscation and no robustness. Each function here answers
a stand-in, from images to logits, that any attack of this package takes in the place of a classifier, e.g.
``auto_pgd(implicit(defense), …)``. What it finds is then shown to the defence itself.
"""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from inc_tf import zoo
from inc_tf.attacks.autopgd import auto_pgd
from inc_tf.attacks.checks import Classifier, on_a_defense
from inc_tf.attacks.fast_gradient import fgsm
from inc_tf.attacks.methods import Method, Target, register, register_target
from inc_tf.attacks.projected_gradient import pgd
from inc_tf.defense import InvertAndClassify
from inc_tf.projection import gradients
from inc_tf.zoo import Parts

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
    start: Codes | None = None,
    seeds: Sequence[int] = (0,),
    steps: int = 60,
    learning_rate: float | None = None,
) -> Classifier:
    """C(G(z_K(x))), z_K the last of K steps of Adam, differentiable through every step.

    Args:
      defense: C behind a `LatentProjector`.
      start: where the search starts, images to codes, e.g. the VAE's E; None: where the defence's own search starts
        with each seed, the first of its restarts.
      seeds: of the starts; the logits are the mean over them (EOT). One is enough with a `start` that draws nothing.
      steps: K.
      learning_rate: of the search; None: the defence's own where that is Adam's, else 0.1.
    """
    projector = defense.projector
    generator = projector.generator
    rate = getattr(projector.solver, "learning_rate", 0.1) if learning_rate is None else learning_rate
    prepare, draw = projector.start.compile(generator)

    @tf.function(reduce_retracing=True, autograph=False)
    def classify(images: tf.Tensor) -> tf.Tensor:
        logits = []
        for seed in seeds if start is None else (0,):
            first = start(images) if start else draw(images, tf.constant(seed), *prepare(tf.constant(seed)))[:, 0]
            codes = gradients.unrolled(generator, images, first, steps=steps, learning_rate=rate)
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


def _own_answers(defense: keras.Model, parts: Parts) -> Classifier:
    """The defence as whoever queries it sees it, in one graph for every batch."""
    answer = (lambda images: defense(images).logits) if isinstance(defense, InvertAndClassify) else defense
    images = tf.TensorSpec([None, *parts["classifier"].input_shape[1:]], tf.float32)
    return tf.function(answer, input_signature=[images], autograph=False)


def _autoencoder(defense: keras.Model, parts: Parts) -> Classifier:
    """C∘G∘E, of Appendix A."""
    return _own_answers(zoo.build("autoencode", parts), parts)


def _unrolled_from_encoder(defense: InvertAndClassify, parts: Parts) -> Classifier:
    """The search from E(x), close to where every search ends; without such an E, from where the defence's own ends."""

    def end(images: tf.Tensor) -> tf.Tensor:
        return tf.stop_gradient(defense.projector(tf.stop_gradient(images)).codes)

    return unrolled(defense, start=parts.encoder or end, learning_rate=zoo.paper_search(parts)[0].learning_rate)


def _projects(defense: keras.Model) -> bool:
    return isinstance(defense, InvertAndClassify)


def _finds_codes(defense: keras.Model) -> bool:
    return _projects(defense) and hasattr(defense.projector, "generator")


def _searches(defense: keras.Model) -> bool:
    return _finds_codes(defense) and hasattr(defense.projector, "solver")


register_target(Target("classifier", lambda defense, parts: parts["classifier"], searches=False))
register_target(Target("autoencoder", _autoencoder, searches=False))
register_target(Target("defense", _own_answers))
register_target(Target("search", lambda defense, parts: defense, suits=_finds_codes))
register_target(Target("straight-through", lambda defense, parts: straight_through(defense), suits=_projects))
register_target(Target("unrolled", _unrolled_from_encoder, suits=_searches))
register_target(Target("implicit", lambda defense, parts: implicit(defense), suits=_finds_codes))

register(Method("autoencode-fgsm", fgsm, "FGSM on C∘G∘E", target="autoencoder", evaluated=False))
register(Method("autoencode-pgd", pgd, "PGD-{steps} on C∘G∘E", target="autoencoder"))
_IDENTITY = "BPDA with the identity"
register(Method("bpda", auto_pgd, f"AutoPGD-{{steps}}, {_IDENTITY}", target="straight-through"))
register(Method("bpda-fgsm", fgsm, f"FGSM, {_IDENTITY}", target="straight-through", evaluated=False))
# What AutoPGD finds on an unrolled search carries less far.
register(Method("unrolled", pgd, "PGD-{steps} through the search", target="unrolled", arguments={"loss": "margin"}))
_IMPLICIT = "AutoPGD-{steps}, implicit gradient"
register(Method("implicit", auto_pgd, _IMPLICIT, target="implicit"))
register(Method("implicit-l2", auto_pgd, f"{_IMPLICIT}, ℓ2", target="implicit", arguments={"norm": 2}))
register(Method("implicit-fgsm", fgsm, "FGSM, implicit gradient", target="implicit", evaluated=False))
