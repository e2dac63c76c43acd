"""The overpowered attack of section 4.3: pairs of images on the range that are close to each other but classified
differently.

Only the generator bounds it: it searches both codes. Its pairs show that a classifier behind a projection is still open
to an attacker who stays on the manifold; `inc_tf.training` trains against it.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import keras
import tensorflow as tf

from inc_tf.attacks import lagrangian
from inc_tf.attacks.checks import check_classifier, check_positive
from inc_tf.attacks.lagrangian import Ascent
from inc_tf.attacks.losses import margin
from inc_tf.errors import InputError
from inc_tf.fit import fitted_classifier, fitted_generator
from inc_tf.projection.solvers.draining import drain

Loss = Literal["squared", "cross-entropy", "margin"]

_ROUND = 100  # steps between two looks at which pairs still improve
_INSIDE = 0.01  # of η²


class Pairs(NamedTuple):
    """N pairs (z, z′), each the best that its search saw.

    Attributes:
      codes: z, float32 [N, k].
      others: z′, float32 [N, k].
      images: G(z), float32 [N, H, W, C].
      other_images: G(z′), float32 [N, H, W, C].
      logits: C(G(z)), float32 [N, classes].
      other_logits: C(G(z′)), float32 [N, classes].
      distances: ‖G(z) − G(z′)‖₂, float32 [N].
      feasible: whether the distance is at most η, bool [N]; if a search met no such pair, its pair is the closest it
        met.
      steps: how many steps the search took, int32 [N].
    """

    codes: tf.Tensor
    others: tf.Tensor
    images: tf.Tensor
    other_images: tf.Tensor
    logits: tf.Tensor
    other_logits: tf.Tensor
    distances: tf.Tensor
    feasible: tf.Tensor
    steps: tf.Tensor


def overpowered_pairs(
    generator: keras.Model,
    classifier: keras.Model,
    pairs: int,
    *,
    eta: float,
    seed: int | None = None,
    anchors: tf.Tensor | None = None,
    start: tuple[tf.Tensor, tf.Tensor] | None = None,
    stddev: float = 1.0,
    loss: Loss = "squared",
    steps: int = 10_000,
    learning_rate: float = 0.05,
    multiplier_rate: float = 0.003,
    tolerance: float = 0.0,
) -> Pairs:
    """max over z, z′ of the loss between C(G(z)) and C(G(z′)), subject to ‖G(z) − G(z′)‖₂ ≤ η; eqs. (1), (6) and (9).

    The Lagrangian, loss + λ(‖G(z) − G(z′)‖² − η²) with λ ≤ 0, is climbed in the codes by Adam and descended in λ by
    gradient steps, alternately; every pair has its own λ. See `inc_tf.attacks.lagrangian`.

    Args:
      generator: G, from codes [N, k] to images [N, H, W, C].
      classifier: C, from G's images to logits [N, classes].
      pairs: N.
      eta: η, in the unit of the distance; √2.4576 on CelebA in the paper, a mean squared difference of 2e-4.
      seed: seed of the codes that the search starts from; None is 0.
      anchors: float32 [N, k], values at which z is held while only z′ is searched: the attack on given images. None:
        both are searched.
      start: (z, z′) to start from instead of random codes.
      stddev: σ of the random codes, z ~ N(0, σ²).
      loss: `"squared"`: ‖p − p′‖² between the softmax outputs, the paper's; `"cross-entropy"`: −Σ p log p′, the
        authors' later code's; `"margin"`: how far z′ is beyond the boundary of z's class, in logits.
      steps: the largest number of steps for a pair.
      learning_rate: Adam's, on the codes.
      multiplier_rate: the step on λ, for a violation in units of η², of which more than one is counted as one.
      tolerance: a feasible pair whose loss rose by no more than this share over 100 steps is done; 0 takes all steps.

    Raises `InputError` for η, rates, steps or a number of pairs not above 0, codes of another shape than [N, k], a
    generator and a classifier of different images, or a classifier that returns no logits or has no gradient.
    """
    generator = fitted_generator(generator)
    check_positive(pairs=pairs, eta=eta, steps=steps, learning_rate=learning_rate, multiplier_rate=multiplier_rate)
    classifier = fitted_classifier(classifier, generator.output_shape[1:])
    shape = [pairs, generator.input_shape[1]]
    drawn = tf.random.stateless_normal([2, *shape], [0 if seed is None else seed, 0], stddev=stddev)
    first, second = start or (drawn[0] if anchors is None else anchors, drawn[1])
    for what, codes in {"anchors": anchors, "start": first, "start's others": second}.items():
        if codes is not None and list(codes.shape) != shape:
            raise InputError(f"The {what} have shape {list(codes.shape)}; they must be {shape}.")
    check_classifier(classifier, generator(first[:2], training=False), gradient=True)
    search = PairSearch(generator, classifier, eta, loss, learning_rate, multiplier_rate, anchors is not None)
    return search.run(tf.stack([first, second], axis=1), steps, tolerance)


class PairSearch:
    """The alternating search of `overpowered_pairs`, in pieces; see there for the arguments."""

    def __init__(
        self,
        generator: keras.Model,
        classifier: keras.Model,
        eta: float,
        loss: Loss = "squared",
        learning_rate: float = 0.05,
        multiplier_rate: float = 0.003,
        one_sided: bool = False,
    ):
        self.generator, self.classifier = generator, classifier
        self.loss = LOSSES[loss]
        self.eta, self.one_sided = eta, one_sided
        self.learning_rate, self.multiplier_rate = learning_rate, multiplier_rate

    @tf.function(reduce_retracing=True, autograph=False)
    def advance(self, state: Ascent, steps: int | tf.Tensor) -> Ascent:
        """The state `steps` steps later, of codes float32 [N, 2, k]; its excess is ‖G(z) − G(z′)‖² / η² − 1."""
        return lagrangian.ascend(
            self._objective,
            state,
            steps,
            learning_rate=self.learning_rate,
            multiplier_rate=self.multiplier_rate,
            inside=_INSIDE,
        )

    @tf.function(reduce_retracing=True, autograph=False)
    def run(self, codes: tf.Tensor, steps: int, tolerance: float) -> Pairs:
        """The pairs after `steps` steps from `codes`, float32 [N, 2, k], less those that the tolerance spares."""

        def advance(_, state):
            new = self.advance(state, tf.minimum(_ROUND, steps - tf.cast(state.t[0], tf.int32)))
            stalled = (new.excess <= 0) & (new.value <= state.value + tolerance * tf.abs(state.value))
            return new, stalled & (tolerance > 0)

        nobody = tf.zeros([tf.shape(codes)[0]], tf.bool)
        state, rounds, _ = drain(advance, codes, lagrangian.begin(codes), nobody, -(-steps // _ROUND))
        return self.pairs(state, tf.minimum(rounds * _ROUND, steps))

    def _evaluate(self, codes: tf.Tensor) -> tuple:
        """Images [N, 2, H, W, C], logits [N, 2, classes] and ‖G(z) − G(z′)‖² [N] of the pairs."""
        n, k = tf.shape(codes)[0], codes.shape[2]
        images = self.generator(tf.reshape(codes, [-1, k]), training=False)
        logits = self.classifier(images, training=False)
        images = tf.reshape(images, [n, 2, *images.shape[1:]])
        difference = images[:, 0] - images[:, 1]
        return images, tf.reshape(logits, [n, 2, logits.shape[1]]), tf.reduce_sum(tf.square(difference), axis=[1, 2, 3])

    def _objective(self, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.one_sided:
            codes = tf.concat([tf.stop_gradient(codes[:, :1]), codes[:, 1:]], axis=1)
        _, logits, squared = self._evaluate(codes)
        return self.loss(logits[:, 0], logits[:, 1]), squared / self.eta**2 - 1

    def pairs(self, state: Ascent, steps: tf.Tensor) -> Pairs:
        """The best pairs that the search has seen."""
        images, logits, squared = self._evaluate(state.best)
        return Pairs(
            state.best[:, 0],
            state.best[:, 1],
            images[:, 0],
            images[:, 1],
            logits[:, 0],
            logits[:, 1],
            tf.sqrt(squared),
            state.excess <= 0,
            steps,
        )


def _squared(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """In double precision: in float32 the gradient is lost at the pairs that are sure, as `losses` says."""
    one, other = (tf.nn.softmax(tf.cast(each, tf.float64)) for each in (logits, others))
    return tf.cast(tf.reduce_sum(tf.math.squared_difference(one, other), axis=1), logits.dtype)


def _cross_entropy(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    one = tf.nn.softmax(tf.cast(logits, tf.float64))
    return tf.cast(tf.nn.softmax_cross_entropy_with_logits(one, tf.cast(others, tf.float64)), logits.dtype)


def _margin(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    return margin(tf.argmax(logits, axis=1), others, others.dtype)


LOSSES: dict[str, Callable] = {"squared": _squared, "cross-entropy": _cross_entropy, "margin": _margin}
