"""The sweep that `scale.py` runs in processes of their own: MNIST (or the digits), FGSM at three ε, the fast solver.

    python benchmarks/scale_sweep.py --n 100 --shard 10 --ray --out FOLDER

By the code that the tables are made with, and with its options. `--shard` is the images of a unit, fewer than the
library's, so that a small sweep has many units. `--failing` makes one unit in twenty raise on its first tries.
"""

import functools
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

from inc_tf import data
from inc_tf.cli.scripts import script as command
from inc_tf.errors import InputError
from inc_tf.evaluation import sweep
from inc_tf.evaluation.cluster import one_core
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.store import Arrays, Store, timed
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.saving import content_hash

ATTACKS = [sweep.Attack("fgsm", epsilon) for epsilon in (0.1, 0.2, 0.3)]
DEFENSE = "inc-fast"
PARTS = ("classifier", "generative")


def swept(run: Run, shard: int) -> sweep.Answers:
    """The sweep, in units of `shard` images."""
    data.register(replace(data.SOURCES[run.images.name], shard=shard))
    return sweep.sweep(run, run.images, ATTACKS, [DEFENSE])


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


def inject(run: Run, folder: Path, tries: int) -> None:
    """Let one unit in twenty, the same ones in every run, raise on its first `tries` tries."""
    ahead = run.ahead

    def failing(unit: Unit) -> Unit:
        name = content_hash(unit.key)[:8]
        return replace(unit, compute=Failing(unit.compute, folder, name, tries)) if int(name, 16) % 20 == 0 else unit

    run.ahead = lambda units, total: ahead(map(failing, units), total)  # type: ignore[method-assign, assignment, misc]


@command("scale_sweep", quick=100)
@click.option("--shard", default=10, show_default=True, help="Images a unit.")
@click.option("--failing", type=(click.Path(path_type=Path), int), help="A folder to count in, and how many tries.")
def main(options: Options, shard: int, failing: tuple[Path, int] | None) -> None:
    """The sweep's record, in --out."""
    try:
        run = experiment(options, *PARTS)
        if failing:
            inject(run, *failing)
        sweep.add_accuracies(run, swept(run, shard))
        run.record.write(run.path(".json"))
    except InputError as error:
        raise click.ClickException(str(error)) from error


# What follows is called in processes that `scale.py` starts and keeps, so that all is warm when it is timed.


@functools.cache
def prepared(n: int, workers: int) -> Run:
    """The sweep's run, on one core, or on a Ray cluster of so many workers of one core each."""
    one_core()
    if workers:
        import ray

        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    scratch = Path(tempfile.gettempdir())
    options = Options("scale", n=n, out=scratch, quiet=True, ray="local" if workers else None)
    return experiment(options, *PARTS)


def bare_loop(n: int, shard: int) -> dict:
    """The sweep's units one after the other and nothing else; the seconds of all, and of each by kind."""
    run = prepared(n, 0)
    units: dict[str, list[float]] = {"attack": [], "answer": []}
    started, attacked = time.perf_counter(), []
    for attack in ATTACKS:
        for part in run.images.shards(shard):
            found, seconds = timed(lambda: sweep.attacking(run.bench, attack, part).compute(run.bench))  # noqa: B023
            units["attack"].append(seconds)
            attacked.append(replace(part, images=found["images"]))
    for part in attacked:
        answering = sweep.answering(run.bench, DEFENSE, part, (), run.bench.seed)
        _, seconds = timed(lambda: answering.compute(run.bench))  # noqa: B023
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
    run = prepared(n, workers)
    with tempfile.TemporaryDirectory() as folder:
        run.store = store = TimedStore(Path(folder))
        started = time.perf_counter()
        swept(run, shard)
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
    run = prepared(n, workers)
    array = np.random.default_rng(0).uniform(size=shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        run.store = Store(folder)
        started = time.perf_counter()
        run.ahead((Unit({"echo": i}, functools.partial(echo, array=array), f"echo {i}") for i in range(units)), units)
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
