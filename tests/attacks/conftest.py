"""One small trained network, planted ones, and the peers' view of them, for all tests of attacks."""

import foolbox
import keras
import numpy as np
import pytest
from art.estimators.classification import TensorFlowV2Classifier
from attack_measures import predictions

import inc_tf as inc

N = 40


@pytest.fixture(scope="session")
def model() -> keras.Model:
    """A dense network of 784-64-10, trained for 300 steps on the digits: images → logits."""
    keras.utils.set_random_seed(0)
    train = inc.data.load("digits", "train")
    network = keras.Sequential(
        [
            keras.layers.Input(train.images.shape[1:]),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    network.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network.fit(train.images, train.labels, batch_size=64, epochs=16, verbose=0)
    return network


@pytest.fixture(scope="session")
def data(model) -> inc.data.Dataset:
    """The first `N` digits of the test split that the model has right."""
    digits = inc.data.load("digits", "test")
    right = np.flatnonzero(predictions(model, digits.images) == digits.labels)[:N]
    return inc.data.Dataset("digits", "test", digits.images[right], digits.labels[right], digits.bounds)


@pytest.fixture(scope="session")
def foolbox_model(model, data) -> foolbox.Model:
    return foolbox.TensorFlowModel(model, bounds=data.bounds)


@pytest.fixture(scope="session")
def art_model(model, data) -> TensorFlowV2Classifier:
    return TensorFlowV2Classifier(
        model,
        nb_classes=10,
        input_shape=data.images.shape[1:],
        loss_object=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        clip_values=data.bounds,
    )


@pytest.fixture(scope="session")
def planted() -> keras.Model:
    """Two classes of 2×2 RGB images in [−1, 1], class 1 where the mean of the first pixel is above 0."""
    kernel = np.zeros((12, 2), np.float32)
    kernel[:3, 1] = 10.0
    return _linear(kernel, np.zeros(2))


@pytest.fixture(scope="session")
def constant() -> keras.Model:
    """Answers class 0 of two, whatever the 2×2 RGB image; its gradient is 0."""
    return _linear(np.zeros((12, 2)), np.array([3.0, 0.0]))


@pytest.fixture(scope="session")
def planted_images() -> np.ndarray:
    """Three images of class 0 of `planted`, not of the same colours."""
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 2, 2, 3)).astype(np.float32)
    images[:, 0, 0] = [[-0.1, -0.1, -0.1], [-0.2, -0.1, 0.0], [-0.15, -0.15, 0.0]]
    return images


def _linear(kernel: np.ndarray, bias: np.ndarray) -> keras.Model:
    network = keras.Sequential([keras.layers.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    network.layers[1].set_weights([kernel, bias])
    return network
