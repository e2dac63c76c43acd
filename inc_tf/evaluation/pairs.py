"""What the scripts of section 4.3 share: their options, and pairs of the overpowered attack, found shard by shard."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf.attacks.overpowered import Loss, overpowered_pairs
from inc_tf.seeds import derive
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation import sweep
from inc_tf.evaluation.experiment import Experiment, options
from inc_tf.evaluation.units import Bench, Unit

CLASSIFIERS = {name: sweep.CLASSIFIERS[name] for name in ("undefended", "manifold-trained")}
"""The defences of section 4.3, and the part of `CHECKPOINTS` that each is."""

ETA_SQUARED = 2e-4  # of the paper, as a mean squared difference
VALID = 5e-4  # the mean squared difference under which the paper counts a pair

_SHARD = {"celeb_a": 16}

FULL = 256  # pairs
_STEPS = 10_000  # the paper's


def pair_options(quick: int) -> Callable:
    """The options of a script on pairs: `quick` of them where none is given, `FULL` in full."""

    def decorate(command: Callable) -> Callable:
        steps = click.option("--steps", default=_STEPS, show_default=True, help="Of the attack, at most.")
        return options(quick=quick, papers="celeb_a", n="Pairs.")(steps(command))

    return decorate


def pair_experiment(dataset: str, seed: int, out: Path, quiet: bool, quick: bool) -> Experiment:
    """The experiment of a script on pairs, which needs no images but the generator's."""
    models = ("classifier", "robust", "generative")
    experiment = Experiment(dataset, 1, False, seed, out, quiet, models, papers="celeb_a")
    experiment.record.quick = quick
    return experiment


def find(
    experiment: Experiment,
    defense: str,
    n: int,
    steps: int,
    *,
    eta_squared: float = ETA_SQUARED,
    loss: Loss = "squared",
) -> Arrays:
    """`n` pairs against the classifier that the records call `defense`.

    `eta_squared` is a mean squared difference. The answer: `codes` and `others`, float32 [N, k]; `images` and
    `other_images`; `mse`, float32 [N].
    """
    shard = _SHARD.get(experiment.dataset, 64)
    settings = {"eta_squared": eta_squared, "loss": loss, "steps": steps}
    units = [_unit(defense, first, min(shard, n - first), settings) for first in range(0, n, shard)]
    experiment.ahead(units, len(units))
    found = []
    with tqdm(total=n, desc=f"pairs, {defense}", unit="pair", disable=experiment.quiet) as bar:
        for unit in units:
            found.append(experiment.answer(unit))
            bar.update(unit.key["count"])
    return {part: np.concatenate([shard[part] for shard in found]) for part in found[0]}


def _unit(defense: str, first: int, count: int, settings: dict[str, Any]) -> Unit:
    key = {"pairs": defense, "first": first, "count": count, **settings}
    return Unit(key, None, functools.partial(_attack, defense=defense, first=first, count=count, **settings))


def _attack(bench: Bench, defense: str, first: int, count: int, eta_squared: float, loss: Loss, steps: int) -> Arrays:
    generative = bench.models["generative"]
    size = math.prod(generative.generator.output_shape[1:])
    pairs = overpowered_pairs(
        generative.generator,
        bench.models[CLASSIFIERS[defense]],
        count,
        eta=math.sqrt(eta_squared * size),
        seed=derive(bench.seed, "pairs", first),
        stddev=getattr(generative, "latent_stddev", 1.0),
        loss=loss,
        steps=steps,
        tolerance=1e-3,
    )
    return {
        "codes": pairs.codes.numpy(),
        "others": pairs.others.numpy(),
        "images": pairs.images.numpy(),
        "other_images": pairs.other_images.numpy(),
        "mse": np.square(pairs.distances.numpy()) / size,
    }


def probabilities(experiment: Experiment, defense: str, images: np.ndarray) -> np.ndarray:
    """The softmax of a classifier of `CLASSIFIERS`, float32 [N, classes]."""
    logits = experiment.models[CLASSIFIERS[defense]].predict(images, batch_size=100, verbose=0)
    return tf.nn.softmax(logits).numpy()
