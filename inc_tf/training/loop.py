"""The training loop that all recipes share: progress, TensorBoard, and a state on disk from which a run resumes.

The recipes beside this file define the steps. A step depends on its number alone (batches and noise are drawn from the
seed and that number), so a resumed run takes the same steps as an uninterrupted one.
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

_LEAST_STATES = 20  # in a run, so a run of 200 steps has a state every 10

_STATES = "state"
_HISTORY = "history.jsonl"  # the scalars of TensorBoard's log, in a form that needs no special reader

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
    """Call ``step(t)`` for t = 0 … steps − 1, or from the step at which an earlier call with this `directory` stopped.

    Args:
      step: takes the step's number and returns scalars to log.
      state: the variables that a step changes: ``model.variables`` (with the seeds of its dropout) and
        ``optimizer.variables``.
      settings: describe the run; a directory that holds a run with other settings is refused.
      steps: the total number of steps.
      directory: receives `settings.json`, `state/`, `tensorboard/`, and the scalars once more as `history.jsonl`.
      save_every: steps between two calls of `validate`, and at most so many between two states; a short run has twenty
        states.
      save_seconds: seconds between two states, at most, apart from the step in progress.
      log_every: steps between two entries of TensorBoard's log.
      validate: takes the number of completed steps and returns more scalars to log; it may also log images.

    Each state is written completely or not at all, and the one before it is kept: if the newest cannot be read, the run
    resumes from the other, with a warning. With several workers, each calls this function; all resume from the chief's
    state, and only the chief writes and validates.

    Returns: the seconds that the steps took, over all calls. Raises `InputError` if the directory holds a run with
    other settings, if none of the states can be read, or if another worker was lost.
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
    """The log that `run` left in `directory`: step numbers as `"step"`, and each scalar of `names` at those steps."""
    logged: dict[int, dict[str, float]] = {}
    for row in _rows(directory):
        logged.setdefault(row["step"], {}).update(row)
    rows = [row for _, row in sorted(logged.items()) if names[0] in row]
    return {name: [row[name] for row in rows] for name in ("step", *names)}


def compiled(update: Callable[..., Scalars], *, jit: bool = False) -> Callable[..., Scalars]:
    """`update` as one graph, on every replica of the `tf.distribute` strategy in scope.

    Every replica receives the whole batch. It takes its own `share`, divides its loss by the number of `replicas`,
    since Keras's optimizers sum the replicas' gradients, and returns `means` of its scalars. A step is therefore the
    same for any number of replicas, except for rounding.
    """
    strategy = tf.distribute.get_strategy()

    @tf.function(jit_compile=jit and not tf.distribute.has_strategy(), autograph=False)
    def step(*batch):
        return {
            name: strategy.experimental_local_results(value)[0] for name, value in strategy.run(update, batch).items()
        }

    return step


def is_chief() -> bool:
    """Whether this process is the only worker, or the one of several that writes."""
    cluster = tf.distribute.get_strategy().cluster_resolver
    if not cluster or not cluster.task_type:
        return True
    return cluster.task_type == "chief" or (cluster.task_id == 0 and "chief" not in cluster.cluster_spec().jobs)


def outputs(model: keras.Model, images: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """The outputs of `model` for images, [N, …], on this worker alone; `predict` would wait for the others."""
    starts = range(0, len(images), batch_size)
    return np.concatenate([model(images[i : i + batch_size], training=False).numpy() for i in starts])


def replicas() -> int:
    """The number of replicas that share a batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def share(rows: tf.Tensor) -> tf.Tensor:
    """This replica's part of a batch; `Batches` has checked that the size divides."""
    size = rows.shape[0] // replicas()
    first = size * tf.distribute.get_replica_context().replica_id_in_sync_group
    return rows[first : first + size]


def means(scalars: Scalars) -> Scalars:
    """The means over all replicas, the same on each."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, scalars)


class Batches:
    """The indices of each step's batch: a new permutation for every epoch, without its incomplete last batch."""

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
    """The states of `saved` in `folder`, named `ckpt-<completed steps>`: the newest and the one before it."""

    def __init__(self, folder: Path, saved: tf.train.Checkpoint):
        self.folder, self.saved = folder, saved
        self._newest: str | None = None

    def restore(self) -> None:
        """Restore the newest readable state, if there is one."""
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
    """The names of the states in `folder`, newest first, including incomplete ones."""
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
    """Scalars for TensorBoard and for `history`, in `directory`; None if another worker writes them."""

    def __init__(self, directory: Path | None, first: int):
        self.path = None
        if directory:
            self.path = directory / _HISTORY
            # A resumed run repeats the steps after its state, and logs them again.
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
    """The rows of the history in `directory`, without lines that a crash cut short or damaged."""
    path, rows = directory / _HISTORY, []
    for line in path.read_text(errors="replace").splitlines(keepends=True) if path.exists() else []:
        with suppress(ValueError):
            rows.append(json.loads(line if line.endswith("\n") else ""))
    return rows
