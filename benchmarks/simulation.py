"""How long the full tables take on 1 to 1,000 workers, and what that costs: a simulation fed by measurements.

    python benchmarks/simulation.py

It needs the records `scale-speedup.json` and `scale-units.json`, which `python benchmarks/scale.py --full` writes, and
writes `scale-simulation.json` and `scale-simulation.png` beside them. Three jobs, as `--ray` computes them: Table 1 at
n = 10,000 (CelebA), Table 2 at n = 10,000, and one search of the deep image prior for each of ImageNet's 50,000
validation images. Measured: what a unit takes and how that spreads, a worker's start, the driver's time for each
unit, reading the store. Assumed, as `ASSUMED` says: how long a preemptible machine lives and costs, and how often a
unit takes many times as long. The simulation is checked against the real sweeps on one and two workers.

A worker is a machine of two cores, as the ones that the tables' units were timed on.
"""

import heapq
import itertools
import json
import math
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import click
import numpy as np
from matplotlib import pyplot as plt
from tabulate import tabulate

from inc_tf.evaluation.records import Record

RESULTS = Path(__file__).parent / "results"
WORKERS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
RETRIES = 3  # of a unit whose worker is lost, and
AHEAD = 2  # units asked for, for each worker, as in reproduce/_units.py
HOUR = 3600.0
EFFICIENT = 0.8
"""A curve bends where less than this share of the workers' time is work."""

ASSUMED = {
    "mean_life_hours": (24.0, "assumption: a preemptible machine is taken away once a day on average, at random"),
    "cap_hours": (24.0, "Google's documentation: a preemptible machine is stopped after 24 hours at the latest"),
    "replacement_seconds": (120.0, "assumption: until another machine is there; the worker's start comes on top"),
    "dollars_a_worker_hour": (0.02, "assumption: two preemptible cores; costs are in proportion to it"),
    "slow_share": (0.02, "assumption: units that meet a slow machine"),
    "slow_exponent": (1.5, "assumption: those take 1 + Pareto(1.5) times as long"),
    "slow_most": (15.0, "assumption: but none more than 15 times; scale-units.json has units of 6 and 13 times"),
}
"""What is not measured: number and source."""


@dataclass(frozen=True)
class Cluster:
    """Workers and what they and the driver take, in seconds.

    Attributes:
      workers: how many.
      startup: until a new worker computes.
      dispatch: of the driver, for each unit: asking for it, taking its answer, writing it to the store.
      read: of the driver, for each unit once all are there: the script reads them again.
      mean_life, cap: of a worker, drawn from the exponential distribution and cut.
      replacement: until there is another machine in a lost one's place.
    """

    workers: int
    startup: float = 0.0
    dispatch: float = 0.0
    read: float = 0.0
    mean_life: float = math.inf
    cap: float = math.inf
    replacement: float = 0.0

    def life(self, rng: np.random.Generator) -> float:
        return min(self.cap, rng.exponential(self.mean_life) if math.isfinite(self.mean_life) else math.inf)


@dataclass
class Outcome:
    """Of a simulated run: its seconds, how many units were done, losses of a worker at work, commands run again."""

    seconds: float = 0.0
    done: int = 0
    lost: int = 0
    again: int = 0


@dataclass
class _Fleet:
    """The workers of a `queued` run between its phases."""

    cluster: Cluster
    rng: np.random.Generator
    idle: list[int] = field(default_factory=list)
    dies: list[float] = field(default_factory=list)
    # (when, tie-breaker, worker, its unit or None where it comes up, whether the unit is lost)
    events: list[tuple[float, int, int, tuple[float, int] | None, bool]] = field(default_factory=list)
    order: itertools.count = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        for worker in range(self.cluster.workers):
            self.dies.append(0.0)
            self.comes_up(worker, self.cluster.startup)

    def comes_up(self, worker: int, when: float) -> None:
        self.dies[worker] = when + self.cluster.life(self.rng)
        heapq.heappush(self.events, (when, next(self.order), worker, None, False))

    def starts(self, worker: int, when: float, unit: tuple[float, int]) -> bool:
        """Give an idle worker a unit to start at `when`; not where it has died by then, and is not replaced yet."""
        while self.dies[worker] <= when:
            up = self.dies[worker] + self.cluster.replacement + self.cluster.startup
            if up > when:
                self.comes_up(worker, up)
                return False
            self.dies[worker] = up + self.cluster.life(self.rng)
        ends = when + unit[0]
        lost = self.dies[worker] < ends
        heapq.heappush(self.events, (min(ends, self.dies[worker]), next(self.order), worker, unit, lost))
        return True


