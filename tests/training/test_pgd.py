"""Training against PGD, on two pixels: one that is right but within the reach of ε, one beyond it that errs."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf.attacks import pgd as attack
from inc_tf.data import Dataset
from inc_tf.errors import InputError
from inc_tf.training import pgd

EPSILON = 0.2
BOUNDS = (-2.0, 2.0)


def build() -> keras.Model:
    """Two classes, a linear network that looks at the first pixel alone."""
    layers = [keras.layers.Input((1, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    model = keras.Sequential(layers)
    model.layers[1].set_weights([np.array([[-10.0, 10.0], [0.0, 0.0]], np.float32)])
    return model


def points(split: str) -> Dataset:
    """The first pixel is ±0.1, always of the class's sign; the second ±0.6, but of the other sign for one in ten."""
    labels = np.arange(200) % 2
    signs = 2.0 * labels - 1
    wrong = np.where(np.arange(200) % 20 < 2, -1, 1)
    images = np.stack([0.1 * signs, 0.6 * signs * wrong], axis=1).reshape(-1, 1, 2, 1).astype(np.float32)
    return Dataset("pixels", split, images, labels.astype(np.int64), BOUNDS)


def accuracy(model: keras.Model, images) -> float:
    return float(np.mean(model(images).numpy().argmax(axis=1) == points("test").labels))


def robust_accuracy(model: keras.Model) -> float:
    test = points("test")
    return accuracy(model, attack(model, test.images, test.labels, bounds=BOUNDS, epsilon=EPSILON))


def train(model: keras.Model, directory, **arguments) -> None:
    usual = {"epsilon": EPSILON, "attack_steps": 5, "batch_size": 50, "learning_rate": 0.1}
    pgd.train(model, points("train"), points("validation"), settings={}, directory=directory, **{**usual, **arguments})


def test_training_turns_to_what_the_attack_cannot_reach(tmp_path):
    model = build()
    assert accuracy(model, points("test").images) == 1.0
    assert robust_accuracy(model) == 0.0
    train(model, tmp_path / "run", steps=150, ramp=20, mu=10.0)
    assert robust_accuracy(model) == 0.9
    first, second = np.abs(model.get_weights()[0])
    assert second.min() > first.max()


def test_the_ball_grows_to_its_size():
    test = points("test")
    adversary = pgd.PGD(build(), BOUNDS, EPSILON, attack_steps=5, ramp=4, growth=1, mu=2.0, seed=0)
    images, labels = tf.constant(test.images), tf.constant(test.labels)
    radii = [np.abs(adversary.find(t, images, labels)[0] - test.images).max() for t in (0, 1, 3, 9)]
    np.testing.assert_allclose(radii, [0.05, 0.1, 0.2, 0.2], atol=1e-6)
    loss, logged = adversary.loss(images, labels)
    assert float(loss) == pytest.approx(2 * np.log1p(np.exp(-2.0)), rel=1e-5)  # logits ±1
    assert float(logged["adversarial/accuracy"]) == 1.0


def test_the_attack_grows_to_its_steps():
    test, model, calls = points("test"), build(), tf.Variable(0)

    def counted(images):
        calls.assign_add(1)  # within the compiled gradient too
        return model(images)

    adversary = pgd.PGD(counted, BOUNDS, EPSILON, attack_steps=5, ramp=1, growth=10, mu=2.0, seed=0)
    steps = []
    for t in (0, 1, 2, 9, 20):
        calls.assign(0)
        adversary.find(t, tf.constant(test.images), tf.constant(test.labels))
        steps.append(int(calls))
    assert np.subtract(steps, steps[0]).tolist() == [0, 0, 1, 4, 4]


@pytest.mark.parametrize("name", ["epsilon", "attack_steps", "ramp", "growth", "mu"])
def test_what_must_be_above_0_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=f"{name} is 0; it must be above 0"):
        train(build(), tmp_path / "run", steps=1, **{name: 0})
    assert not (tmp_path / "run").exists()
