import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.models import celeba


def test_the_classifier_is_the_tutorials():
    classifier = celeba.classifier()
    # 5·5·3·64+64, 5·5·64·64+64, 16384·384+384, 384·192+192, 192·2+2
    assert classifier.count_params() == 4_864 + 102_464 + 6_291_840 + 73_920 + 386
    first, second = classifier.layers[7:9]
    assert np.all(first.bias.numpy() == np.float32(0.1))
    kernels = [first.kernel.numpy().astype(np.float64), second.kernel.numpy().astype(np.float64)]
    # Truncated at 2σ, the standard deviation is 0.8796 σ.
    assert kernels[0].std() == pytest.approx(0.8796 * 0.04, rel=0.01)
    # 0.004 · ½‖w‖² of the two hidden dense layers, and of nothing else.
    assert len(classifier.losses) == 2
    expected = sum(0.004 * 0.5 * np.square(kernel).sum() for kernel in kernels)
    assert float(sum(classifier.losses)) == pytest.approx(expected, rel=1e-5)


def test_the_normalisation_is_tensorflows(rng):
    images = 30 * rng.normal(size=(2, 5, 6, 64)).astype(np.float32)
    expected = tf.nn.local_response_normalization(images, 4, 1.0, 0.001 / 9, 0.75)
    assert np.abs(expected - images).max() > 1  # it does something at this scale
    np.testing.assert_allclose(celeba.LocalResponseNormalization()(images), expected, rtol=1e-5)


@pytest.mark.parametrize(("convolutions", "expected"), [(1, 5), (2, 9)])
def test_the_generator_has_the_papers_layers(convolutions, expected):
    generator = celeba.began(8, 16, convolutions).generator
    layers = [layer for layer in generator.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(layers) == expected
    assert [layer.filters for layer in layers] == [8] * (expected - 1) + [3]
    assert [layer.activation.__name__ for layer in layers] == ["elu"] * (expected - 1) + ["linear"]
    assert [layer.output.shape[1] for layer in layers[::convolutions]] == [8, 16, 32, 64, 64]


@pytest.mark.slow
def test_the_papers_width_builds_and_inverts(rng):
    generator = celeba.began().generator
    # 128·8192+8192, four of 3·3·128·128+128, 3·3·128·3+3
    assert generator.count_params() == 1_056_768 + 4 * 147_584 + 3_459
    target = generator(rng.normal(size=(1, 128)).astype(np.float32))
    start = inc.LatentProjector(generator, inc.Adam(0.05, 1), inc.Normal(stddev=2.0))(target)
    found = inc.LatentProjector(generator, inc.Adam(0.05, 20), inc.Normal(stddev=2.0))(target)
    assert found.distances[0] < 0.8 * start.distances[0]


def test_the_discriminator_narrows_as_the_repositorys():
    began = celeba.began(8, 16)
    convolutions = [layer for layer in began.encoder.layers if isinstance(layer, keras.layers.Conv2D)]
    shapes = [layer.output.shape[1:] for layer in convolutions]
    assert shapes == [
        (64, 64, 8), (64, 64, 8), (32, 32, 16), (32, 32, 16), (16, 16, 24), (16, 16, 24), (8, 8, 32), (8, 8, 32)
    ]  # fmt: skip
    assert began.encoder.output_shape == (None, 16)
    assert began.decoder.count_params() == began.generator.count_params()


def test_it_is_saved_with_its_codes_distribution(tmp_path):
    began = celeba.began(4, 8, latent_stddev=3.0)
    began.save(tmp_path / "began.keras")
    loaded = keras.saving.load_model(tmp_path / "began.keras", safe_mode=True)
    assert loaded.latent_stddev == 3.0
    np.testing.assert_array_equal(loaded.sample(3, seed=1), began.sample(3, seed=1))
    np.testing.assert_array_equal(loaded(began.sample(2, 0)), began(began.sample(2, 0)))
