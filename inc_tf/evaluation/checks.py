"""Whether an evaluation is to be believed: the checks of Carlini et al., 2019, run on the defence that is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from inc_tf import data
from inc_tf.attacks import auto_pgd
from inc_tf.attacks.differentiable import implicit
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
    fresh_seed: str,
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
      growing: which images are right in the worst case at each ε, growing.
      by_gradient: and under all attacks along a gradient.
      without_gradient: and under all that do without.
      fresh_seed: the search whose answers are drawn again.
    """

    def right(attack: Attack, defense: str = attacked, seed: int | None = None) -> np.ndarray:
        return sweep(run, few, [attack], [defense], seed=seed)[attack, defense]["correct"]

    found, unbounded = strongest(), strongest(epsilon=beyond)
    longer = [strongest(steps=n) for n in steps]
    again = [strongest(restarts=n) for n in restarts]
    # All at once, so that a cluster shares them.
    sweep(run, few, list(dict.fromkeys([found, one_step, unbounded, *longer, *again])), [attacked])
    checks = {
        "iterative at least as strong as one step": audit.not_weaker(right(found), right(one_step)),
        "more steps do not help the defender": audit.in_order([right(attack) for attack in longer]),
        "accuracy falls with ε": audit.in_order(growing),
        "without a bound nothing but guessing is left": audit.reaches_chance(
            right(unbounded), run.bench.parts["classifier"].output_shape[1]
        ),
        "restarts have converged": audit.converged([right(attack) for attack in again]),
        "gradient-free no stronger than gradient-based": audit.not_weaker(by_gradient, without_gradient),
        "a planted hole is found": planted(),
    }
    if fresh_seed == "inc":
        lengths = ("inc", "inc-500", "inc-100")
        checks["robustness is not under-optimisation (T = 2000, 500, 100)"] = audit.in_order(
            [right(found, defense) for defense in lengths]
        )
    checks["fresh seeds of the search make no difference"] = audit.same(
        right(found, fresh_seed), right(found, fresh_seed, seed=run.bench.seed + 1)
    )
    return checks


def planted() -> audit.Check:
    """AutoPGD along the implicit gradient on a defence whose projection and whose boundary are known.

    Of two pixels the projection keeps the first, and the class is its sign.
    """
    generator = keras.Sequential(
        [keras.layers.Input((1,)), keras.layers.Dense(2, use_bias=False), keras.layers.Reshape((1, 2, 1))]
    )
    generator.layers[0].set_weights([np.array([[1.0, 0.0]], np.float32)])
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