def queued(phases: list[list[float]], cluster: Cluster, seed: int = 0) -> Outcome:
    """Units by their seconds, a phase after the other, asked for by one driver as there is room: a script with `--ray`.

    A unit whose worker is lost is tried again elsewhere; one that was lost more than `RETRIES` times is left, and the
    command run again at the phase's end. Raises `ValueError` for a unit that no worker lives long enough for.
    """
    _check(phases, cluster)
    fleet, outcome = _Fleet(cluster, np.random.default_rng(seed)), Outcome()
    for phase in phases:
        failed = _phase(phase, fleet, outcome)
        while failed:
            outcome.again += 1
            outcome.seconds += cluster.startup
            failed = _phase(failed, fleet, outcome)
    outcome.seconds += cluster.read * sum(len(phase) for phase in phases)
    return outcome


def _check(phases: list[list[float]], cluster: Cluster) -> None:
    longest = max(max(phase) for phase in phases)
    if longest > cluster.cap:
        raise ValueError(f"A unit takes {longest:.0f} s, and a worker lives for at most {cluster.cap:.0f}.")


def _phase(units: list[float], fleet: _Fleet, outcome: Outcome) -> list[float]:
    """Carry `outcome` on over the units of a phase; returns those that failed for good."""
    cluster = fleet.cluster
    waiting = deque(units)
    asked: deque[tuple[float, tuple[float, int]]] = deque()  # from when on a worker may start it, (seconds, losses)
    failed: list[float] = []
    now = driver = outcome.seconds
    in_flight = 0
    while waiting or in_flight:
        while waiting and in_flight < AHEAD * cluster.workers:
            driver = max(driver, now) + cluster.dispatch
            asked.append((driver, (waiting.popleft(), 0)))
            in_flight += 1
        while asked and fleet.idle:
            ready, unit = asked[0]
            if fleet.starts(fleet.idle.pop(), max(ready, now), unit):
                asked.popleft()
        when, _, worker, found, lost = heapq.heappop(fleet.events)
        now = max(now, when)
        if found is None or not lost:
            fleet.idle.append(worker)
        if found is None:
            continue
        seconds, losses = found
        if lost:
            outcome.lost += 1
            fleet.comes_up(worker, now + cluster.replacement + cluster.startup)
            if losses < RETRIES:
                asked.appendleft((now, (seconds, losses + 1)))
                continue
            failed.append(seconds)
        else:
            outcome.done += 1
        in_flight -= 1
    outcome.seconds = max(now, driver)
    return failed


@dataclass(frozen=True)
class Job:
    """Work: units by their usual seconds, phase by phase, and where the numbers are from."""

    name: str
    phases: list[list[float]]
    source: str


def stretched(phases: list[list[float]], spread: np.ndarray, seed: int) -> list[list[float]]:
    """The units as they turn out: each times a draw from the measured `spread`, and a few many times as long."""
    rng = np.random.default_rng(seed)
    share, exponent, most = (ASSUMED[name][0] for name in ("slow_share", "slow_exponent", "slow_most"))

    def draw(n: int) -> np.ndarray:
        slow = np.where(rng.uniform(size=n) < share, 1 + rng.pareto(exponent, n), 1.0)
        return np.minimum(rng.choice(spread, n) * slow, most)

    return [(np.array(phase) * draw(len(phase))).tolist() for phase in phases]


