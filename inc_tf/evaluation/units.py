"""Units of work: what a table is computed from, each by itself, in this process or on a cluster."""

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import keras

from inc_tf import data
from inc_tf.evaluation import cluster
from inc_tf.data import Bounds
from inc_tf.errors import InputError
from inc_tf.evaluation.store import Arrays, timed

_RETRIES = 3
_WAITING = 2  # units asked for, for each that there is room for


class Bench:
    """What units are computed on: models by the part that each plays, and the data set that they know.

    `made` are the models that a script made itself, by the records' name: no other process has them. `defenses` are
    those built so far.
    """

    def __init__(self, dataset: str, bounds: Bounds, seed: int, models: dict[str, Any]):
        self.dataset, self.bounds, self.seed, self.models = dataset, bounds, seed, models
        self.made: dict[str, Any] = {}
        self.defenses: dict[str, keras.Model] = {}


def span(images: data.Dataset) -> list[int]:
    """The place of the first of the images in their split, and the one after the last's."""
    return [images.start, images.start + len(images)]


@dataclass(frozen=True)
class Unit:
    """One answer: the key that it is filed under, the images that it is of, and how a bench computes it.

    `compute(bench)` may take a function besides that it tells of its `progress`.
    """

    key: dict
    images: data.Dataset | None
    compute: Callable[..., Arrays]

    @property
    def name(self) -> str:
        """The key and which images: other shards of the images have the same key."""
        which = {} if self.images is None else {"images": span(self.images)}
        return json.dumps({**self.key, **which}, sort_keys=True)


@dataclass(frozen=True)
class Blueprint:
    """How another process makes the same bench: its models by part, and what it must agree on.

    Equal ones are the same bench, made once; so `models` must be hashable by value.
    """

    dataset: str
    bounds: Bounds
    seed: int
    models: Callable[[], dict[str, Any]]
    agreement: cluster.Agreement


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

        The units are asked for as there is room. One that fails, or whose worker is lost, is tried again. Returns the
        error of each that failed for good, by its name. Raises `InputError` where a worker does.
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
    """On a worker. What the user has to put right is an answer: to try that again is of no use."""
    cluster.one_core()
    try:
        bench = _bench(blueprint)
        return timed(lambda: compute(bench))
    except InputError as error:
        return error


@functools.lru_cache(maxsize=1)
def _bench(blueprint: Blueprint) -> Bench:
    blueprint.agreement.check()
    return Bench(blueprint.dataset, blueprint.bounds, blueprint.seed, blueprint.models())
