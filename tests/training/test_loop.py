from functools import partial

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


@pytest.mark.parametrize(
    ("build", "train"),
    [(mnist.classifier, classifier.train), (mnist.vae, vae.train), (mnist.classifier, against_pairs)],
    ids=["classifier", "vae", "against pairs"],
)
def test_killed_run_carries_on_to_the_same_bits(build, train, tmp_path, monkeypatch):
    splits = data.load("digits", "train").take(60), data.load("digits", "validation").take(10)
    save_often = loop.run
    monkeypatch.setattr(loop, "run", lambda *args, **kwargs: save_often(*args, **{**kwargs, "save_every": 2}))

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
    run(tmp_path / "killed", killed_at=5)  # after the state of step 4
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

        loop.run(step, [], settings={}, steps=8, directory=tmp_path, save_every=4, log_every=1)

    with pytest.raises(Killed):
        run(0.0, killed_at=6)
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"step": 7, "lo')  # a crash cut it
    run(0.25)
    assert loop.history(tmp_path, ["loss"]) == {
        "step": [1, 2, 3, 4, 5, 6, 7, 8],
        "loss": [0.0, 1.0, 2.0, 3.0, 4.25, 5.25, 6.25, 7.25],
    }
