"""What a benchmark's record says of the machine, and whether others disturbed the run."""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import tensorflow as tf

RESULTS = Path(__file__).parent / "results"
_PEERS = ("tensorflow", "keras", "torch", "jax", "foolbox", "adversarial-robustness-toolbox")
_QUIET = 0.05


def seconds(call: Callable[[], object], repeats: int, warm: bool = True) -> float:
    """The least time of `repeats` calls, after one that is not counted if `warm`."""
    if warm:
        call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def matmul_gflops(size: int = 4096) -> float:
    """The machine's large float32 matrix product, in GFLOP/s."""
    a = tf.random.stateless_normal([size, size], [0, 0])
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    return 2 * size**3 / seconds(lambda: product().numpy(), 5) / 1e9


def peak_gib() -> float:
    """The most memory that this process has had so far, in GiB; on Linux.

    `getrusage` would say what the process that started this one had.
    """
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kib) / 2**20


def elsewhere(code: str) -> list[float]:
    """The numbers that `code`, which can import the benchmarks, prints in a process of its own."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)
    return [float(number) for number in done.stdout.split()]


@contextmanager
def watched(path: Path) -> Iterator[dict[str, Any]]:
    """Write what the block puts into the record to `path`, with what the machine was and did meanwhile.

    The record's `machine` says the processor, cores and versions; the seconds that the block took; the matrix product
    before and after, in GFLOP/s; and of the cores' time the share that the host took away (`stolen`) and the share that
    other processes had (`others`). It is `noisy` where the product moved by more than 5 %, or both shares together
    exceed 5 %: its times then say little, its ratios something.
    """
    record: dict[str, Any] = {}
    product, load = matmul_gflops(), os.getloadavg()[0]
    started, before, own = time.perf_counter(), psutil.cpu_times(), _own_time()
    yield record
    taken, after, own = time.perf_counter() - started, psutil.cpu_times(), _own_time() - own
    cores = os.cpu_count() or 1
    stolen = (after.steal - before.steal) / (cores * taken)
    busy = sum(getattr(after, kind) - getattr(before, kind) for kind in ("user", "nice", "system"))
    others = max(0.0, busy - own) / (cores * taken)
    products = [product, matmul_gflops()]
    machine = {
        "processor": _processor(),
        "cores": cores,
        "python": platform.python_version(),
        "versions": {name: version for name in _PEERS if (version := _version(name))},
        "seconds": taken,
        "load_before": load,
        "matmul_gflops": products,
        "stolen": stolen,
        "others": others,
        "noisy": abs(products[1] / products[0] - 1) > _QUIET or stolen + others > _QUIET,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **record}, indent=2, default=float) + "\n")


def _own_time() -> float:
    """CPU seconds of this process and of those that it started, running or done."""
    me = psutil.Process()
    times = me.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in me.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
