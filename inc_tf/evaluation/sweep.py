"""Attacks × defences over images, for most tables and figures; computed shard by shard, and stored when finished."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from inc_tf import data, estimates
from inc_tf.attacks import METHODS, TARGETS
from inc_tf.defense import InvertAndClassify
from inc_tf.evaluation.run import Run
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.saving import configuration
from inc_tf.seeds import derive

_SHARD = 100  # images of a data set that is not declared


@dataclass(frozen=True)
class Attack:
    """One run of an attack.

    Attributes:
      name: a name in `METHODS`, or `"clean"`.
      epsilon: ε, if it has one.
      settings: its arguments that differ from the declared ones.
      against: the name of the defence whose stand-in or output it is run on.
      draws: over how many draws of that defence its logits are averaged (EOT).
    """

    name: str
    epsilon: float | None = None
    settings: dict = field(default_factory=dict, hash=False)
    against: str = "inc-fast"
    draws: int = 1

    @property
    def label(self) -> str:
        """Its label in plots and tables of several attacks: its name, and its ε if that is above 0."""
        return f"{self.name} {self.epsilon:g}" if self.epsilon else self.name


CLEAN = Attack("clean", 0.0)

Seeds = int | tuple[int, ...]
"""One seed, or one for each draw."""

Answers = dict[tuple[Attack, str], Arrays]


def sweep(
    run: Run,
    images: data.Dataset,
    attacks: list[Attack],
    defenses: list[str],
    keep: tuple[str, ...] = (),
    draws: Mapping[str, int] | None = None,
    seed: int | None = None,
) -> Answers:
    """Run every attack on `images` against every defence.

    Args:
      run: the run whose bench computes, and whose store keeps, the answers.
      images: the images to attack.
      attacks: the attacks; may include `CLEAN`.
      defenses: the names of the defences.
      keep: fields of the `Classification` to return too, for defences with a projector.
      draws: how often to query each defence, by name, each time with a fresh seed; the others are queried once.
      seed: the defences' seed, instead of the run's.

    Returns by (attack, defence): `correct`, bool [N]; behind a projector `distance`, float32 [N], and what is kept, of
    which a classifier alone has the logits; with `draws` these are [m, N, …], as many as the defence's draws.
    """
    seed = run.bench.seed if seed is None else seed
    seeds = {name: _seeds(seed, draws, name) for name in defenses}
    size = data.SOURCES[images.name].shard if images.name in data.SOURCES else _SHARD
    shards = list(images.shards(size))
    _ahead(run, shards, attacks, seeds, keep)
    parts: dict[tuple[Attack, str], list[Arrays]] = {(a, name): [] for a in attacks for name in defenses}
    with tqdm(total=len(parts) * len(images), desc=run.name, unit="image", disable=run.quiet) as bar:
        for shard in shards:
            for attack in attacks:
                attacked = attack_images(run, attack, shard)
                for name in defenses:
                    parts[attack, name].append(run.answer(answering(run.bench, name, attacked, keep, seeds[name])))
                    bar.update(len(shard))
    axis = 0 if draws is None else 1
    return {
        case: {key: np.concatenate([p[key] for p in found], axis=axis) for key in found[0]}
        for case, found in parts.items()
    }


def _seeds(seed: int, draws: Mapping[str, int] | None, name: str) -> Seeds:
    """None of the fresh ones is a seed that an attack has seen."""
    return seed if draws is None else tuple(derive(seed, "draw", i) for i in range(draws.get(name, 1)))


def _ahead(
    run: Run, shards: list[data.Dataset], attacks: list[Attack], seeds: Mapping[str, Seeds], keep: tuple[str, ...]
) -> None:
    """Let the cluster, if there is one, attack the images and then classify them; work that only this process can do is
    left out.
    """
    if not run.shared:
        return
    made = run.bench.made
    far = [a for a in attacks if a != CLEAN and METHODS[a.name].target in TARGETS and a.against not in made]
    attacks_first = [attacking(run.bench, attack, shard) for attack in far for shard in shards]
    run.ahead(attacks_first, len(attacks_first))
    named = [name for name in seeds if name not in made]
    answers_then = (
        answering(run.bench, name, attacked, keep, seeds[name])
        for attack in attacks
        for shard in shards
        for attacked in [attack_images(run, attack, shard)]
        for name in named
    )
    run.ahead(answers_then, len(attacks) * len(shards) * len(named))


def add_accuracies(run: Run, answers: Answers, paper: dict[str, dict] | None = None) -> None:
    """Add to the record the accuracy of each case, and the mean distance if there is one.

    `paper`: the paper's accuracies, by defence, attack and ε.
    """
    for (attack, defense), answer in answers.items():
        labels: dict = {"defense": defense, "attack": attack.name, "epsilon": attack.epsilon}
        reported = (paper or {}).get(defense, {}).get((attack.name, attack.epsilon))
        run.record.add(estimates.share(answer["correct"]), metric="accuracy", paper=reported, **labels)
        if "distance" in answer:
            run.record.add(estimates.mean(answer["distance"]), metric="distance", **labels)


def attack_images(run: Run, attack: Attack, images: data.Dataset) -> data.Dataset:
    """`images` after `attack`."""
    if attack == CLEAN:
        return images
    found = run.answer(attacking(run.bench, attack, images))["images"]
    if METHODS[attack.name].least_change:
        inside = np.abs(found - images.images).max(axis=(1, 2, 3), keepdims=True) <= attack.epsilon
        found = np.where(inside, found, images.images)
    return replace(images, images=found)


def attacking(bench: Bench, attack: Attack, images: data.Dataset) -> Unit:
    """The unit that attacks images; its answer is `images`, the attacked ones."""
    method = METHODS[attack.name]
    if method.least_change:
        attack = replace(attack, epsilon=images.bounds[1] - images.bounds[0])  # one run serves every ε
    given = {} if attack.epsilon is None else {"epsilon": attack.epsilon}
    settings = method.settings(**given, **attack.settings)
    key = {
        "attack": f"{method.function.__module__}.{method.function.__qualname__}",
        "settings": configuration(settings),
        "target": method.target,
        "on": _on(bench, method.target, attack.against),
        "draws": attack.draws,
        "seed": bench.seed,
        **images.digest,
    }
    return Unit(key, functools.partial(_attack, attack=attack, images=images), f"{attack.label} on {_which(images)}")


def _on(bench: Bench, target: str, against: str) -> list[str]:
    """The contents of a target, for a key."""
    names = TARGETS[target].made_of(against, bench.defense) if target in TARGETS else (target,)
    return [bench.digest(name) for name in names]


def answering(bench: Bench, name: str, attacked: data.Dataset, keep: tuple[str, ...], seeds: Seeds) -> Unit:
    """The defence's answer to images that an attack has left."""
    key = {"defense": bench.digest(name), "keep": list(keep), "seed": seeds, **attacked.digest}
    answer = functools.partial(_answer, name=name, images=attacked, keep=keep, seeds=seeds)
    return Unit(key, answer, f"{name} on {_which(attacked)}")


