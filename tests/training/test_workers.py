"""Two workers share each batch and take the steps of one, and carry on after one of them was killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from inc_tf.errors import InputError
from inc_tf.training import loop, recipes

CHILD = Path(__file__).parent / "one_worker.py"


def start(out: Path, steps: int, workers: int) -> list[subprocess.Popen]:
    out.mkdir(exist_ok=True)
    sockets = [socket.socket() for _ in range(workers)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    processes = []
    for i in range(workers):
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
        if workers > 1:
            environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})
        command = [sys.executable, str(CHILD), str(out), str(steps)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=environment, **pipes))
    return processes


def finish(processes: list[subprocess.Popen]) -> list[str]:
    """What they print, read side by side: a full pipe would hold one up, and it the other."""
    said: list[str] = [""] * len(processes)

    def read(i: int) -> None:
        said[i], errors = processes[i].communicate()
        assert processes[i].returncode == 0, errors[-2000:]

    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [text.strip().splitlines()[-1] for text in said]


def weights(path: Path) -> np.ndarray:
    with np.load(path) as file:
        return np.concatenate([file[name].ravel() for name in file.files])


def test_two_workers_take_the_steps_of_one(tmp_path):
    assert finish(start(tmp_path / "two", 6, 2)) == ["done True", "done False"]
    assert finish(start(tmp_path / "one", 6, 1)) == ["done True"]
    first, second, only = (weights(tmp_path / name) for name in ("two/0.npz", "two/1.npz", "one/only.npz"))
    np.testing.assert_array_equal(first, second)
    # Six steps of Adam, each about its learning rate of 1e-4, also where a gradient is nothing but rounding.
    differences = np.abs(first - only)
    assert np.median(differences) < 1e-5
    logged = [loop.history(tmp_path / which / "run", ["loss"]) for which in ("two", "one")]
    assert logged[0]["loss"] == pytest.approx(logged[1]["loss"], rel=1e-4)


def test_a_killed_worker_ends_the_others_and_all_carry_on(tmp_path):
    out = tmp_path / "two"
    chief, other = start(out, 600, 2)
    while not list((out / "run" / "state").glob("*-50.index")):
        assert chief.poll() is None and other.poll() is None  # noqa: PT018
    other.send_signal(signal.SIGKILL)
    said, _ = chief.communicate()
    other.communicate()
    assert chief.returncode != 0
    assert "another worker was lost" in said
    assert not (out / "0.npz").exists()
    assert finish(start(out, 600, 2)) == ["done True", "done False"]
    assert finish(start(tmp_path / "calm", 600, 2)) == ["done True", "done False"]
    np.testing.assert_array_equal(weights(out / "0.npz"), weights(tmp_path / "calm" / "0.npz"))


def test_workers_that_nobody_named_are_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="multi-worker needs TF_CONFIG"):
        recipes.train("digits-vae", strategy="multi-worker")
