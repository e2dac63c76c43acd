"""The one training loop: progress, TensorBoard, and a state on disk from which the same command carries on.

What a step does belongs to the recipes beside this file. A step is a function of its number alone (batches and noise
are drawn from the seed and that number), so that a resumed run takes the same steps as an uninterrupted one.
"""

import json
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf.errors import InputError
from inc_tf.saving import write_text
from inc_tf.seeds import derive

Scalars = dict[str, tf.Tensor]

LOG_EVERY = 100

SAVE_SECONDS = 30.0

_LEAST_STATES = 20  # of a run, so that one of 200 steps has a state every 10

_STATES = "state"
_HISTORY = "history.jsonl"  # what TensorBoard shows, in a form that needs no reader of its own

_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


def run(
    step: Callable[[int], Scalars],
    state: list[keras.Variable],
    *,
    settings: dict,
    steps: int,
    directory: Path,
    save_every: int,
    save_seconds: float = SAVE_SECONDS,
    log_every: int = LOG_EVERY,
    validate: Callable[[int], dict[str, float]] | None = None,
) -> float:
    """Call ``step(t)`` for t = 0 … steps − 1, or from where `directory` says that an earlier call was stopped.

    Args:
      step: takes the step's number, returns scalars to log.
      state: what a step changes: ``model.variables`` (with the seeds of its dropout) and ``optimizer.variables``.
      settings: what the run is; a directory that holds a run of other settings is refused with `InputError`.
      steps: the number of steps in all.
      directory: gets `settings.json`, `state/`, `tensorboard/` and the scalars again as `history.jsonl`.
      save_every: steps between two calls of `validate`, and the most between two states; a short run has twenty states.
      save_seconds: the most seconds between two states, but for those of the step under way.
      log_every: steps between two entries of TensorBoard's log.
      validate: takes the number of steps done, returns further scalars to log; may log images of its own.

    Each state is written whole or not at all, and the one before it is kept: where the newest cannot be read, the run
    carries on from the other, with a warning. Of several workers each calls this; all carry on from the chief's state,
    and the chief alone writes and validates.

    Returns:
      The seconds that the steps took, over all calls. Raises `InputError` where none of the states can be read, and
      where another worker was lost.
    """
    chief = is_chief()
    _claim(directory, settings, chief)
    done = tf.Variable(0, dtype=tf.int64)
    seconds = tf.Variable(0.0, dtype=tf.float64)
    saved = tf.train.Checkpoint(done=done, seconds=seconds, state=[variable.value for variable in state])
    states = _States(directory / _STATES, saved)
    states.restore()
    first, earlier, started = int(done.numpy()), float(seconds.numpy()), time.monotonic()
    last_saved, between = started, min(save_every, -(-steps // _LEAST_STATES))
    log = _Log(directory if chief else None, first)
    writer = tf.summary.create_file_writer(str(directory / "tensorboard")) if chief else tf.summary.create_noop_writer()
    bar = tqdm(total=steps, initial=first, desc=directory.name, unit="step", disable=not chief)
    with writer.as_default(), bar:
        for t in range(first, steps):
            try:
                scalars = step(t)
            except _LOST as error:
                raise InputError(
                    f"Step {t} was not taken, since another worker was lost ({str(error).splitlines()[0][:100]}): "
                    "start all workers again, and they carry on from the last state."
                ) from error
            bar.update()
            last = t + 1 == steps
            if (t + 1) % log_every == 0 or last:
                values = {name: float(value) for name, value in scalars.items()}
                log.add(values, t + 1)
                bar.set_postfix(values)
            validated = (t + 1) % save_every == 0 or last
            if chief and validated and validate:
                log.add(validate(t + 1), t + 1)
            if chief and (validated or (t + 1) % between == 0 or time.monotonic() - last_saved >= save_seconds):
                done.assign(t + 1)
                seconds.assign(earlier + time.monotonic() - started)
                states.write(t + 1)
                writer.flush()
                last_saved = time.monotonic()
    return float(seconds.numpy())


def history(directory: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """What `run` logged in `directory`: the numbers of steps done, as `"step"`, and each scalar of `names` at them."""
    logged: dict[int, dict[str, float]] = {}
    for row in _rows(directory):
        logged.setdefault(row["step"], {}).update(row)
    rows = [row for _, row in sorted(logged.items()) if names[0] in row]
    return {name: [row[name] for row in rows] for name in ("step", *names)}


def compiled(update: Callable[..., Scalars], *, jit: bool = False) -> Callable[..., Scalars]:
    """`update` as one graph, on every replica of the `tf.distribute` strategy in scope.

    Every replica is given the whole batch: it takes its own `share`, divides its loss by the number of `replicas`,
    since Keras's optimizers add the replicas' gradients up, and answers `means` of what it logs. So a step is the same
    however many share it, but for rounding.
    """
    strategy = tf.distribute.get_strategy()

    @tf.function(jit_compile=jit and not tf.distribute.has_strategy(), autograph=False)
    def step(*batch):
        return {
            name: strategy.experimental_local_results(value)[0] for name, value in strategy.run(update, batch).items()
        }

    return step


def is_chief() -> bool:
    """Whether this process is the only one, or the one of several workers that writes."""
    cluster = tf.distribute.get_strategy().cluster_resolver
    if not cluster or not cluster.task_type:
        return True
    return cluster.task_type == "chief" or (cluster.task_id == 0 and "chief" not in cluster.cluster_spec().jobs)


def outputs(model: keras.Model, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """What `model` answers for images, [N, …], on this worker alone; `predict` would wait for the others."""
    starts = range(0, len(images), batch_size)
    return np.concatenate([model(images[i : i + batch_size], training=False).numpy() for i in starts])


def replicas() -> int:
    """How many share a batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def share(rows: tf.Tensor) -> tf.Tensor:
    """This replica's part of a batch, whose size `Batches` has checked."""
    size = rows.shape[0] // replicas()
    first = size * tf.distribute.get_replica_context().replica_id_in_sync_group
    return rows[first : first + size]


def means(scalars: Scalars) -> Scalars:
    """The replicas' means, the same on each."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, scalars)


class Batches:
    """The indices of each step's batch: every epoch a fresh permutation, its ragged end left out."""

    def __init__(self, n: int, batch_size: int, seed: int):
        if not 1 <= batch_size <= n:
            raise InputError(f"A batch of {batch_size} images cannot be drawn from {n}.")
        if batch_size % replicas():
            raise InputError(f"A batch of {batch_size} cannot be shared alike by {replicas()} replicas.")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self._epoch, self._order = -1, np.empty(0, int)

    def __getitem__(self, t: int) -> np.ndarray:
        """Indices of step `t`, int [batch_size]."""
        epoch, position = divmod(t, self.n // self.batch_size)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng(derive(self.seed, "epoch", epoch)).permutation(self.n)
        return self._order[position * self.batch_size :][: self.batch_size]


class _States:
    """The states of `saved` in `folder`, `ckpt-<steps done>`: the newest and the one before it."""

    def __init__(self, folder: Path, saved: tf.train.Checkpoint):
        self.folder, self.saved = folder, saved
        self._newest: str | None = None

    def restore(self) -> None:
        """Restore the newest state that can be read, if there is any."""
        states, reason = _states(self.folder), ""
        for name in states:
            try:
                self.saved.read(str(self.folder / name)).assert_existing_objects_matched()
            except (AssertionError, ValueError) as error:
                raise InputError(
                    f"The state in {str(self.folder.parent)!r} is another network's: choose another --run-dir or "
                    "delete it."
                ) from error
            except Exception as error:  # TensorFlow has many for a damaged file
                reason = reason or f"{name}: {(str(error).strip() or type(error).__name__).splitlines()[0][:100]}"
            else:
                self._newest = name
                if reason:
                    warnings.warn(
                        f"The newest state in {str(self.folder)!r} cannot be read ({reason}); the training carries on "
                        f"from the one before, {name}.",
                        stacklevel=3,
                    )
                return
        if states:
            raise InputError(
                f"No state in {str(self.folder)!r} can be read ({reason}): delete that folder to begin again."
            )

    def write(self, steps: int) -> None:
        name = f"ckpt-{steps}"
        self.saved.write(str(self.folder / name))
        for path in self.folder.glob("ckpt-*"):
            if path.name.partition(".")[0] not in (name, self._newest):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._newest = name


def _states(folder: Path) -> list[str]:
    """The names of the states in `folder`, newest first, of which a file at least is there."""
    numbers = {path.name.partition(".")[0].removeprefix("ckpt-") for path in folder.glob("ckpt-*.*")}
    return [f"ckpt-{number}" for number in sorted((int(one) for one in numbers if one.isdecimal()), reverse=True)]


def _claim(directory: Path, settings: dict, chief: bool) -> None:
    path = directory / "settings.json"
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except ValueError as error:
            raise InputError(
                f"{str(path)!r} is damaged, so that nobody knows what run this is: choose another --run-dir or delete "
                "the folder."
            ) from error
        if found != settings:
            raise InputError(
                f"{str(directory)!r} holds a run with {found}, not {settings}: choose another --run-dir or delete it."
            )
    elif _states(directory / _STATES):
        raise InputError(
            f"{str(directory)!r} has states, but no {path.name} that says of what run: choose another --run-dir or "
            "delete the folder."
        )
    elif chief:
        write_text(path, json.dumps(settings))  # whole, since other workers may be reading


class _Log:
    """Scalars for TensorBoard and for `history`, in `directory`; None where another worker writes them."""

    def __init__(self, directory: Path | None, first: int):
        self.path = None
        if directory:
            self.path = directory / _HISTORY
            # A resumed run takes again, and logs again, the steps after its state.
            write_text(self.path, "".join(_line(row) for row in _rows(directory) if row["step"] <= first))

    def add(self, scalars: dict[str, float], step: int) -> None:
        for name, value in scalars.items():
            tf.summary.scalar(name, value, step=step)
        if self.path:
            with open(self.path, "a") as file:
                file.write(_line({"step": step, **scalars}))


def _line(row: dict) -> str:
    return json.dumps(row) + "\n"


def _rows(directory: Path) -> list[dict]:
    """The rows of the history in `directory`, without what a crash cut short or damaged."""
    path, rows = directory / _HISTORY, []
    for line in path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []:
        with suppress(ValueError):
            rows.append(json.loads(line if line.endswith("\n") else ""))
    return rows
