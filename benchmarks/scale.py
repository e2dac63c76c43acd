"""What work on several workers costs, and what it survives, on MNIST (or the bundled digits) on one machine.

    python benchmarks/scale.py                      # quick: every section but `units`, small sizes
    python benchmarks/scale.py --full               # the committed sizes
    python benchmarks/scale.py --section speedup    # one section
    python benchmarks/scale.py --section units      # after `inc reproduce table_1`, from results/units

Sections: `speedup` (one sweep as a bare loop, as a script with its store, on one worker of Ray's and on two, each of
one core, in turn; two bare loops at once, which is what the machine allows; and what `simulation.py` is fed with:
seconds of units, of a worker's start, of the driver for each unit, of the store), `memory` (the peak of `inc project`
with all its processes on few images and on many), `faults` (workers killed, the driver killed, a full disk, units that
raise, each beside the undisturbed sweep; needs root for the disk), `units` (what each unit of a finished Table 1 took).
Each writes `benchmarks/results/scale-<section>.json` when it ends.
"""

import functools
import json
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
import psutil
import pyarrow as pa
import scale_sweep
from pyarrow import parquet

from inc_tf import checkpoints, data
from inc_tf.evaluation.records import Record

HERE = Path(__file__).parent
QUICK = {
    "n": 100, "shard": 10, "repeats": 2, "echoes": 50, "small": 500, "large": 2000, "block": 125, "workers": 2,
    "drivers": 1,
}  # fmt: skip
FULL = {
    "n": 1000, "shard": 50, "repeats": 3, "echoes": 300, "small": 10_000, "large": 100_000, "block": 512, "workers": 10,
    "drivers": 5,
}  # fmt: skip
FAULTS = ("--n", "100", "--shard", "5", "--quiet", "--ray")
UNITS = 120  # of that sweep: 20 shards, an attack and an answer at three ε
LAST = 10  # units after which a sweep may end before it can be disturbed
MAY_DIFFER = ("seconds", "device", "command", "commit", "versions")
"""Fields of two records of the same."""


# speedup


def speedup(sizes: dict[str, int]) -> list[dict]:
    """A row for each way of running the sweep, one of ratios, one of costs; the times are of warm processes."""
    sweep = (sizes["n"], sizes["shard"])
    with own_process() as here, own_process() as beside, own_process() as one, own_process() as two:
        call(one, scale_sweep.start, sizes["n"], 1)
        start = call(two, scale_sweep.start, sizes["n"], 2)
        ways: dict[str, Callable[[], dict]] = {
            "bare loop": lambda: call(here, scale_sweep.bare_loop, *sweep),
            "script, store": lambda: call(here, scale_sweep.script, *sweep, 0),
            "ray, 1 worker": lambda: call(one, scale_sweep.script, *sweep, 1),
            "ray, 2 workers": lambda: call(two, scale_sweep.script, *sweep, 2),
            "two bare loops at once": lambda: _at_once((here, beside), *sweep),
        }
        cold = ways["ray, 2 workers"]()["seconds"]
        for way in ways.values():
            way()
        runs: dict[str, list[dict]] = {name: [] for name in ways}
        for _ in range(sizes["repeats"]):
            for name, way in ways.items():
                runs[name].append(way())
        shapes = {"dispatch_seconds": (sizes["shard"], 28, 28, 1), "dispatch_seconds_celeba": (50, 64, 64, 3)}
        dispatch = {
            name: min(call(two, scale_sweep.dispatch, sizes["n"], 2, sizes["echoes"], shape) for _ in range(3))
            for name, shape in shapes.items()
        }
        for driver in (one, two):
            call(driver, scale_sweep.stop)
    times = {name: [run["seconds"] for run in taken] for name, taken in runs.items()}
    units = {kind: [run["units"][kind] for run in runs["bare loop"]] for kind in ("attack", "answer")}
    scripts = [run for name in ("script, store", "ray, 1 worker", "ray, 2 workers") for run in runs[name]]
    costs = {
        "what": "costs",
        "driver_start_seconds": start["driver"],
        "worker_start_seconds": start["worker"],
        "worker_compile_seconds": cold - min(times["ray, 2 workers"]),
        **dispatch,
        "store_read_seconds": quantiles([seconds for run in scripts for seconds in run["reads"]]),
        "store_write_seconds": quantiles([seconds for run in scripts for seconds in run["writes"]]),
        "units": {kind: quantiles(list(np.ravel(seconds))) for kind, seconds in units.items()},
        "unit_seconds": units,
    }
    rows = [
        {"what": name, "median_seconds": float(np.median(taken)), "least_seconds": min(taken), "seconds": taken}
        for name, taken in times.items()
    ]
    return [*rows, ratios(times, np.median), ratios(times, min), costs]


