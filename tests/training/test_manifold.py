import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf import checkpoints
from inc_tf.attacks.overpowered import LOSSES, overpowered_pairs
from inc_tf.data import Dataset
from inc_tf.errors import InputError
from inc_tf.models.mnist import VAE
from inc_tf.training import manifold

ETA = 0.5


@pytest.fixture(autouse=True)
def plane(tmp_path, monkeypatch) -> keras.Model:
    """The checkpoint `plane`, whose generator's two numbers are the first two pixels of four."""
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    image, code = keras.layers.Input((2, 2, 1)), keras.layers.Input((2,))
    hidden = keras.layers.Flatten()(image)
    posterior = keras.Model(image, [keras.layers.Dense(2)(hidden), keras.layers.Dense(2)(hidden)])
    output = keras.layers.Dense(4, use_bias=False, name="pixels")(code)
    generator = keras.Model(code, keras.layers.Reshape((2, 2, 1))(output))
    generator.get_layer("pixels").set_weights([np.eye(2, 4, dtype=np.float32)])
    model = VAE(posterior, generator)
    model(np.zeros((1, 2, 2, 1), np.float32))
    checkpoints.save(model, "plane", {"metrics": {}})
    return model


def build() -> keras.Model:
    """Two classes, whose logits are ±10 times the first pixel."""
    layers = [keras.layers.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    model = keras.Sequential(layers)
    model.layers[1].set_weights([np.array([[-10.0, 10.0], [0, 0], [0, 0], [0, 0]], np.float32)])
    return model


def points(split: str) -> Dataset:
    """Points on both sides of the boundary, none within ½ of it."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(100, 2, 2, 1)).astype(np.float32)
    images[:, 0, 0, 0] += 0.5 * np.sign(images[:, 0, 0, 0])
    return Dataset("plane", split, images, (images[:, 0, 0, 0] > 0).astype(np.int64), (-5.0, 5.0))


def train(model: keras.Model, directory, **arguments) -> None:
    usual = {"generator": "plane", "eta": ETA, "batch_size": 50, "pairs": 16, "attack_steps": 20, "lifetime": 25}
    manifold.train(
        model, points("train"), points("validation"), settings={}, directory=directory, **{**usual, **arguments}
    )


def strongest(model: keras.Model, generator: keras.Model) -> float:
    found = overpowered_pairs(generator, model, 8, eta=ETA, stddev=0.1, steps=1000, learning_rate=0.02)
    return float(tf.reduce_max(LOSSES["squared"](found.logits, found.other_logits)))


@pytest.mark.slow
def test_training_flattens_what_lies_between_the_classes_and_keeps_the_data(plane, tmp_path):
    model = build()
    # ‖p − p′‖² across the boundary: 2 (σ(20·¼) − σ(−20·¼))².
    assert strongest(model, plane.generator) == pytest.approx(2 * np.tanh(2.5) ** 2, rel=0.05)
    train(model, tmp_path / "run", steps=150, mu=3.0, learning_rate=0.05)
    after = strongest(model, plane.generator)
    slope = np.subtract(*model.get_weights()[0][0])  # the logits' difference a unit of the first pixel
    assert after == pytest.approx(2 * np.tanh(slope * ETA / 4) ** 2, rel=0.05)
    assert after < 0.4
    images = points("test")
    assert np.mean(model.predict(images.images, verbose=0).argmax(1) == images.labels) > 0.98


@pytest.mark.parametrize(
    ("pairs", "lifetime", "searched"),
    [
        (6, 3, [[2] * 6, [4, 4, 2] * 2, [6, 2, 4] * 2, [2, 4, 6] * 2, [4, 6, 2] * 2]),
        (2, 4, [[2, 2], [4, 4], [6, 2], [8, 4], [2, 6]]),
    ],
)
def test_pairs_are_searched_on_for_their_lifetime_and_replaced_in_turn(pairs, lifetime, searched, plane):
    adversary = manifold.Overpowered(plane, build(), ETA, 1.0, pairs=pairs, attack_steps=2, lifetime=lifetime, seed=0)
    taken = []
    for t in range(5):
        images, feasible = adversary.find(t, tf.zeros([1, 2, 2, 1]), tf.zeros([1], tf.int64))
        assert images.shape == (pairs, 2, 2, 2, 1)
        np.testing.assert_array_equal(np.linalg.norm((images[:, 0] - images[:, 1]), axis=(1, 2))[:, 0] <= ETA, feasible)
        taken.append(adversary.variables[0].numpy().tolist())
    assert taken == searched


@pytest.mark.parametrize("name", ["eta", "mu", "pairs", "attack_steps", "lifetime"])
def test_what_must_be_above_0_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} is 0; it must be above 0"):
        train(build(), tmp_path / "run", steps=1, **{name: 0})
    assert not (tmp_path / "run").exists()
