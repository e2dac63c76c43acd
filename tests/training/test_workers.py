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
import one_worker
import pytest

from inc_tf.errors import InputError
from inc_tf.training import loop, recipes

pytestmark = pytest.mark.system

STEPS = 600


def start(out: Path) -> list[subprocess.Popen]:
    """Two workers."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    cluster = {"worker": [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]}
    for one in sockets:
        one.close()
    processes = []
    for i in range(2):
        configuration = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})
        environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_CONFIG": configuration}
        command = [sys.executable, one_worker.__file__, str(out), str(STEPS)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, env=environment, **pipes))
    return processes


def finish(processes: list[subprocess.Popen]) -> list[str]:
    """What they print, read side by side: a full pipe would hold one up, and it the other."""
    said, errors = [""] * len(processes), [""] * len(processes)

    def read(i: int) -> None:
        said[i], errors[i] = processes[i].communicate()

    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process, error in zip(processes, errors, strict=True):
        assert process.returncode == 0, error[-2000:]
    return [text.strip().splitlines()[-1] for text in said]


def weights(path: Path) -> np.ndarray:
    with np.load(path) as file:
        return np.concatenate([file[name].ravel() for name in file.files])


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> Path:
    """What two workers leave that nothing befalls."""
    out = tmp_path_factory.mktemp("calm")
    assert finish(start(out)) == ["done True", "done False"]
    return out


def test_two_workers_take_the_steps_of_one(calm, tmp_path):
    one_worker.train(tmp_path, STEPS)
    first, second, only = (weights(path) for path in (calm / "0.npz", calm / "1.npz", tmp_path / "only.npz"))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(np.median(np.abs(first - only)), 0, atol=1e-6)
    logged = [loop.history(out / "run", ["loss"]) for out in (calm, tmp_path)]
    assert logged[0]["loss"] == pytest.approx(logged[1]["loss"], rel=1e-4)


def test_a_killed_worker_ends_the_others_and_all_carry_on(calm, tmp_path):
    chief, other = start(tmp_path)
    assert "a state is saved\n" in iter(chief.stdout.readline, "")
    other.send_signal(signal.SIGKILL)
    said, _ = chief.communicate()
    other.communicate()
    assert chief.returncode != 0
    assert "another worker was lost" in said
    assert not (tmp_path / "0.npz").exists()
    assert finish(start(tmp_path)) == ["done True", "done False"]
    np.testing.assert_array_equal(weights(tmp_path / "0.npz"), weights(calm / "0.npz"))


def test_workers_that_nobody_named_are_refused(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="multi-worker needs TF_CONFIG"):
        recipes.train("digits-vae", strategy="multi-worker")