def own_process() -> ProcessPoolExecutor:
    """A process of its own, the same one for every call."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def call(process: ProcessPoolExecutor, function: Callable, *arguments):
    return process.submit(function, *arguments).result()


def _at_once(processes: tuple[ProcessPoolExecutor, ...], *sweep: int) -> dict:
    """The bare loop in each of the processes together: the seconds until the last has ended."""
    started = time.perf_counter()
    for loop in [process.submit(scale_sweep.bare_loop, *sweep) for process in processes]:
        loop.result()
    return {"seconds": time.perf_counter() - started}


def quantiles(seconds: list[float]) -> dict[str, float]:
    low, median, high, most = np.quantile(seconds, (0.05, 0.5, 0.95, 1.0))
    return {
        "n": len(seconds), "mean": float(np.mean(seconds)), "5 %": low, "median": median, "95 %": high, "most": most,
    }  # fmt: skip


def ratios(times: dict[str, list[float]], middle: Callable) -> dict:
    """What the store and Ray add to the bare loop, as shares; how much faster two workers are than one; and how much
    two bare loops at once do in the time of one, which is what this machine allows.
    """
    bare, store, one, two, both = (float(middle(taken)) for taken in times.values())
    return {
        "what": "ratios of least" if middle is min else "ratios of medians",
        "store_adds": store / bare - 1,
        "ray_adds": one / bare - 1,
        "speedup": one / two,
        "machine_allows": 2 * bare / both,
    }


# memory


def memory(sizes: dict[str, int]) -> list[dict]:
    """A row for few images and one for many; the last has the ratio of their peaks."""
    rows = [_projected(n, sizes["block"]) for n in (sizes["small"], sizes["large"])]
    return [*rows, {"peak_ratio": rows[1]["peak_mib"] / rows[0]["peak_mib"]}]


def _projected(n: int, block: int) -> dict:
    """`inc project` on `n` images in a process of its own: the peak of its and its workers' resident memory, MiB."""
    name = data.mnist_or_digits()
    with tempfile.TemporaryDirectory() as folder:
        _write_images(Path(folder) / "images.parquet", name, n)
        words = ["project", f"{folder}/images.parquet", f"{folder}/out", "--defense", name, "--steps", "2", "--quiet"]
        started = time.perf_counter()
        command = [
            sys.executable,
            "-c",
            "from inc_tf.cli.main import main; main()",
            *words,
            "--block",
            str(block),
            "--json",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        peak: dict[str, float] = {}
        while process.poll() is None:
            now = resident(process.pid)
            if sum(now.values()) > sum(peak.values()):
                peak = now
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        assert process.stdout
        done = json.load(process.stdout)
    assert done["images"] == n, done
    return {"images": n, "seconds": seconds, "peak_mib": sum(peak.values()), **peak}


def _write_images(path: Path, name: str, n: int) -> None:
    """The training images, encoded, over and over until there are `n`."""
    many = min(n, data.tfds.count(name, "train"))
    images = list(data.tfds.encoded(name, "train", 0, many))
    parquet.write_table(pa.table({"image": [images[i % many] for i in range(n)]}), path, row_group_size=1000)


def resident(pid: int) -> dict[str, float]:
    """The resident memory, MiB, of a process, of Ray's workers that descend from it, and of all else that does."""
    sums = {"driver_mib": 0.0, "workers_mib": 0.0, "ray_mib": 0.0}
    for process in descendants(pid):
        try:
            kind = "driver_mib" if process.pid == pid else "workers_mib" if _is_worker(process) else "ray_mib"
            sums[kind] += process.memory_info().rss / 2**20
        except psutil.Error:
            continue  # it has ended
    return sums


def descendants(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, directly or not; none where it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _is_worker(process: psutil.Process) -> bool:
    return _title(process).startswith("ray::") and not _title(process).endswith("Agent")


def _title(process: psutil.Process) -> str:
    """What Ray has named a process after; empty where it has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


# faults


def faults(sizes: dict[str, int]) -> list[dict]:
    """A row for each disturbed sweep; see `disturbed`."""
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        started = time.perf_counter()
        assert run(root / "undisturbed").returncode == 0
        expected = record(root / "undisturbed")
        rows = [{"fault": "none", "seconds": time.perf_counter() - started, "units": len(keys(root / "undisturbed"))}]
        cases: list[tuple[str, Callable[[Path], dict]]] = [
            *[("worker killed", functools.partial(kill_worker, rng=rng))] * sizes["workers"],
            *[("driver killed", functools.partial(kill_driver, rng=rng))] * sizes["drivers"],
            ("disk full", fill_disk),
            ("1 unit in 20 raises twice", functools.partial(raising, tries=2)),
            ("1 unit in 20 raises as often as it is tried", functools.partial(raising, tries=4)),
        ]
        for i, (fault, disturb) in enumerate(cases):
            rows.append({"fault": fault, **disturbed(root / str(i), expected, disturb)})
            click.echo(json.dumps(rows[-1]))
        return rows


def disturbed(out: Path, expected: dict, disturb: Callable[[Path], dict]) -> dict:
    """What `disturb` says of its sweep into `out`, which has ended well at last; how it compares to the undisturbed."""
    started = time.perf_counter()
    said = disturb(out)
    filed = keys(out)
    return {
        **said,
        "units": len(filed),
        "lost": UNITS - len(set(filed)),
        "counted_twice": len(filed) - len(set(filed)),
        "scraps": len(list((out / "units").glob("*.tmp"))),
        "record_is_the_same": same(record(out), expected),
        "seconds": time.perf_counter() - started,
    }


def start(out: Path, *more: str) -> subprocess.Popen:
    """The sweep into `out`, in a process of its own."""
    command = [sys.executable, str(HERE / "scale_sweep.py"), *FAULTS, "--out", str(out), *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def run(out: Path, *more: str) -> subprocess.CompletedProcess:
    """The sweep into `out` from start to end."""
    process = start(out, *more)
    _, said = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stderr=said)


def keys(out: Path) -> list[str]:
    """The keys of the units in `out`; a file that cannot be read raises."""
    found = []
    for path in (out / "units").glob("*.npz"):
        with np.load(path) as file:
            found.append(str(file["key"]))
    return found


def record(out: Path) -> dict:
    (path,) = out.glob("scale_sweep*.json")
    return json.loads(path.read_text())


def same(one: dict, other: dict) -> bool:
    """Whether two records say the same but for what may differ, numbers to 10⁻⁶ of their size."""
    apart = {*MAY_DIFFER, "rows"}
    fields = [{name: value for name, value in side.items() if name not in apart} for side in (one, other)]
    if fields[0] != fields[1] or len(one["rows"]) != len(other["rows"]):
        return False
    pairs = zip(one["rows"], other["rows"], strict=True)
    return all(a.keys() == b.keys() and all(_close(a[name], b[name]) for name in a) for a, b in pairs)


def _close(a, b) -> bool:
    return bool(np.isclose(a, b, rtol=1e-6, atol=0)) if isinstance(a, float) and isinstance(b, float) else a == b


def _wait(process: subprocess.Popen, ready: Callable):
    """Until `ready` answers with something that is true, which is returned."""
    while not (found := ready()):
        if process.poll() is not None:
            raise RuntimeError(f"the sweep ended with {process.returncode} before it was disturbed")
        time.sleep(0.002)
    return found


def _filed(out: Path) -> int:
    return len(list((out / "units").glob("*.npz")))


def _busy(process: subprocess.Popen) -> list[psutil.Process]:
    """The workers that compute a unit now."""
    return [p for p in descendants(process.pid) if _is_worker(p) and "_compute" in _title(p)]


def kill_worker(out: Path, rng: random.Random) -> dict:
    """Kill a worker after a random number of units; the command is not run again."""
    process, at = start(out), rng.randrange(UNITS - LAST)
    rng.choice(_wait(process, lambda: _filed(out) >= at and _busy(process))).kill()
    process.communicate()
    return {"after_units": at, "exits": [process.returncode]}


def kill_driver(out: Path, rng: random.Random) -> dict:
    """Kill the command itself after a random number of units, and run it again."""
    process, at = start(out), rng.randrange(1, UNITS - LAST)
    _wait(process, lambda: _filed(out) >= at)
    others = descendants(process.pid)[1:]
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(others, timeout=20)
    orphans = [" ".join(Path(word).name for word in _title(orphan).split()[:3]) for orphan in left]
    for orphan in left:
        orphan.kill()
    kept = len(keys(out))
    return {"after_units": at, "kept": kept, "orphans": orphans, "exits": [process.returncode, run(out).returncode]}


def fill_disk(out: Path) -> dict:
    """Run on a file system with room for about half of the units, then with more room; needs root."""
    units = out / "units"
    units.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(units)], check=True)
    try:
        full = run(out)
        kept = len(keys(out))
        subprocess.run(["mount", "-o", "remount,size=64m", str(units)], check=True)
        again = run(out)
        with tempfile.TemporaryDirectory() as beside:
            shutil.copytree(units, beside, dirs_exist_ok=True)
            subprocess.run(["umount", str(units)], check=True)
            shutil.copytree(beside, units, dirs_exist_ok=True)
    finally:
        subprocess.run(["umount", str(units)], check=False, stderr=subprocess.DEVNULL)
    return {"kept": kept, "said": sentence(full.stderr), "exits": [full.returncode, again.returncode]}


def raising(out: Path, tries: int) -> dict:
    """Run until it ends well where one unit in twenty raises on its first tries."""
    with tempfile.TemporaryDirectory() as counted:
        runs = [run(out, "--failing", counted, str(tries))]
        while runs[-1].returncode and len(runs) < 4:
            runs.append(run(out, "--failing", counted, str(tries)))
        raised = sorted(path.name for path in Path(counted).iterdir())
    named = [line for one in runs for line in one.stderr.splitlines() if line.startswith("failed: ")]
    return {
        "raised": len(raised),
        "units_that_raised": len({name.split("-")[0] for name in raised}),
        "named_as_failed_for_good": len(named),
        "with_their_error": sum("injected failure" in line for line in named),
        "exits": [one.returncode for one in runs],
        "said": sentence(runs[0].stderr),
    }


def sentence(text: str) -> str:
    """What a command that failed said, which TensorFlow's own lines stand around; empty where it did not fail."""
    return next((line for line in text.splitlines() if line.startswith("Error: ")), "")


# units


def units(sizes: dict[str, int]) -> list[dict]:
    """What each unit of Table 1 on CelebA took, of the run whose record is docs/results/table_1.json."""
    table = json.loads((HERE.parent / "docs" / "results" / "table_1.json").read_text())
    rows = []
    for path in sorted((HERE.parent / "results" / "units").glob("*.npz")):
        with np.load(path) as file:
            key, seconds = json.loads(str(file["key"])), float(file["seconds"])
        if key["checkpoints"] == table["checkpoints"] and "attack" in key:
            first, last = key["images"]
            what = {name: key.get(name) for name in ("attack", "epsilon", "defense")}
            rows.append({**what, "images": last - first, "seconds": seconds})
    total = sum(row["seconds"] for row in rows)
    if abs(total - table["seconds"]) > 0.1:
        raise click.ClickException(
            f"The units in results/units took {total:.1f} s, those of docs/results/table_1.json {table['seconds']} s: "
            "run the record's command first."
        )
    return rows


SECTIONS = {"speedup": speedup, "memory": memory, "faults": faults, "units": units}


def described(section: str, full: bool, rows: list[dict], seconds: float) -> Record:
    """The record of a section."""
    if section == "units":
        dataset, names = "celeb_a", ["celeba-gender", "celeba-began"]
    else:
        dataset = data.mnist_or_digits()
        names = [data.SOURCES[dataset].checkpoints[part] for part in ("classifier", "generative")]
    command = f"python benchmarks/scale.py --section {section}{' --full' if full else ''}"
    hashes = {name: checkpoints.card(name)["sha256"] for name in names}
    quick = not full and section != "units"
    return Record(f"scale-{section}", command, dataset, quick, 0, hashes, seconds=round(seconds, 1), rows=rows)


@click.command(help=__doc__)
@click.option(
    "--section", "chosen", type=click.Choice(SECTIONS), multiple=True, help="All but units by default; may be repeated."
)
@click.option("--full", is_flag=True, help="The committed sizes rather than the quick ones.")
@click.option("--out", default=HERE / "results", type=click.Path(path_type=Path), help="The records' folder.")
def main(chosen: tuple[str, ...], full: bool, out: Path) -> None:
    for section in chosen or list(SECTIONS)[:-1]:
        click.echo(f"{section}:")
        started = time.perf_counter()
        rows = SECTIONS[section](FULL if full else QUICK)
        described(section, full, rows, time.perf_counter() - started).write(out / f"scale-{section}.json")
        for row in rows:
            click.echo(json.dumps({name: value for name, value in row.items() if name != "unit_seconds"}))


if __name__ == "__main__":
    main()
