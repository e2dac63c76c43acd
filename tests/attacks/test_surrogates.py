"""The substitute model and the encoder that imitates the inversion: what an attack is run on in a defence's place."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from attack_measures import predictions, success

import inc_tf as inc
from inc_tf.attacks import fgsm, query
from inc_tf.training import train_inversion_encoder, train_substitute


@pytest.fixture(scope="module")
def train():
    return inc.data.load("digits", "train").take(600)


@pytest.fixture(scope="module")
def answers(model, train):
    """Of an oracle that takes every class for the next one, so that it cannot be mistaken for the model."""
    return query(lambda images: (tf.argmax(model(images), axis=1) + 1) % 10, model, train.images, bounds=train.bounds)


@pytest.fixture(scope="module")
def generator():
    """Of 28×28 images whose four quarters are as bright as the code's four numbers."""
    network = keras.Sequential(
        [keras.layers.Input((4,)), keras.layers.Reshape((2, 2, 1)), keras.layers.UpSampling2D(14)]
    )
    return network


def test_query_adds_the_inner_classifiers_adversarial_inputs(answers, model, train):
    assert len(answers) == 2 * len(train)
    np.testing.assert_array_equal(answers.images[::2], train.images)
    assert np.abs(answers.images[1::2] - train.images).max() == pytest.approx(0.1, abs=1e-6)
    assert success(model, answers.images[1::2], predictions(model, train.images)) > 0.3
    np.testing.assert_array_equal(answers.labels, (predictions(model, answers.images) + 1) % 10)


def test_substitute_learns_the_oracle_and_its_attacks_transfer(answers, model, data, tmp_path):
    network = train_substitute(model, answers, steps=400, directory=tmp_path / "run")
    shifted = (data.labels + 1) % 10
    assert [type(layer) for layer in network.layers] == [type(layer) for layer in model.layers]
    assert success(network, data.images, shifted) < 0.15
    found = fgsm(network, data.images, shifted, bounds=data.bounds, epsilon=0.2)
    assert success(model, found, data.labels) > 0.5


def test_a_substitute_repeats_itself_with_its_seed(answers, model, data, tmp_path):
    networks = [
        train_substitute(model, answers, seed=seed, steps=5, directory=tmp_path / str(i))
        for i, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (network(data.images).numpy() for network in networks)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_substitute_refuses_too_few_answers(answers, model, tmp_path):
    with pytest.raises(inc.InputError, match="There are 5 answers; there must be at least 10"):
        train_substitute(model, answers.take(5), directory=tmp_path / "run")


@pytest.mark.slow
def test_encoder_learns_the_inversion_and_is_attacked_through(generator, tmp_path):
    codes = np.random.default_rng(0).uniform(0, 1, (300, 4)).astype(np.float32)
    images = generator(codes).numpy()
    encoder = train_inversion_encoder(generator, images, codes, steps=150, directory=tmp_path / "run")
    assert np.mean(np.square(encoder(images) - codes)) < 0.01
    brighter = keras.Sequential([keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    kernel = np.zeros((28, 28, 2), np.float32)
    kernel[:, :14, 0], kernel[:, 14:, 1] = 1 / 14, 1 / 14
    brighter.layers[1].set_weights([kernel.reshape(784, 2), np.zeros(2)])
    defense = inc.InvertAndClassify(brighter, inc.EncoderProjector(encoder, generator))

    def through(images):
        return defense(images).logits

    labels = predictions(brighter, images)
    assert success(through, images, labels) < 0.1
    assert success(through, fgsm(through, images, labels, bounds=(0.0, 1.0), epsilon=0.3), labels) > 0.5


@pytest.mark.parametrize("shape", [(9, 4), (10, 3)])
def test_encoder_refuses_codes_of_another_shape(generator, tmp_path, shape):
    with pytest.raises(inc.InputError, match=r"they must be \[10, 4\], one for each image"):
        train_inversion_encoder(
            generator, np.zeros((10, 28, 28, 1), np.float32), np.zeros(shape, np.float32), directory=tmp_path / "run"
        )
