import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf.models.wgan import wgan
from inc_tf.training import wgan as training


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Sixty steps of a narrow one on the digits, and its weights before."""
    from inc_tf import data

    keras.utils.set_random_seed(0)
    model = wgan(width=4, latent_dim=8)
    before = model.get_weights()
    train, validation = data.load("digits", "train"), data.load("digits", "validation")
    training.train(
        model,
        train,
        validation,
        settings={},
        steps=60,
        batch_size=20,
        learning_rate=2e-3,
        critic_steps=2,
        directory=tmp_path_factory.mktemp("run"),
    )
    return model, before, validation


def test_both_networks_learn(trained):
    model, before, _ = trained
    moved = [np.abs(now - then).max() for now, then in zip(model.get_weights(), before, strict=True)]
    assert min(moved[:-1]) > 1e-4
    assert moved[-1] == 0  # the critic's last bias, which no difference of scores depends on
    assert len(moved) == len(model.generator.weights) + len(model.critic.weights)


def test_critic_tells_real_from_generated_at_a_slope_of_about_one(trained):
    model, _, validation = trained
    found = training.wasserstein(model, validation)
    assert found.low > 0
    real, generated = tf.constant(validation.images[:50]), model.sample(50, seed=1)
    between = 0.5 * (real + generated)
    with tf.GradientTape() as tape:
        tape.watch(between)
        scores = model.critic(between)
    slopes = np.linalg.norm(np.reshape(tape.gradient(scores, between), (50, -1)), axis=1)
    assert 0.5 < slopes.mean() < 1.5


def test_distance_is_the_difference_of_mean_scores(trained):
    model, _, validation = trained
    generated = model.sample(len(validation), seed=0)
    expected = np.mean(model.critic(validation.images)) - np.mean(model.critic(generated))
    assert training.wasserstein(model, validation).value == pytest.approx(expected, rel=1e-3)


def test_saves_and_loads_to_the_same_bits(trained, tmp_path):
    model = trained[0]
    model.save(tmp_path / "wgan.keras")
    loaded = keras.saving.load_model(tmp_path / "wgan.keras")
    np.testing.assert_array_equal(loaded.sample(3, seed=0), model.sample(3, seed=0))
    assert loaded.sample(3, seed=0).shape == (3, 28, 28, 1)
