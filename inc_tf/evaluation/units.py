"""Units of work, from which tables are computed: each by itself, in this process or on a cluster.

A unit is filed by content: its key holds exactly what its answer depends on, including the images' bytes and the whole
configuration of the defence and the attack. So the same key means the same answer, whatever the names of files and
models.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from inc_tf import plugins, zoo
from inc_tf.attacks import TARGETS
from inc_tf.errors import InputError
from inc_tf.evaluation import cluster
from inc_tf.evaluation.store import Arrays, timed
from inc_tf.saving import configuration, content_hash

_RETRIES = 3
_WAITING = 2  # units asked for, for each that there is room for


@dataclass
class Bench:
    """What units are computed on.

    Attributes:
      parts: the models, with facts about their images.
      seed: seed of attacks and defences.
      made: models that a script made itself, by name; each stands for the defence of that name, and for the target of
        that name if none is declared. No other process has them.
    """

    parts: zoo.Parts
    seed: int
    made: dict[str, Any] = field(default_factory=dict)
    _built: dict[str, Any] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)

    def defense(self, name: str) -> keras.Model:
        """The defence that the records call `name`, built once."""
        if name in self.made:
            return self.made[name]
        if name not in self._built:
            self._built[name] = zoo.build(name, self.parts)
        return self._built[name]

    def target(self, name: str, against: str, draws: int = 1) -> Any:
        """What attacks are run on: a target of `TARGETS` of the defence `against`, averaged over `draws` of it, else
        the logits of one of `made`.
        """
        if name not in TARGETS and name in self.made:
            name, against = "defense", name
        key = f"{draws} draws of {name} of {against}"
        if key not in self._built:
            self._built[key] = TARGETS[name].build(self.defense(against), self.parts, draws)
        return self._built[key]

    def digest(self, name: str) -> str:
        """The SHA-256 of the whole configuration of the defence or model `name`, its weights included."""
        if name not in self._digests:
            model = self.parts[name] if name in self.parts.models else self.defense(name)
            self._digests[name] = content_hash(configuration(model))
        return self._digests[name]


@dataclass(frozen=True)
class Unit:
    """One piece of work: the key of its answer, how a bench computes it, and its name in messages.

    `compute(bench)` may take a second argument, a function that it calls with its `progress`.
    """

    key: dict
    compute: Callable[..., Arrays]
    name: str


@dataclass(frozen=True)
class Blueprint:
    """How another process makes the same bench, and what it must agree on.

    Equal blueprints give the same bench, made once; so `parts` must be hashable by value.
    """

    parts: Callable[[], zoo.Parts]
    seed: int
    agreement: cluster.Agreement
    plugins: tuple[str, ...] = field(default_factory=plugins.loaded)

    def bench(self) -> Bench:
        """The bench. Raises `InputError` if this process does not agree."""
        self.agreement.check()
        for plugin in self.plugins:
            plugins.load(Path(plugin))
        return Bench(self.parts(), self.seed)


class Cluster:
    """Computes units on the Ray cluster at `address`; raises `InputError` as `cluster.connect` does."""

    def __init__(self, address: str):
        self.ray = cluster.connect(address)
        self.room, needs = cluster.room(self.ray)
        self._compute = self.ray.remote(max_retries=_RETRIES, retry_exceptions=True, **needs)(_compute)

    def compute(
        self, blueprint: Blueprint, units: Iterable[Unit], done: Callable[[Unit, Arrays, float], None]
    ) -> dict[str, str]:
        """Compute `units`, and call `done` with each as it comes, its answer and its seconds.

        Units are submitted as there is room. One that fails, or whose worker is lost, is tried again. Returns the error
        of each that failed for good, by its name. Raises `InputError` if a worker does.
        """
        ray = self.ray
        shared = ray.put(blueprint)
        failed: dict[str, str] = {}
        running: dict[Any, Unit] = {}

        def collect() -> None:
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            unit = running.pop(ready)
            try:
                answer = ray.get(ready)
            except ray.exceptions.RayError as error:
                failed[unit.name] = str(error).strip().splitlines()[-1]
                return
            if isinstance(answer, InputError):
                raise answer
            done(unit, *answer)

        for unit in units:
            running[self._compute.remote(shared, unit.compute)] = unit
            if len(running) >= _WAITING * self.room:
                collect()
        while running:
            collect()
        return failed


def _compute(blueprint: Blueprint, compute: Callable[..., Arrays]) -> tuple[Arrays, float] | InputError:
    """Runs on a worker. Errors that the user has to put right are returned, since trying again would not help."""
    cluster.one_core()
    try:
        bench = _bench(blueprint)
        return timed(lambda: compute(bench))
    except InputError as error:
        return error


@functools.lru_cache(maxsize=1)
def _bench(blueprint: Blueprint) -> Bench:
    return blueprint.bench()
