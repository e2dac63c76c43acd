"""A Ray cluster to compute on: joining it, and checking that its workers have the same library and checkpoints."""

import functools
import importlib.metadata
import os
import socket
from dataclasses import dataclass

import tensorflow as tf

from inc_tf import checkpoints
from inc_tf.descriptors import stderr_aside
from inc_tf.errors import InputError

LOCAL = "local"


def connect(address: str = LOCAL):
    """Join the cluster at `address`, as `ray.init` takes it, or start one on this machine; returns the module `ray`.

    Raises `InputError` if Ray is not installed or the cluster does not answer.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError("This needs Ray: pip install 'inc-tf[ray]'.") from error
    _check_reachable(address)
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what befalls a worker is told by who waits for it
    try:
        with stderr_aside():  # where Ray's core says that it was told to be quiet
            ray.init(
                address=address,
                include_dashboard=False if address == LOCAL else None,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level="ERROR",  # type: ignore[arg-type]
            )
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise InputError(f"There is no Ray cluster at {address!r} that this can join: {said}") from error
    return ray


def _check_reachable(address: str, seconds: float = 5.0) -> None:
    """Raise `InputError` if nobody listens at `[ray://]host:port`; Ray by itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # "local" or "auto"
    try:
        socket.create_connection((host, int(port)), seconds).close()
    except OSError as error:
        raise InputError(f"There is no Ray cluster at {address!r}: {error.strerror or error}.") from error


def room(ray) -> tuple[int, dict[str, int]]:
    """How many units of work the cluster computes at once, and what each needs: a GPU if there are any, else a core."""
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    return (gpus, {"num_gpus": 1}) if gpus else (max(1, int(resources.get("CPU", 1))), {"num_cpus": 1})


@functools.cache
def one_core() -> None:
    """Keep TensorFlow, which has not started yet, to the core that Ray gives a unit of work."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


@dataclass(frozen=True)
class Agreement:
    """The version of the library, and the SHA-256 of checkpoints by name, that all machines must have."""

    version: str
    hashes: tuple[tuple[str, str], ...]

    @classmethod
    def on(cls, names: list[str]) -> "Agreement":
        """The agreement that this machine offers on the checkpoints `names`."""
        return cls(_version(), tuple((name, checkpoints.card(name)["sha256"]) for name in names))

    def check(self) -> None:
        """Raise `InputError` if this machine has another version of the library or of a checkpoint."""
        if _version() != self.version:
            raise InputError(f"A worker has inc-tf {_version()}, and the run has {self.version}: install that there.")
        for name, sha256 in self.hashes:
            found = checkpoints.card(name)["sha256"]
            if found != sha256:
                raise InputError(
                    f"A worker has another checkpoint {name!r}, of SHA-256 {found[:12]}… instead of "
                    f"{sha256[:12]}…: give all machines the same."
                )


def _version() -> str:
    return importlib.metadata.version("inc-tf")
