import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf import training
from inc_tf.models.diffusion import LinearSchedule, TimeEmbedding, unet
from inc_tf.training import diffusion, loop


@pytest.mark.slow
def test_recipe_lowers_the_error_of_the_predicted_noise(digits, tmp_path):
    """An untrained network predicts no noise, whose error is its variance, 1."""
    assert abs(diffusion.noise_mse(unet(width=4), digits).value - 1) < 0.01
    written = training.train("digits-diffusion", steps=60, run_dir=tmp_path / "run")
    assert loop.history(tmp_path / "run", ["noise_mse"])["noise_mse"][-1] < 0.7
    # So early the average of the weights, which the recipe keeps, has not gone as far.
    assert 0.1 < diffusion.noise_mse(keras.saving.load_model(written), digits).value < 1


def test_training_noises_images_by_the_schedule(digits):
    images = tf.constant(digits.images[:200])
    noised, times, noise = diffusion._noised(images, tf.constant([1, 2]), digits.bounds)
    signal = LinearSchedule().signal()[times.numpy().astype(int)][:, None, None, None]
    expected = np.sqrt(signal) * (2 * digits.images[:200] - 1) + np.sqrt(1 - signal) * noise
    np.testing.assert_allclose(noised, expected, atol=1e-5)
    assert 1 <= times.numpy().min() < 50
    assert 950 < times.numpy().max() <= 1000


def test_network_tells_times_apart(rng):
    keras.utils.set_random_seed(0)
    model = unet(width=4)
    image = tf.constant(rng.normal(size=(1, 28, 28, 1)).astype(np.float32))
    assert np.abs(model([image, tf.constant([1.0])])).max() == 0
    model.set_weights([rng.normal(scale=0.2, size=weight.shape) for weight in model.get_weights()])
    one, other = (model([image, tf.constant([t])]) for t in (10.0, 500.0))
    assert np.abs(one - other).max() > 1e-3
    embedded = TimeEmbedding()(tf.constant([0.0, 3.0])).numpy()
    np.testing.assert_allclose(embedded[0], [0.0] * 16 + [1.0] * 16)
    np.testing.assert_allclose(embedded[1, [0, 15, 16]], [np.sin(3), 3e-4, np.cos(3)], rtol=1e-4)