def table_1(units: list[dict], n: int, shard: int) -> list[list[float]]:
    """Table 1's units of `n` images, phase by phase as the script asks for them.

    `units` are rows of `scale-units.json`. A kind of unit takes the median, over its rows, of the seconds an image.
    """

    def kind(attack: str, defense: str | None) -> list[float]:
        rows = [row for row in units if row["attack"] == attack and row["defense"] == defense]
        an_image = float(np.median([row["seconds"] / row["images"] for row in rows]))
        return [an_image * shard] * (n // shard)

    carlini = ("cw-l2", "cw-l0", "cw-linf")
    signed = ("clean", "fgsm", "fgsm", "fgsm")  # at three ε
    return [
        kind("fgsm", None) * 3,
        [unit for attack in signed for name in ("undefended", "inc-fast") for unit in kind(attack, name)],
        [unit for attack in signed for unit in kind(attack, "inc")],
        [unit for attack in carlini for unit in kind(attack, None)],
        [unit for attack in carlini for name in ("undefended", "inc", "inc-fast") for unit in kind(attack, name)],
    ]


def jobs(results: Path) -> list[Job]:
    """The three jobs, from the records in `results`."""
    step = next(
        row["seconds_a_step"]
        for row in json.loads((results / "dip.json").read_text())["speed"]
        if row["name"] == "inc_tf" and row["channels"] == 128
    )
    units = json.loads((results / "scale-units.json").read_text())["rows"]
    dip = f"dip.json: {step:.3f} s a step at 224×224, 128 channels"
    return [
        Job("Table 1, n = 10,000", table_1(units, 10_000, 50), "scale-units.json, in units of 50 images"),
        Job("Table 2, n = 10,000", [[1000 * step] * 40_000], f"{dip}; 1,000 steps, clean and three ε"),
        Job("ImageNet's 50,000 through DIP", [[500 * step] * 50_000], f"{dip}; 500 steps an image"),
    ]


def measured(speedup: dict) -> tuple[Cluster, np.ndarray]:
    """One worker as `scale-speedup.json` has it, on machines as assumed; the spread of units about their median."""
    found = next(row for row in speedup["rows"] if row["what"] == "costs")
    cluster = Cluster(
        workers=1,
        startup=found["worker_start_seconds"] + found["worker_compile_seconds"],
        dispatch=found["dispatch_seconds_celeba"],
        read=found["store_read_seconds"]["median"],
        mean_life=ASSUMED["mean_life_hours"][0] * HOUR,
        cap=ASSUMED["cap_hours"][0] * HOUR,
        replacement=ASSUMED["replacement_seconds"][0],
    )
    ratios = [np.ravel(runs) / np.median(runs) for runs in found["unit_seconds"].values()]
    return cluster, np.concatenate(ratios)


def check(speedup: dict) -> list[dict]:
    """Of the sweep that was really run, on one and on two warm workers: predicted, measured, and the error.

    Predicted from the bare loop's units, not from those of the runs that are predicted; once by the least times, since
    whatever else a shared machine does only adds to them, and once by the medians.
    """
    found = next(row for row in speedup["rows"] if row["what"] == "costs")
    modes = {row["what"]: row for row in speedup["rows"]}
    quickest = int(np.argmin(modes["bare loop"]["seconds"]))
    kinds = [np.array(found["unit_seconds"][kind]) for kind in ("attack", "answer")]
    units = {"least": [kind[quickest] for kind in kinds], "median": [np.median(kind, axis=0) for kind in kinds]}
    rows = []
    for which, phases in units.items():
        for workers, mode in ((1, "ray, 1 worker"), (2, "ray, 2 workers")):
            cluster = Cluster(workers, dispatch=found["dispatch_seconds"], read=found["store_read_seconds"]["median"])
            real = modes[mode][f"{which}_seconds"]
            predicted = queued([phase.tolist() for phase in phases], cluster).seconds
            rows.append(
                {
                    "times": which,
                    "workers": workers,
                    "predicted_seconds": predicted,
                    "measured_seconds": real,
                    "error": predicted / real - 1,
                }
            )
    return rows


def curve(job: Job, one: Cluster, spread: np.ndarray, seed: int = 0) -> list[dict]:
    """Makespan, efficiency (work done / workers' time) and cost for each number of workers."""
    phases = stretched(job.phases, spread, seed)
    work = sum(map(sum, phases))
    rows = []
    for workers in WORKERS:
        outcome = queued(phases, replace(one, workers=workers), seed)
        hours = outcome.seconds / HOUR
        rows.append(
            {
                "job": job.name,
                "workers": workers,
                "hours": hours,
                "efficiency": work / (workers * outcome.seconds),
                "worker_hours": workers * hours,
                "dollars": workers * hours * ASSUMED["dollars_a_worker_hour"][0],
                **{name: value for name, value in asdict(outcome).items() if name != "seconds"},
            }
        )
    return rows


def bend(job: Job, rows: list[dict], one: Cluster, spread: np.ndarray, seed: int = 0) -> dict:
    """Where the job's curve first falls below `EFFICIENT`, and what share of the time each cause is there.

    A cause's share is what the makespan loses where the cause is taken away and all else stays.
    """
    below = [row for row in rows if row["efficiency"] < EFFICIENT]
    if not below:
        return {"job": job.name, "workers": None}
    workers = below[0]["workers"]
    here, phases = replace(one, workers=workers), stretched(job.phases, spread, seed)
    whole = queued(phases, here, seed).seconds
    tenths = [[unit / 10 for unit in phase for _ in range(10)] for phase in phases]
    without = {
        "start-up": queued(phases, replace(here, startup=0.0), seed),
        "dispatch": queued(phases, replace(here, dispatch=0.0), seed),
        "reading at the end": queued(phases, replace(here, read=0.0), seed),
        "lost machines": queued(phases, replace(here, mean_life=math.inf, cap=math.inf), seed),
        "uneven units": queued(_evened(phases), here, seed),
        # A tenth of the driver's time for each tenth of a unit: only their size changes.
        "size of units": queued(tenths, replace(here, dispatch=here.dispatch / 10, read=here.read / 10), seed),
    }
    shares = {cause: 1 - outcome.seconds / whole for cause, outcome in without.items()}
    return {"job": job.name, "workers": workers, "because_of": max(shares, key=shares.__getitem__), "shares": shares}


def _evened(phases: list[list[float]]) -> list[list[float]]:
    """As much work, but each phase's in units of one length."""
    return [[sum(phase) / len(phase)] * len(phase) for phase in phases]


def draw(rows: list[dict], path: Path) -> None:
    """Makespan and efficiency against workers, log–log, a line a job."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    for job in dict.fromkeys(row["job"] for row in rows):
        own = [row for row in rows if row["job"] == job]
        workers = [row["workers"] for row in own]
        left.plot(workers, [row["hours"] for row in own], marker="o", label=job)
        right.plot(workers, [row["efficiency"] for row in own], marker="o", label=job)
    for axes, name in ((left, "makespan, hours"), (right, "efficiency: work / workers' time")):
        axes.set(xscale="log", yscale="log", xlabel="workers", ylabel=name)
        axes.grid(which="both", alpha=0.3)
    right.axhline(EFFICIENT, color="black", linewidth=0.8, linestyle="--")
    left.legend()
    figure.suptitle("Simulated, on preemptible machines of two cores")
    figure.savefig(path, dpi=120)


@click.command(help=__doc__)
def main() -> None:
    speedup = json.loads((RESULTS / "scale-speedup.json").read_text())
    one, spread = measured(speedup)
    checks, rows, bends = check(speedup), [], []
    work = jobs(RESULTS)
    for job in work:
        own = curve(job, one, spread)
        rows += own
        bends.append(bend(job, own, one, spread))
    record = Record("scale-simulation", "python benchmarks/simulation.py", "celeb_a, imagenet2012", False, 0, {})
    record.deviations = [f"{name} = {value:g}: {source}" for name, (value, source) in ASSUMED.items()]
    record.deviations += [f"{job.name}: {sum(map(len, job.phases)):,} units; {job.source}" for job in work]
    record.rows = [
        *({"what": "check", **row} for row in checks),
        {"what": "worker", **asdict(one)},
        *({"what": "bend", **row} for row in bends),
        *({"what": "curve", **row} for row in rows),
    ]
    record.write(RESULTS / "scale-simulation.json")
    draw(rows, RESULTS / "scale-simulation.png")
    for shown in (checks, bends, rows):
        click.echo(tabulate(shown, headers="keys", floatfmt=".4g", tablefmt="github") + "\n")


if __name__ == "__main__":
    main()
