"""The ℓ∞ attack of Carlini and Wagner (2017), many images at a time in one graph."""

from typing import NamedTuple

import tensorflow as tf

from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.carlini_wagner import (
    adam,
    box_slope,
    from_box,
    margin_and_slope,
    rows,
    search,
    succeeds,
    to_box,
)
from inc_tf.attacks.checks import Classifier, check_confidence, check_inputs, check_positive, check_targets
from inc_tf.data import Bounds
from inc_tf.errors import InputError

_LEAST_TAU = 1 / 256  # of the bounds' width: a grey level of an 8-bit image
_WITHIN = 1e-4  # of c: the excess over τ at which a candidate counts as within


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

    τ is the bounds' width at first; a success makes it `decrease_factor` times the change's largest value and starts
    again from where it was. A c that fails after `iterations` is doubled; an image is done when the largest c fails,
    or τ is below a 256th of the width.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: unused; this attack draws nothing.
      targets: int64 [N], the classes to reach; None is untargeted.
      confidence: κ ≥ 0, the margin of the logits that counts as success.
      iterations: of Adam for each τ and each c, at most.
      learning_rate: of Adam, on the arctanh of the image.
      initial_const: the first c where the bounds are 1 apart; it is scaled with their width, as |δ| is.
      largest_const: where to give up; scaled likewise.
      decrease_factor: between 0 and 1.

    Returns: float32 [N, H, W, C]; the clean image where the attack failed. Raises `InputError` for what `check_inputs`
    and `check_targets` refuse, a confidence below 0 and budgets not above 0.
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

    def step(state: _State) -> _State:
        candidates = from_box(state.variables, bounds)
        delta = candidates - state.images
        distance = tf.reduce_max(tf.abs(delta), axis=[1, 2, 3])
        excess = tf.maximum(tf.abs(delta) - rows(state.tau), 0.0)
        margin, slope = margin_and_slope(classifier, candidates, state.classes, targets is not None)
        adversarial = succeeds(margin, confidence)
        slope_of_hinge = tf.where(rows(adversarial), 0.0, rows(state.const) * slope)
        gradient = (slope_of_hinge + tf.sign(excess) * tf.sign(delta)) * box_slope(state.variables, bounds)
        change, moments = adam(gradient, state.moments, rows(state.steps), learning_rate)
        won = adversarial & (tf.reduce_sum(excess, axis=[1, 2, 3]) <= _WITHIN * state.const)
        lost = ~won & (state.steps + 1 >= iterations)
        tau = tf.where(won, decrease_factor * tf.minimum(distance, state.tau), state.tau)
        const = tf.where(lost, 2.0 * state.const, state.const)
        start = tf.where(rows(won), state.variables, state.start)
        again = won | lost
        better = adversarial & (distance < state.least)
        return _State(
            images=state.images,
            classes=state.classes,
            const=const,
            tau=tau,
            start=start,
            variables=tf.where(rows(again), start, state.variables + change),
            moments=tuple(tf.where(rows(again), 0.0, moment) for moment in moments),
            steps=tf.where(again, 0.0, state.steps + 1),
            best=tf.where(rows(better), candidates, state.best),
            least=tf.where(better, distance, state.least),
            done=(const > largest_const * width) | (tau < _LEAST_TAU * width),
        )

    def attack(images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        return search(step, _first(images, classes, initial_const * width, bounds))

    return in_batches(attack, inputs.images, inputs.labels if targets is None else targets)


class _State(NamedTuple):
    """Each row's stage: its constant and τ, Adam's state since it last started, and the least change so far."""

    images: tf.Tensor
    classes: tf.Tensor
    const: tf.Tensor
    tau: tf.Tensor
    start: tf.Tensor
    variables: tf.Tensor
    moments: tuple[tf.Tensor, tf.Tensor]
    steps: tf.Tensor
    best: tf.Tensor
    least: tf.Tensor
    done: tf.Tensor


def _first(images: tf.Tensor, classes: tf.Tensor, const: float, bounds: Bounds) -> _State:
    n = len(images)
    start = to_box(images, bounds)
    return _State(
        images=images,
        classes=classes,
        const=tf.fill([n], const),
        tau=tf.fill([n], bounds[1] - bounds[0]),
        start=start,
        variables=start,
        moments=(tf.zeros_like(images), tf.zeros_like(images)),
        steps=tf.zeros(n),
        best=images,
        least=tf.fill([n], float("inf")),
        done=tf.zeros(n, tf.bool),
    )
