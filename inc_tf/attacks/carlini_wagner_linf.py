"""The ℓ∞ attack of Carlini and Wagner (2017), many images at a time in one graph."""

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
from inc_tf.errors import InputError
from inc_tf.rows import column, select

_LEAST_TAU = 1 / 256  # of the bounds' width: a grey level of an 8-bit image
_WITHIN = 1e-4  # of c: the excess over τ at which a candidate counts as within


@on_any_model
def cw_linf(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    targets: tf.Tensor | None = None,
    confidence: float = 0.0,
    iterations: int = 1000,
    learning_rate: float = 5e-3,
    initial_const: float = 1e-5,
    largest_const: float = 20.0,
    decrease_factor: float = 0.9,
) -> tf.Tensor:
    """min c·max(margin + κ, 0) + Σᵢ max(|δᵢ| − τ, 0) for ever smaller τ (section VI-C).

    τ is the bounds' width at first; after a success it becomes `decrease_factor` times the largest change of a value,
    and the search goes on from there. A c that fails after `iterations` is doubled; an image is done when the largest c
    fails, or τ is below a 256th of the width.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: unused; nothing in this attack is random.
      targets: int64 [N], the classes to reach; None is untargeted.
      confidence: κ ≥ 0, the margin of the logits that counts as success.
      iterations: the largest number of Adam steps for each τ and each c.
      learning_rate: Adam's, on the arctanh of the image.
      initial_const: the first c, for bounds that are 1 apart; it is scaled with their width, as |δ| is.
      largest_const: the largest c that is tried; scaled likewise.
      decrease_factor: factor of the next τ, between 0 and 1.

    Returns: float32 [N, H, W, C]; the clean image if the attack failed. Raises `InputError` for arguments that
    `check_inputs` or `check_targets` refuses, a confidence below 0 and budgets not above 0.
    """
    inputs = check_inputs(classifier, images, labels, bounds)
    targets = check_targets(classifier, inputs, targets)
    check_confidence(confidence)
    check_positive(
        iterations=iterations, learning_rate=learning_rate, initial_const=initial_const, largest_const=largest_const
    )
    if not 0 < decrease_factor < 1:
        raise InputError(f"decrease_factor is {decrease_factor}; it must be between 0 and 1.")
    width = bounds[1] - bounds[0]

    def step(stage: Stage) -> Stage:
        tau, least = stage.own
        candidates = from_box(stage.variables, bounds)
        delta = candidates - stage.images
        distance = tf.reduce_max(tf.abs(delta), axis=[1, 2, 3])
        excess = tf.maximum(tf.abs(delta) - column(tau), 0.0)
        short, slope = shortfall_and_slope(classifier, candidates, stage.classes, targets is not None)
        adversarial = succeeds(short, confidence)
        slope_of_hinge = select(adversarial, tf.zeros_like(slope), column(stage.const) * slope)
        gradient = (slope_of_hinge + tf.sign(excess) * tf.sign(delta)) * box_slope(stage.variables, bounds)
        won = adversarial & (tf.reduce_sum(excess, axis=[1, 2, 3]) <= _WITHIN * stage.const)
        after = next_stage(stage, gradient / width, won, iterations, learning_rate)
        tau = tf.where(won, decrease_factor * tf.minimum(distance, tau), tau)
        better = adversarial & (distance < least)
        return after._replace(
            own=(tau, tf.where(better, distance, least)),
            best=select(better, candidates, stage.best),
            done=(after.const > largest_const * width) | (tau < _LEAST_TAU * width),
        )

    def attack(images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        tau_and_least = (tf.fill([len(images)], width), tf.fill([len(images)], float("inf")))
        return search(step, first_stage(images, classes, initial_const * width, tau_and_least, bounds))

    return in_batches(attack, inputs.images, inputs.labels if targets is None else targets)


register(Method("cw-linf", cw_linf, "Carlini–Wagner ℓ∞ on C", left_out="thousands of steps; table_1 runs it"))
