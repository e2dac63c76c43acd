"""The whole defence as a classifier that a gradient goes through, for attacks that know what they attack.

`InvertAndClassify` hides the gradient of its search, which is obfuscation and no robustness. Each function here returns
a stand-in, from images to logits, that any attack of this package takes instead of a classifier, e.g.
``auto_pgd(implicit(defense), …)``. What it finds is then shown to the defence itself. A defence that draws lots is
attacked in expectation (EOT, Athalye et al., 2018): the logits are the mean over draws, searched as one batch.
"""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from inc_tf import zoo
from inc_tf.attacks.autopgd import auto_pgd
from inc_tf.attacks.checks import Classifier, on_a_defense
from inc_tf.attacks.fast_gradient import fgsm
from inc_tf.attacks.methods import Method, Target, register, register_target
from inc_tf.attacks.projected_gradient import pgd
from inc_tf.checks import check_count
from inc_tf.defense import InvertAndClassify
from inc_tf.projection import Adam, DeepImagePrior, Momentum, Projection, gradients
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
      through: what the gradient passes instead of the projection, images to images, e.g. the autoencoder G∘E; None:
        the identity.
      seeds: of the search; the logits are the mean over them (EOT).
    """

    def classify(images: tf.Tensor) -> tf.Tensor:
        passed = images if through is None else through(images)
        passed, _ = _drawn(passed, seeds)
        projected = tf.stop_gradient(_projection(defense, images, seeds).images)
        return _mean(defense.classifier(passed + tf.stop_gradient(projected - passed), training=False), seeds)

    return classify


@on_a_defense("generator", "solver")
def unrolled(
    defense: InvertAndClassify,
    *,
    start: Codes | None = None,
    seeds: Sequence[int] = (0,),
    steps: int = 60,
    learning_rate: float | None = None,
) -> Classifier:
    """C(G(z_K(x))), z_K the last of K steps, differentiable through every one: of `Momentum` where it is the defence's
    own solver, of Adam behind any other.

    Args:
      defense: C behind a `LatentProjector`.
      start: where the search starts, images to codes, e.g. the VAE's E; None: where the defence's own search starts
        with each seed, the first of its restarts.
      seeds: of the starts; the logits are the mean over them (EOT). One is enough with a `start` that draws nothing.
      steps: K.
      learning_rate: of the search; None: the defence's own where it has one, else 0.1.
    """
    check_count(steps=steps)
    projector = defense.projector
    generator = projector.generator
    rate = getattr(projector.solver, "learning_rate", 0.1) if learning_rate is None else learning_rate
    prepare, draw = projector.start.compile(generator)

    drawing = tuple(seeds) if start is None else (0,)

    def begin(images: tf.Tensor) -> tf.Tensor:
        if start:
            return start(images)
        n = tf.shape(images)[0]
        return tf.concat([draw(images, tf.fill([n], s), *prepare(tf.constant(s)))[:, 0] for s in drawing], axis=0)

    @tf.function(reduce_retracing=True, autograph=False)
    def classify(images: tf.Tensor) -> tf.Tensor:
        drawn, _ = _drawn(images, drawing)
        if isinstance(projector.solver, Momentum):
            own = dataclasses.replace(projector.solver, steps=steps, learning_rate=rate)
            codes = gradients.unrolled_momentum(generator, drawn, begin(images), solver=own)
        else:
            codes = gradients.unrolled(generator, drawn, begin(images), steps=steps, learning_rate=rate)
        return _mean(defense.classifier(generator(codes, training=False), training=False), drawing)

    return classify


@on_a_defense("generator")
def implicit(defense: InvertAndClassify, *, seeds: Sequence[int] = (0,)) -> Classifier:
    """C(G(z*(x))) with the gradient that the implicit function theorem gives at the minimum that the search finds.

    Args:
      defense: C behind a projector with a `generator`, whose solver converges: `LevenbergMarquardt`, say.
      seeds: of the search; the logits are the mean over them (EOT).
    """
    both = implicit_with_distances(defense, seeds=seeds)

    def classify(images: tf.Tensor) -> tf.Tensor:
        return both(images)[0]

    return classify


def implicit_with_distances(
    defense: InvertAndClassify, *, seeds: Sequence[int] = (0,)
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """What `implicit` returns, and with it ‖G(z*(x)) − x‖₂, float32 [N], the mean over the seeds: what η is held to."""
    generator = defense.projector.generator

    @tf.function(reduce_retracing=True, autograph=False)
    def at(images: tf.Tensor, found: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        drawn, _ = _drawn(images, seeds)
        projected = generator(gradients.implicit(generator, drawn, found), training=False)
        logits = defense.classifier(projected, training=False)
        squared = tf.reduce_sum(tf.math.squared_difference(projected, drawn), axis=[1, 2, 3])
        distances = tf.sqrt(tf.maximum(squared, 1e-12))  # the root has no gradient at 0
        return _mean(logits, seeds), _mean(distances[:, tf.newaxis], seeds)[:, 0]

    def classify(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return at(images, _projection(defense, images, seeds).codes)

    return classify


def _drawn(images: tf.Tensor, seeds: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor]:
    """The images once for each seed, [S·N, …], and the seed of each, int32 [S·N]; one seed is a scalar."""
    if len(seeds) == 1:
        return images, tf.constant(seeds[0], tf.int32)
    tiled = tf.tile(images, [len(seeds)] + [1] * (images.shape.rank - 1))
    return tiled, tf.repeat(tf.constant(list(seeds), tf.int32), tf.shape(images)[0])


def _mean(logits: tf.Tensor, seeds: Sequence[int]) -> tf.Tensor:
    """The mean over the draws, [N, classes], of what `_drawn` made, [S·N, classes]."""
    return tf.reduce_mean(tf.reshape(logits, [len(seeds), -1, logits.shape[-1]]), axis=0)


def _projection(defense: InvertAndClassify, images: tf.Tensor, seeds: Sequence[int]) -> Projection:
    """Every draw of every image, in one batch; inside a graph one after the other, where `Nearest` takes one seed."""
    images = tf.stop_gradient(images)
    if tf.executing_eagerly():
        drawn, given = _drawn(images, seeds)
        return defense.projector(drawn, seed=given)
    found = [defense.projector(images, seed=seed) for seed in seeds]
    return Projection(*(tf.concat(parts, axis=0) for parts in zip(*found, strict=True)))


@on_a_defense("purify")
def reverse(defense: InvertAndClassify, *, seeds: Sequence[int] = (0,), steps: int | None = None) -> Classifier:
    """C(x̂) with the gradient through the whole of a diffusion's forward and reverse process.

    Args:
      defense: C behind a `DiffusionProjector`.
      seeds: of the noise; the logits are the mean over them (EOT).
      steps: of the reverse process; None: the defence's own, whose gradient is exact. Fewer are the surrogate process
        of Lee and Kim (2023), cheaper and with less noise in its gradient; must divide the defence's time.
    """

    @tf.function(reduce_retracing=True, autograph=False)
    def classify(images: tf.Tensor) -> tf.Tensor:
        drawn, given = _drawn(images, seeds)
        given = tf.broadcast_to(given, tf.shape(drawn)[:1])
        return _mean(defense.classifier(defense.projector.purify(drawn, given, steps), training=False), seeds)

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


def reconstructed(classifier: keras.Model, prior: DeepImagePrior, *, seeds: Sequence[int] = (0,)) -> Classifier:
    """C behind the deep image prior: forward as it is, backward by the reconstruction's own gradient.

    Every call costs a whole search for each image and seed; see `DeepImagePrior.reconstruct`.

    Args:
      classifier: C, from images to logits.
      prior: the projector.
      seeds: of the search; the logits are the mean over them (EOT).
    """

    def classify(images: tf.Tensor) -> tf.Tensor:
        seen = [prior.reconstruct(image, seed) for seed in seeds for image in tf.unstack(images)]
        return _mean(classifier(tf.stack(seen), training=False), seeds)

    return classify


def _blurred(images: tf.Tensor, sigma: float) -> tf.Tensor:
    """A Gaussian blur as far as 3σ; beyond the border it sees zeros."""
    size = 2 * round(3 * sigma) + 1
    return keras.ops.image.gaussian_blur(images, (size, size), (sigma, sigma), data_format="channels_last")


def _own_answers(defense: keras.Model, parts: Parts, draws: int) -> Classifier:
    """The defence as whoever queries it sees it: its logits, or their mean over several draws of it."""
    projects = isinstance(defense, InvertAndClassify)
    if draws > 1:

        def vote(images: tf.Tensor) -> tf.Tensor:
            drawn, given = _drawn(images, range(draws))
            return _mean(defense(drawn, seed=given).logits if projects else defense(drawn), range(draws))

        return vote
    if projects:
        return lambda images: defense(images).logits  # its search keeps what the start prepares; a graph would not
    shape = getattr(defense, "image_shape", None) or defense.input_shape[1:]
    images = tf.TensorSpec([None, *shape], tf.float32)
    return tf.function(defense, input_signature=[images], autograph=False)  # one graph for every batch


def _autoencoder(defense: keras.Model, parts: Parts, draws: int) -> Classifier:
    """C∘G∘E, of Appendix A."""
    return _own_answers(zoo.build("autoencode", parts), parts, 1)


def _unrolled(defense: InvertAndClassify, parts: Parts, draws: int) -> Classifier:
    """From where the search of Adam or `Momentum` starts, at its own rate; another search's gradient is taken along
    Adam's steps from E(x), close to where every search ends, or without such an E from where the defence's own ends.
    """
    if _descends(defense):
        return unrolled(defense, seeds=range(draws))

    def end(images: tf.Tensor) -> tf.Tensor:
        return tf.stop_gradient(defense.projector(tf.stop_gradient(images)).codes)

    return unrolled(defense, start=parts.encoder or end, learning_rate=zoo.learning_rate(parts.generator))


def _descends(defense: InvertAndClassify) -> bool:
    return isinstance(defense.projector.solver, Adam | Momentum)


def _thresholded(defense: InvertAndClassify, parts: Parts, draws: int) -> Callable:
    """Logits and distances, along the implicit gradient where there is a search."""
    if _searches(defense):
        return implicit_with_distances(defense, seeds=range(draws))

    def both(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = defense(images)
        return found.logits, found.distances

    return both


def _shorter(defense: InvertAndClassify, parts: Parts, draws: int) -> Classifier:
    """Through the longest reverse process of at most half the defence's steps."""
    own = defense.projector.steps
    steps = max(d for d in range(1, max(1, own // 2) + 1) if own % d == 0)
    return reverse(defense, seeds=range(draws), steps=steps)


def _diffuses(defense: keras.Model) -> bool:
    return _projects(defense) and hasattr(defense.projector, "purify")


def _projects(defense: keras.Model) -> bool:
    return isinstance(defense, InvertAndClassify)


def _finds_codes(defense: keras.Model) -> bool:
    return _projects(defense) and hasattr(defense.projector, "generator")


def _searches(defense: keras.Model) -> bool:
    return _finds_codes(defense) and hasattr(defense.projector, "solver")


register_target(
    Target(
        "classifier",
        lambda defense, parts, draws: parts.models.get("classifier", defense),
        searches=False,
        made_of=lambda name, defense: ("classifier",),
    )
)
register_target(Target("autoencoder", _autoencoder, searches=False, made_of=lambda name, defense: ("autoencode",)))
register_target(Target("defense", _own_answers))
register_target(Target("search", lambda defense, parts, draws: defense, suits=_finds_codes))
register_target(
    Target(
        "straight-through",
        lambda defense, parts, draws: straight_through(defense, seeds=range(draws)),
        suits=_projects,
    )
)
register_target(
    Target(
        "unrolled",
        _unrolled,
        suits=_searches,
        made_of=lambda name, defense: (name,) if _descends(defense(name)) else (name, "generative"),
    )
)
register_target(
    Target("implicit", lambda defense, parts, draws: implicit(defense, seeds=range(draws)), suits=_finds_codes)
)

register_target(Target("thresholded", _thresholded, suits=_finds_codes))

register_target(Target("reverse", lambda defense, parts, draws: reverse(defense, seeds=range(draws)), suits=_diffuses))
register_target(Target("surrogate-reverse", _shorter, suits=_diffuses))

_ONE_STEP = "one step; its kind takes more"
register(Method("autoencode-fgsm", fgsm, "FGSM on C∘G∘E", target="autoencoder", left_out=_ONE_STEP))
register(Method("autoencode-pgd", pgd, "PGD-{steps} on C∘G∘E", target="autoencoder"))
_IDENTITY = "BPDA with the identity"
register(Method("bpda", auto_pgd, f"AutoPGD-{{steps}}, {_IDENTITY}", target="straight-through"))
register(Method("bpda-fgsm", fgsm, f"FGSM, {_IDENTITY}", target="straight-through", left_out=_ONE_STEP))
# What AutoPGD finds on an unrolled search carries less far.
register(Method("unrolled", pgd, "PGD-{steps} through the search", target="unrolled", arguments={"loss": "margin"}))
register(Method("reverse", pgd, "PGD-{steps} through the reverse process", target="reverse"))
register(Method("surrogate-reverse", pgd, "PGD-{steps} through half of it", target="surrogate-reverse"))
_IMPLICIT = "AutoPGD-{steps}, implicit gradient"
register(Method("implicit", auto_pgd, _IMPLICIT, target="implicit"))
register(Method("implicit-l2", auto_pgd, f"{_IMPLICIT}, ℓ2", target="implicit", arguments={"norm": 2}))
register(Method("implicit-fgsm", fgsm, "FGSM, implicit gradient", target="implicit", left_out=_ONE_STEP))