def _which(images: data.Dataset) -> str:
    return f"{images.name} {images.split} {images.start}–{images.start + len(images) - 1}"


def _attack(bench: Bench, attack: Attack, images: data.Dataset) -> Arrays:
    method = METHODS[attack.name]
    target = bench.target(method.target, attack.against, attack.draws)
    given = {} if attack.epsilon is None else {"epsilon": attack.epsilon}
    settings = method.settings(**given, **attack.settings)
    found = method.function(target, images.images, images.labels, bounds=images.bounds, seed=bench.seed, **settings)
    return {"images": found.numpy()}


def _answer(bench: Bench, name: str, images: data.Dataset, keep: tuple[str, ...], seeds: Seeds) -> Arrays:
    """All draws of all images are one batch."""
    defense = bench.defense(name)
    draws = () if isinstance(seeds, int) else (len(seeds),)
    drawn, given = drawn_images(images.images, seeds)
    if isinstance(defense, InvertAndClassify):
        answer = defense(drawn, seed=given)
        wanted = {"correct": answer.predictions, "distance": answer.distances} | {k: getattr(answer, k) for k in keep}
        parts = {part: found.numpy() for part, found in wanted.items()}
    else:
        logits = defense.predict(drawn, verbose=0)
        parts = {"correct": logits.argmax(axis=1)} | ({"logits": logits} if "logits" in keep else {})
    parts = {part: found.reshape(*draws, len(images), *found.shape[1:]) for part, found in parts.items()}
    return {**parts, "correct": parts["correct"] == images.labels}


def drawn_images(images: np.ndarray, seeds: Seeds) -> tuple[np.ndarray, Any]:
    """The images once for each seed, [m·N, H, W, C], draw after draw, and the seed of each, int32 [m·N]."""
    if isinstance(seeds, int):
        return images, seeds
    return np.tile(images, (len(seeds), 1, 1, 1)), np.repeat(np.array(seeds, np.int32), len(images))
