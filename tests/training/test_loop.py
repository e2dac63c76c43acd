import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf import data
from inc_tf.errors import InputError
from inc_tf.models import mnist
from inc_tf.training import classifier, loop, manifold, vae


def test_batches_go_through_every_image_once_an_epoch_in_a_fresh_order():
    batches = loop.Batches(10, 5, seed=3)
    epochs = [np.concatenate([batches[2 * e], batches[2 * e + 1]]) for e in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(10))
    assert not np.array_equal(epochs[0], epochs[1])
    # A step's batch depends on its number alone.
    np.testing.assert_array_equal(loop.Batches(10, 5, seed=3)[4], epochs[2][:5])
    assert not np.array_equal(loop.Batches(10, 5, seed=4)[4], epochs[2][:5])


@pytest.mark.parametrize("batch_size", [0, 11])
def test_rejects_batch_that_cannot_be_drawn(batch_size):
    with pytest.raises(InputError, match=f"A batch of {batch_size} images cannot be drawn from 10"):
        loop.Batches(10, batch_size, seed=0)


class Killed(Exception):
    pass


against_pairs = partial(
    manifold.train, generator="digits-vae", eta=0.4, pairs=4, attack_steps=3, lifetime=3, learning_rate=1e-3
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "train"),
    [(mnist.classifier, classifier.train), (mnist.vae, vae.train), (mnist.classifier, against_pairs)],
    ids=["classifier", "vae", "against pairs"],
)
def test_killed_run_carries_on_to_the_same_bits(build, train, tmp_path, monkeypatch):
    splits = data.load("digits", "train").take(60), data.load("digits", "validation").take(10)

    def run(directory, killed_at=None):
        keras.utils.set_random_seed(0)
        model = build()
        if killed_at is not None:
            draw = loop.Batches.__getitem__

            def draw_or_die(self, t):
                if t == killed_at:
                    raise Killed
                return draw(self, t)

            with monkeypatch.context() as patch:
                patch.setattr(loop.Batches, "__getitem__", draw_or_die)
                with pytest.raises(Killed):
                    train(model, *splits, settings={"seed": 0}, steps=7, batch_size=20, directory=directory)
            return None
        train(model, *splits, settings={"seed": 0}, steps=7, batch_size=20, directory=directory)
        return model.get_weights()

    whole = run(tmp_path / "whole")
    run(tmp_path / "killed", killed_at=5)
    resumed = run(tmp_path / "killed")
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_rejects_directory_of_another_run(tmp_path):
    def run(settings):
        return loop.run(lambda t: {}, [], settings=settings, steps=1, directory=tmp_path, save_every=1)

    run({"seed": 0})
    with pytest.raises(InputError, match=r"holds a run with {'seed': 0}, not {'seed': 1}"):
        run({"seed": 1})


def test_scalars_go_to_tensorboard_and_history(tmp_path):
    loop.run(
        lambda t: {"loss": tf.constant(float(t)), "rate": tf.constant(0.5)},
        [],
        settings={},
        steps=200,
        directory=tmp_path,
        save_every=200,
        validate=lambda t: {"validation/accuracy": t / 400},
    )
    (events,) = (str(path) for path in (tmp_path / "tensorboard").iterdir())
    shown = [
        (event.step, value.tag, tf.make_ndarray(value.tensor).item())
        for event in map(tf.compat.v1.Event.FromString, tf.data.TFRecordDataset(events).as_numpy_iterator())
        for value in event.summary.value
    ]
    assert sorted(shown) == [
        (100, "loss", 99.0),
        (100, "rate", 0.5),
        (200, "loss", 199.0),
        (200, "rate", 0.5),
        (200, "validation/accuracy", 0.5),
    ]
    assert loop.history(tmp_path, ["loss", "rate"]) == {"step": [100, 200], "loss": [99.0, 199.0], "rate": [0.5, 0.5]}
    assert loop.history(tmp_path, ["validation/accuracy"]) == {"step": [200], "validation/accuracy": [0.5]}


def test_history_of_a_resumed_run_has_each_step_once(tmp_path):
    def run(offset, killed_at=None):
        def step(t):
            if t == killed_at:
                raise Killed
            return {"loss": tf.constant(t + offset)}

        loop.run(step, [], settings={}, steps=40, directory=tmp_path, save_every=40, log_every=1)

    with pytest.raises(Killed):
        run(0.0, killed_at=7)  # after the state of step 6
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"step": 8, "lo')  # a crash cut it
    run(0.25)
    assert loop.history(tmp_path, ["loss"]) == {
        "step": list(range(1, 41)),
        "loss": [*map(float, range(6)), *(t + 0.25 for t in range(6, 40))],
    }


