"""Appendix A: Autoencode-and-Classify, and eq. (12)'s attack through it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from attack_measures import success

import inc_tf as inc
from inc_tf.attacks import fgsm

# Nothing keeps a linear autoencoder to the bounds.
pytestmark = pytest.mark.filterwarnings("ignore:Of the values of G")


@pytest.fixture(scope="module")
def projector() -> inc.EncoderProjector:
    """A linear autoencoder of the digits, by their first 20 principal components."""
    images = inc.data.load("digits", "train").images.reshape(-1, 784)
    mean = images.mean(axis=0)
    components = np.linalg.svd(images - mean, full_matrices=False)[2][:20]
    encoder = keras.Sequential([keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(20)])
    encoder.layers[1].set_weights([components.T, -components @ mean])
    generator = keras.Sequential(
        [keras.layers.Input((20,)), keras.layers.Dense(784), keras.layers.Reshape((28, 28, 1))]
    )
    generator.layers[0].set_weights([components, mean])
    return inc.EncoderProjector(encoder, generator)


def test_is_one_pass_through_encoder_and_generator(projector, data):
    projection = projector(tf.constant(data.images))
    codes = projector.encoder(data.images)
    np.testing.assert_allclose(projection.codes, codes, atol=1e-5)
    np.testing.assert_allclose(projection.images, projector.generator(codes), atol=1e-5)
    distances = np.linalg.norm((projection.images - data.images).numpy().reshape(len(data), -1), axis=1)
    np.testing.assert_allclose(projection.distances, distances, rtol=1e-5)


def test_eq_12_attack_breaks_autoencode_and_classify(projector, model, data):
    defense = inc.InvertAndClassify(model, projector)

    def logits(x):
        return defense(x).logits

    clean = success(logits, data.images, data.labels)
    through = fgsm(logits, data.images, data.labels, bounds=data.bounds, epsilon=0.15)
    beside = fgsm(model, data.images, data.labels, bounds=data.bounds, epsilon=0.15)
    assert clean < 0.2
    assert success(logits, through, data.labels) > success(logits, beside, data.labels)


def test_a_defense_of_it_is_saved_and_loaded(projector, model, data, tmp_path):
    defense = inc.InvertAndClassify(model, projector, threshold=6.0)
    expected = defense(tf.constant(data.images))
    defense.save(tmp_path / "autoencode.keras")
    found = keras.saving.load_model(tmp_path / "autoencode.keras")(tf.constant(data.images))
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.rejected, expected.rejected)


def test_refuses_parts_that_do_not_fit(projector):
    with pytest.raises(inc.InputError, match="each must take what the other returns"):
        inc.EncoderProjector(projector.generator, projector.generator)


def test_refuses_images_of_another_size(projector):
    with pytest.raises(inc.InputError, match="they must be"):
        projector(tf.zeros((1, 32, 32, 1)))
