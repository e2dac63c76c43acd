"""The ℓ0 attack of Carlini and Wagner (2017), many images at a time in one graph."""

import tensorflow as tf

from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.carlini_wagner import (
    Stage,
    box_slope,
    first_stage,
    from_box,
    next_stage,
    search,
    shortfall_and_slope,
    succeeds,
)
from inc_tf.attacks.checks import (
    Classifier,
    check_confidence,
    check_inputs,
    check_positive,
    check_targets,
    on_any_model,
)
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds
from inc_tf.rows import column, select

_UNCHANGED = 1e-4  # of the bounds' width: a pixel that moved less is left as it was
_CHEAP = 0.01  # in logits: pixels that are worth less are frozen several at a time


@on_any_model
def cw_l0(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    targets: tf.Tensor | None = None,
    confidence: float = 0.0,
    iterations: int = 1000,
    learning_rate: float = 1e-2,
    initial_const: float = 1e-3,
    largest_const: float = 2e6,
) -> tf.Tensor:
    """The fewest pixels whose change changes the class (section VI-B), all channels of a pixel together.

    An ℓ2 attack, min ‖δ‖₂² + c·max(margin + κ, 0), changes some pixels; those with the least |change|·|gradient| are
    frozen at their clean values; the attack goes on from there, until it fails at the largest c. A c that fails after
    `iterations` is doubled. Each image ends with iterations · log₂(largest/initial c) steps that fail; beyond some c a
    larger one makes no difference, so a smaller `largest_const` saves time.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: unused; nothing in this attack is random.
      targets: int64 [N], the classes to reach; None is untargeted.
      confidence: κ ≥ 0, the margin of the logits that counts as success.
      iterations: the largest number of Adam steps for each set of pixels and each c.
      learning_rate: Adam's, on the arctanh of the image.
      initial_const: the first c, for bounds that are 1 apart; it is scaled with their width squared, as ‖δ‖₂² is.
      largest_const: the largest c that is tried; scaled likewise.

    Returns: float32 [N, H, W, C]; the clean image if the attack failed. Raises `InputError` for arguments that
    `check_inputs` or `check_targets` refuses, a confidence below 0 and budgets not above 0.
    """
    inputs = check_inputs(classifier, images, labels, bounds)
    targets = check_targets(classifier, inputs, targets)
    check_confidence(confidence)
    check_positive(
        iterations=iterations, learning_rate=learning_rate, initial_const=initial_const, largest_const=largest_const
    )
    width = bounds[1] - bounds[0]

    def step(stage: Stage) -> Stage:
        free = stage.own
        moved = from_box(stage.variables, bounds)
        changed = free & (tf.abs(moved - stage.images) > _UNCHANGED * width)
        candidates = tf.where(changed, moved, stage.images)
        short, slope = shortfall_and_slope(classifier, candidates, stage.classes, targets is not None)
        won = succeeds(short, confidence)
        slope_of_hinge = select(won, tf.zeros_like(slope), column(stage.const) * slope)
        gradient = (slope_of_hinge + 2.0 * (candidates - stage.images)) * box_slope(stage.variables, bounds)
        after = next_stage(stage, tf.where(free, gradient / width**2, 0.0), won, iterations, learning_rate)
        left = select(won, _thin_out(candidates - stage.images, slope), free)
        return after._replace(
            own=left,
            best=select(won, candidates, stage.best),
            done=(after.const > largest_const * width**2) | ~tf.reduce_any(left, axis=[1, 2, 3]),
        )

    def attack(images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        all_free = tf.ones([*images.shape[:3], 1], tf.bool)
        return search(step, first_stage(images, classes, initial_const * width**2, all_free, bounds))

    return in_batches(attack, inputs.images, inputs.labels if targets is None else targets)


def _thin_out(change: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """The pixels that may still change after a success, bool [N, H, W, 1].

    Of the changed ones, those that the margin needs least are left out: all that are worth less than `_CHEAP` and one
    more, but no more than 0.3·√(pixels changed), as the reference implementation does.
    """
    shape = tf.shape(change)
    changed = tf.reshape(tf.reduce_any(change != 0.0, axis=3), [shape[0], -1])
    worth = tf.reduce_sum(tf.abs(change), axis=3) * tf.reduce_sum(tf.abs(slope), axis=3)
    worth = tf.where(changed, tf.reshape(worth, [shape[0], -1]), float("inf"))
    count = tf.reduce_sum(tf.cast(changed, tf.float32), axis=1)
    cheap = tf.reduce_sum(tf.cast(worth < _CHEAP, tf.float32), axis=1)
    frozen = tf.minimum(tf.math.ceil(0.3 * tf.sqrt(count)), cheap + 1.0)
    rank = tf.argsort(tf.argsort(worth, axis=1), axis=1)
    kept = changed & (tf.cast(rank, tf.float32) >= frozen[:, tf.newaxis])
    return tf.reshape(kept, [shape[0], shape[1], shape[2], 1])


register(Method("cw-l0", cw_l0, "Carlini–Wagner ℓ0 on C", left_out="thousands of steps; table_1 runs it"))
