"""The sweep that `scale.py` runs in processes of their own: MNIST (or the digits), FGSM at three ε, the fast solver.

    python benchmarks/scale_sweep.py --n 100 --shard 10 --ray --out FOLDER

By the code that the tables are made with, and with its options. `--shard` is the images of a unit, fewer than the
library's, so that a small sweep has many units. `--failing` makes one unit in twenty raise on its first tries.
"""

import functools
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("RAY_worker_niceness", "0")  # by itself Ray lets all else on the machine go before its workers

import click
import numpy as np

from inc_tf.evaluation.cluster import one_core
from inc_tf.errors import InputError
from inc_tf.evaluation.store import Arrays, Store, timed
from inc_tf.evaluation import sweep
from inc_tf.evaluation.experiment import Experiment, options
from inc_tf.evaluation.units import Bench, Unit

ATTACKS = [sweep.Attack("fgsm", epsilon) for epsilon in (0.1, 0.2, 0.3)]
DEFENSE = "inc-fast"
MODELS = ("classifier", "generative")


def sweep(experiment: Experiment, shard: int) -> dict[tuple[sweep.Attack, str], Arrays]:
    """The sweep, in units of `shard` images."""
    sweep.SHARDS[experiment.dataset] = shard
    return sweep.sweep(experiment, experiment.data, ATTACKS, [DEFENSE])


@dataclass
class Failing:
    """A unit's `compute` that raises on its first `tries` tries, which it counts by files in `folder`."""

    compute: Callable[[Bench], Arrays]
    folder: Path
    name: str
    tries: int

    def __call__(self, bench: Bench) -> Arrays:
        tried = len(list(self.folder.glob(f"{self.name}-*")))
        if tried < self.tries:
            (self.folder / f"{self.name}-{tried}").touch()
            raise RuntimeError(f"injected failure {tried + 1} of {self.tries}")
        return self.compute(bench)


def inject(experiment: Experiment, folder: Path, tries: int) -> None:
    """Let one unit in twenty, the same ones in every run, raise on its first `tries` tries."""
    cluster = experiment.cluster
    assert cluster is not None
    through = cluster.compute

    def failing(unit: Unit) -> Unit:
        key = json.dumps(experiment.key(unit.key, unit.images), sort_keys=True)
        name = hashlib.sha256(key.encode()).hexdigest()[:8]
        return replace(unit, compute=Failing(unit.compute, folder, name, tries)) if int(name, 16) % 20 == 0 else unit

    cluster.compute = lambda blueprint, units, done: through(  # type: ignore[method-assign]
        blueprint, (failing(unit) for unit in units), done
    )


@click.command("scale_sweep")
@options(quick=100)
@click.option("--shard", default=10, show_default=True, help="Images a unit.")
@click.option("--failing", type=(click.Path(path_type=Path), int), help="A folder to count in, and how many tries.")
def main(
    dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, shard: int, failing: tuple[Path, int] | None
) -> None:
    """The sweep's record, in --out."""
    try:
        experiment = Experiment(dataset, n, full, seed, out, quiet, MODELS)
        if failing:
            inject(experiment, *failing)
        sweep.add_accuracies(experiment, sweep(experiment, shard))
        experiment.record.write(experiment.path(".json"))
    except InputError as error:
        raise click.ClickException(str(error)) from error


# What follows is called in processes that `scale.py` starts and keeps, so that all is warm when it is timed.


@functools.cache
def prepared(n: int, workers: int) -> Experiment:
    """The sweep's experiment, on one core, or on a Ray cluster of so many workers of one core each."""
    one_core()
    if workers:
        import ray

        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with click.Context(click.Command("scale")) as context:
        context.meta["inc_tf.ray"] = "local" if workers else None
        return Experiment("auto", n, False, 0, Path(tempfile.gettempdir()), True, MODELS)


def bare_loop(n: int, shard: int) -> dict:
    """The sweep's units one after the other and nothing else; the seconds of all, and of each by kind."""
    experiment = prepared(n, 0)
    units: dict[str, list[float]] = {"attack": [], "answer": []}
    started, attacked = time.perf_counter(), []
    for attack in ATTACKS:
        for part in experiment.data.shards(shard):
            found, seconds = timed(functools.partial(sweep._attack, experiment, attack, part))
            units["attack"].append(seconds)
            attacked.append(replace(part, images=found["images"]))
    for part in attacked:
        _, seconds = timed(functools.partial(sweep._answer, experiment, DEFENSE, part, (), None))
        units["answer"].append(seconds)
    return {"seconds": time.perf_counter() - started, "units": units}


class TimedStore(Store):
    """A store that notes the seconds of each reading of what is there, and of each writing."""

    def __init__(self, where: Path):
        super().__init__(where)
        self.reads: list[float] = []
        self.writes: list[float] = []

    def put(self, key: dict, arrays: Arrays, seconds: float) -> Arrays:
        answer, taken = timed(lambda: super(TimedStore, self).put(key, arrays, seconds))
        self.writes.append(taken)
        return answer

    def _read(self, key: dict) -> Arrays | None:
        started = time.monotonic()
        answer = super()._read(key)
        if answer is not None:
            self.reads.append(time.monotonic() - started)
        return answer


def script(n: int, shard: int, workers: int) -> dict:
    """The sweep as a script runs it, into an empty store; its seconds, and the store's.

    On `workers` of Ray's; where it is 0, in this process.
    """
    experiment = prepared(n, workers)
    with tempfile.TemporaryDirectory() as folder:
        experiment.store = store = TimedStore(Path(folder))
        started = time.perf_counter()
        sweep(experiment, shard)
        return {"seconds": time.perf_counter() - started, "reads": store.reads, "writes": store.writes}


def start(n: int, workers: int) -> dict:
    """Start the Ray cluster; seconds until the driver is ready, and then until the first worker has answered."""
    started = time.perf_counter()
    prepared(n, workers)
    ready = time.perf_counter()
    dispatch(n, workers, 1, (1,))
    return {"driver": ready - started, "worker": time.perf_counter() - ready}


def dispatch(n: int, workers: int, units: int, shape: tuple[int, ...]) -> float:
    """Seconds for each of `units` that compute nothing but carry an array of `shape` there and back."""
    experiment = prepared(n, workers)
    array = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        experiment.store = Store(folder)
        started = time.perf_counter()
        experiment.ahead((Unit({"echo": i}, None, functools.partial(echo, array=array)) for i in range(units)), units)
        return (time.perf_counter() - started) / units


def stop() -> None:
    """Stop the Ray cluster."""
    import ray

    ray.shutdown()


def echo(bench: Bench, array: np.ndarray) -> Arrays:
    """What it was sent."""
    return {"images": array}


if __name__ == "__main__":
    main()
