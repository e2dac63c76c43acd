import keras
import numpy as np
import pytest


@pytest.fixture(scope="package")
def files(tmp_path_factory):
    """Two classes of 6×6 images, brighter above or below, a generator of just such, and an encoder."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("files")
    above = np.zeros((6, 6, 1), np.float32)
    above[:3] = 1 / 18
    basis = np.stack([above.ravel(), above[::-1].ravel()])
    generator = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Dense(36, activation="sigmoid"), keras.layers.Reshape((6, 6, 1))]
    )
    generator.layers[0].set_weights([18 * basis, np.zeros(36, np.float32)])
    flat = [keras.layers.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    classifier, encoder = keras.Sequential(flat), keras.models.clone_model(keras.Sequential(flat))
    classifier.layers[1].set_weights([20 * basis.T])
    encoder.layers[1].set_weights([4 * basis.T])
    for name, model in (("classifier", classifier), ("generator", generator), ("encoder", encoder)):
        model.save(folder / f"{name}.keras")
    means = np.random.default_rng(0).uniform(0.3, 0.7, (12, 2)).astype(np.float32)
    images = np.repeat(means, 18, axis=1).reshape(-1, 6, 6, 1)
    np.savez(folder / "two.npz", images=images, labels=(means[:, 1] > means[:, 0]).astype(np.int64))
    return folder