def count(directory: Path, steps: int = 8, killed_at: int | None = None, **options) -> list[int]:
    """The steps that a run takes, each of which adds its number to a sum that is right at the end."""
    total = keras.Variable(0.0)
    taken = []

    def step(t):
        if t == killed_at:
            raise Killed
        total.assign_add(float(t))
        taken.append(t)
        return {"total": tf.identity(total.value)}

    loop.run(step, [total], settings={}, steps=steps, directory=directory, **{"save_every": steps, **options})
    assert float(total) == sum(range(steps))
    return taken


def test_a_run_saves_its_state_once_the_seconds_are_over(tmp_path):
    with pytest.raises(Killed):
        count(tmp_path / "often", 1000, killed_at=7, save_seconds=0)
    assert count(tmp_path / "often", 1000)[0] == 7
    with pytest.raises(Killed):
        count(tmp_path / "seldom", 1000, killed_at=7, save_seconds=3600)
    assert count(tmp_path / "seldom", 1000)[0] == 0


def test_a_short_run_has_twenty_states(tmp_path):
    with pytest.raises(Killed):
        count(tmp_path, 200, killed_at=125)
    assert count(tmp_path, 200) == list(range(120, 200))
    assert {path.name.partition(".")[0] for path in (tmp_path / "state").iterdir()} == {"ckpt-190", "ckpt-200"}


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


DAMAGES = [empty, truncate, alter, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("part", ["index", "data"])
def test_a_damaged_state_falls_back_to_the_one_before(part, damage, tmp_path):
    with pytest.raises(Killed):
        count(tmp_path, killed_at=6, save_every=2)
    (newest,) = (tmp_path / "state").glob(f"ckpt-6.{part}*")
    damage(newest)
    with pytest.warns(UserWarning, match=r"newest state in .* cannot be read \(ckpt-6: .* the one before, ckpt-5"):
        assert count(tmp_path, save_every=2) == [5, 6, 7]


@pytest.mark.parametrize("damage", DAMAGES)
def test_two_damaged_states_are_one_sentence(damage, tmp_path):
    with pytest.raises(Killed):
        count(tmp_path, killed_at=6)
    for path in (tmp_path / "state").glob("*.data*"):
        damage(path)
    with pytest.raises(InputError, match=r"No state in '.*state' can be read \(ckpt-6: .*delete that folder"):
        count(tmp_path)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [(empty, "settings.json' is damaged"), (truncate, "is damaged"), (Path.unlink, "has states, but no settings.json")],
)
def test_damaged_settings_are_one_sentence(damage, sentence, tmp_path):
    with pytest.raises(Killed):
        count(tmp_path, killed_at=6)
    damage(tmp_path / "settings.json")
    with pytest.raises(InputError, match=sentence):
        count(tmp_path)


def test_another_networks_state_is_refused(tmp_path):
    count(tmp_path)
    with pytest.raises(InputError, match="is another network's"):
        loop.run(lambda t: {}, [keras.Variable([0.0, 1.0])], settings={}, steps=8, directory=tmp_path, save_every=8)


def test_a_damaged_history_keeps_the_rows_that_can_be_read(tmp_path):
    with pytest.raises(Killed):
        count(tmp_path, killed_at=6, log_every=1)
    path = tmp_path / "history.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], b"\x00\xff\x00", *lines[3:], b""]))
    count(tmp_path, log_every=1)
    assert loop.history(tmp_path, ["total"])["step"] == [1, 2, 4, 5, 6, 7, 8]


KILLED_AT_120 = """
import os, signal, sys
from pathlib import Path
import keras
from inc_tf.training import loop

total = keras.Variable(0.0)
def step(t):
    if t == 120 and sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    print(t)
    total.assign_add(float(t))
    return {"total": total.value}
loop.run(step, [total], settings={}, steps=200, directory=Path(sys.argv[1]), save_every=1000)
print(float(total))
"""


@pytest.mark.slow
def test_a_process_killed_at_step_120_carries_on_from_there(tmp_path):
    def run(word):
        return subprocess.run(
            [sys.executable, "-c", KILLED_AT_120, str(tmp_path), word],
            capture_output=True,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        )

    assert run("killed").returncode == -signal.SIGKILL
    carried_on = run("again")
    assert carried_on.returncode == 0, carried_on.stderr
    said = carried_on.stdout.split()
    assert said[:-1] == [str(t) for t in range(120, 200)]
    assert float(said[-1]) == sum(range(200))
