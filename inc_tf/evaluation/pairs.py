"""Pairs of the overpowered attack of section 4.3, found shard by shard and stored when finished."""

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf.attacks.overpowered import Loss, overpowered_pairs
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.seeds import derive

CLASSIFIERS = ("undefended", "manifold-trained")
"""The defences of section 4.3."""

ETA_SQUARED = 2e-4  # of the paper, as a mean squared difference
VALID = 5e-4  # the mean squared difference under which the paper counts a pair

_SHARD = {"celeb_a": 16}

FULL = 256  # pairs
STEPS = 10_000  # of the attack at most; the paper's


def pair_experiment(options: Options) -> tuple[Run, int]:
    """The run of a script on pairs, which needs no images but the generator's, and how many pairs it counts."""
    run = experiment(
        replace(options, n=1, full=False), "classifier", "manifold-trained", "generative", papers="celeb_a"
    )
    n = FULL if options.full else options.n
    run.record.quick = n < FULL
    return run, n


def find(
    run: Run, defense: str, n: int, steps: int, *, eta_squared: float = ETA_SQUARED, loss: Loss = "squared"
) -> Arrays:
    """Find `n` pairs against the classifier that the records call `defense`.

    `eta_squared` is a mean squared difference. Returns `codes` and `others`, float32 [N, k]; `images` and
    `other_images`; `mse`, float32 [N].
    """
    shard = _SHARD.get(run.images.name, 64)
    settings = {"eta_squared": eta_squared, "loss": loss, "steps": steps}
    starts = range(0, n, shard)
    units = [_unit(run.bench, defense, first, min(shard, n - first), settings) for first in starts]
    run.ahead(units, len(units))
    found = []
    with tqdm(total=n, desc=f"pairs, {defense}", unit="pair", disable=run.quiet) as bar:
        for unit in units:
            found.append(run.answer(unit))
            bar.update(unit.key["count"])
    return {part: np.concatenate([one[part] for one in found]) for part in found[0]}


def _unit(bench: Bench, defense: str, first: int, count: int, settings: dict[str, Any]) -> Unit:
    key = {
        "pairs": bench.digest(defense),
        "generative": bench.digest("generative"),
        "seed": bench.seed,
        "first": first,
        "count": count,
        **settings,
    }
    attack = functools.partial(_attack, defense=defense, first=first, count=count, **settings)
    return Unit(key, attack, f"pairs {first}–{first + count - 1} against {defense}")


def _attack(bench: Bench, defense: str, first: int, count: int, eta_squared: float, loss: Loss, steps: int) -> Arrays:
    size = math.prod(bench.parts.generator.output_shape[1:])
    pairs = overpowered_pairs(
        bench.parts.generator,
        bench.defense(defense),
        count,
        eta=math.sqrt(eta_squared * size),
        seed=derive(bench.seed, "pairs", first),
        stddev=bench.parts.latent_stddev,
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


def probabilities(run: Run, defense: str, images: np.ndarray) -> np.ndarray:
    """The softmax of a classifier of `CLASSIFIERS`, float32 [N, classes]."""
    logits = run.bench.defense(defense).predict(images, batch_size=100, verbose=0)
    return tf.nn.softmax(logits).numpy()
