import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.errors import InputError


def draw(start, generator, images, seed: int = 0) -> np.ndarray:
    prepare, draw = start.compile(generator)
    return draw(tf.constant(images), tf.constant(seed), *prepare(tf.constant(seed))).numpy()


def test_zeros_are_zero_and_one_a_start(vae, digits):
    np.testing.assert_array_equal(draw(inc.Zeros(), vae.generator, digits.images[:3]), np.zeros((3, 1, 20)))


def test_the_encoder_starts_from_its_own_code(vae, digits):
    codes = draw(inc.FromEncoder(vae.encoder), vae.generator, digits.images[:5])
    np.testing.assert_allclose(codes[:, 0], vae.encoder(digits.images[:5]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("restarts", [1, 3])
def test_the_nearest_are_the_nearest_of_the_candidates(vae, digits, restarts):
    images = digits.images[:6]
    start = inc.Nearest(restarts, candidates=200)
    codes = draw(start, vae.generator, images)
    everyone = draw(inc.Nearest(200, candidates=200), vae.generator, images)[0]
    outputs = vae.generator(everyone).numpy()
    distances = np.linalg.norm((images[:, np.newaxis] - outputs[np.newaxis]).reshape(6, 200, -1), axis=2)
    expected = everyone[np.argsort(distances, axis=1)[:, :restarts]]
    np.testing.assert_allclose(codes, expected, atol=1e-6)


def test_the_nearest_of_another_seed_are_others(vae, digits):
    start = inc.Nearest(candidates=100)
    first, again, other = (draw(start, vae.generator, digits.images[:4], seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_the_nearest_are_those_of_the_generator_as_it_is(digits):
    generator = inc.load("digits-vae").generator
    images = digits.images[:4]
    projector = inc.LatentProjector(generator, inc.Adam(steps=1), inc.Nearest(candidates=100))
    before = projector(images, seed=3).codes.numpy()
    generator.set_weights([-weight for weight in generator.get_weights()])
    fresh = inc.LatentProjector(generator, inc.Adam(steps=1), inc.Nearest(candidates=100))
    after = projector(images, seed=3).codes.numpy()
    np.testing.assert_array_equal(after, fresh(images, seed=3).codes)
    assert np.all(np.any(after != before, axis=1))


def test_more_restarts_than_candidates_are_refused(vae):
    with pytest.raises(InputError, match="11 restarts of 10 candidates"):
        inc.LatentProjector(vae.generator, start=inc.Nearest(11, candidates=10))


@pytest.mark.parametrize("shapes", [((28, 28, 1), 19), ((14, 28, 1), 20)])
def test_an_encoder_of_other_images_or_codes_is_refused(vae, shapes):
    layers = [keras.layers.Input(shapes[0]), keras.layers.Flatten(), keras.layers.Dense(shapes[1])]
    with pytest.raises(InputError, match=r"for this generator it must map \(None, 28, 28, 1\) to \(None, 20\)"):
        inc.LatentProjector(vae.generator, start=inc.FromEncoder(keras.Sequential(layers)))


@pytest.mark.slow
def test_an_encoders_weights_survive_saving(vae, digits, classifier, tmp_path):
    projector = inc.LatentProjector(vae.generator, inc.LevenbergMarquardt(2), inc.FromEncoder(vae.encoder))
    defense = inc.InvertAndClassify(classifier, projector)
    before = defense(digits.images[:3])
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    np.testing.assert_allclose(loaded(digits.images[:3]).codes, before.codes, rtol=1e-5, atol=1e-5)
    codes = loaded.projector.start.encoder(digits.images[:3])
    np.testing.assert_allclose(codes, vae.encoder(digits.images[:3]), rtol=1e-6)


@pytest.mark.parametrize("start", [inc.Zeros(), inc.Nearest(2, candidates=50), inc.Normal(3, 0.5)])
def test_a_start_survives_saving(start):
    config = keras.saving.serialize_keras_object(start)
    assert keras.saving.deserialize_keras_object(config) == start
