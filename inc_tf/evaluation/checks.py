"""Whether an evaluation can be trusted: the checks of Carlini et al., 2019, run on the evaluated defence."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from inc_tf import data
from inc_tf.attacks import METHODS, auto_pgd
from inc_tf.attacks.differentiable import implicit
from inc_tf.attacks.losses import cross_entropy
from inc_tf.defense import InvertAndClassify
from inc_tf.evaluation import audit
from inc_tf.evaluation.run import Run
from inc_tf.evaluation.sweep import Attack, sweep
from inc_tf.projection import LatentProjector, LevenbergMarquardt, Zeros


def run_checks(
    run: Run,
    few: data.Dataset,
    attacked: str,
    strongest: Callable[..., Attack],
    *,
    one_step: Attack,
    beyond: float,
    steps: Sequence[int],
    restarts: Sequence[int],
    growing: Sequence[np.ndarray],
    by_gradient: np.ndarray,
    without_gradient: np.ndarray,
    draws: Mapping[str, int],
) -> dict[str, audit.Check]:
    """Every check, by what it says.

    Args:
      run: of the evaluation.
      few: the images.
      attacked: the search that is checked, by name.
      strongest: the attack along its gradient, at the greatest ε or at the `epsilon` that it is given, with `steps` or
        `restarts`.
      one_step: the same of one step.
      beyond: an ε at which nothing but guessing may be left.
      steps: growing.
      restarts: growing.
      growing: the images' scores in the worst case at each ε, growing.
      by_gradient: and under all attacks along a gradient.
      without_gradient: and under all that do without.
      draws: over how many each defence is scored, by name.
    """

    def right(attack: Attack, defense: str = attacked) -> np.ndarray:
        drawn = {defense: draws.get(defense, draws.get("inc", 1))}
        return sweep(run, few, [attack], [defense], draws=drawn)[attack, defense]["correct"].mean(axis=0)

    found, unbounded = strongest(), strongest(epsilon=beyond)
    longer = [strongest(steps=n) for n in steps]
    again = [strongest(restarts=n) for n in restarts]
    # All at once, so that a cluster shares them.
    sweep(run, few, list(dict.fromkeys([found, one_step, unbounded, *longer, *again])), [attacked], draws=draws)
    checks = {
        "iterative at least as strong as one step": audit.not_weaker(right(found), right(one_step)),
        "more steps do not help the defender": audit.in_order([right(attack) for attack in longer]),
        "accuracy falls with ε": audit.in_order(growing),
        "without a bound nothing but guessing is left": audit.reaches_chance(
            right(unbounded), run.bench.parts["classifier"].output_shape[1]
        ),
        "restarts have converged": audit.converged([right(attack) for attack in again]),
        "gradient-free no stronger than gradient-based": audit.not_weaker(by_gradient, without_gradient),
        "gradients are not zero": audit.rare(_without_gradient(run, few, found), "zero at the clean image"),
        "a planted hole is found": planted(),
    }
    if "inc" in draws:
        lengths = ("inc", "inc-500", "inc-100")
        checks["robustness is not under-optimisation (T = 2000, 500, 100)"] = audit.in_order(
            [right(found, defense) for defense in lengths]
        )
    return checks


def settled(unsettled: np.ndarray, draws: int) -> audit.Check:
    """Whether a defence's class depends on its draws: `unsettled`, bool [N], are images that are right in some only."""
    return audit.rare(unsettled, f"right in some of {draws} draws and wrong in others")


def _without_gradient(run: Run, few: data.Dataset, attack: Attack) -> np.ndarray:
    """Which images the attack has no gradient at to follow from, bool [N]."""
    target = run.bench.target(METHODS[attack.name].target, attack.against, attack.draws)
    images = tf.constant(few.images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = cross_entropy(few.labels, target(images))
    return ~np.any(tape.gradient(loss, images), axis=(1, 2, 3))


@functools.cache
def planted() -> audit.Check:
    """AutoPGD along the implicit gradient on a defence whose projection and whose boundary are known.

    Of two pixels the projection keeps the first, and the class is its sign.
    """
    generator = keras.Sequential(
        [keras.layers.Input((1,)), keras.layers.Dense(2, use_bias=False), keras.layers.Reshape((1, 2, 1))]
    )
    generator.layers[0].set_weights([np.array([[0.2, 0.0]], np.float32)])
    classifier = keras.Sequential(
        [keras.layers.Input((1, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    )
    classifier.layers[1].set_weights([np.array([[-10.0, 10.0], [-50.0, 50.0]], np.float32)])
    defense = InvertAndClassify(
        classifier, LatentProjector(generator, LevenbergMarquardt(), Zeros()), bounds=(-1.0, 1.0)
    )
    first = np.linspace(-0.9, 0.9, 10, dtype=np.float32)
    images = np.stack([first, np.zeros_like(first)], axis=1).reshape(-1, 1, 2, 1)
    labels = (first > 0).astype(np.int64)
    found = auto_pgd(implicit(defense), images, labels, bounds=defense.bounds, epsilon=0.6)
    return audit.found(defense(found).predictions.numpy() != labels, np.abs(first) < 0.6)
