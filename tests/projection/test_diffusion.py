from decimal import Decimal

import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf import zoo
from inc_tf.errors import InputError
from inc_tf.models.diffusion import LinearSchedule, unet
from inc_tf.projection.diffusion import coefficients
from inc_tf.saving import configuration

SPREAD = 0.2


@keras.saving.register_keras_serializable(package="test")
class GaussianNoise(keras.layers.Layer):
    """The best prediction of the noise where clean pixels are N(0, `SPREAD`²), each by itself."""

    def call(self, images, times):
        signal = tf.gather(tf.constant(LinearSchedule().signal(), tf.float32), tf.cast(times, tf.int32))
        signal = signal[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return tf.sqrt(1 - signal) * images / (signal * SPREAD**2 + 1 - signal)


def gaussian(shape=(4, 4, 1)) -> keras.Model:
    images, times = keras.Input(shape), keras.Input(())
    return keras.Model([images, times], GaussianNoise()(images, times))


@pytest.fixture(scope="module")
def small() -> inc.DiffusionProjector:
    """Four steps of an untrained network, whose last layer is not zero."""
    keras.utils.set_random_seed(0)
    model = unet(width=4)
    model.layers[-1].kernel.assign(tf.random.stateless_normal(model.layers[-1].kernel.shape, [0, 0], stddev=0.3))
    return inc.DiffusionProjector(model, time=400, steps=4)


def test_schedule_is_that_of_ho_et_al():
    """β from 1e-4 to 0.02 in 1000 steps, multiplied up in exact arithmetic; ᾱ_T is 4.04e-5 as published."""
    signal = LinearSchedule().signal()
    product, exact = Decimal(1), [Decimal(1)]
    for t in range(1000):
        product *= 1 - (Decimal("1e-4") + t * (Decimal("0.02") - Decimal("1e-4")) / 999)
        exact.append(product)
    np.testing.assert_allclose(signal, np.array(exact, float), rtol=1e-12)
    assert signal[1] == pytest.approx(0.9999)
    assert signal[1000] == pytest.approx(4.0358e-5, rel=1e-4)


def test_ddim_of_a_gaussian_is_its_flow():
    """Where ε is exact, DDIM in small steps scales x_t by the ratio of the spreads (Song et al., 2021)."""
    projector = inc.DiffusionProjector(gaussian(), time=300, steps=300, eta=0.0)
    images = np.random.default_rng(0).uniform(0.45, 0.55, (3, 4, 4, 1)).astype(np.float32)
    seeds = tf.constant([1, 2, 3])
    noise = projector._noise(tf.constant(images), seeds, 300)[:, 0]
    signal = LinearSchedule().signal()[300]
    noised = np.sqrt(signal) * (2 * images - 1) + np.sqrt(1 - signal) * noise
    expected = np.clip(noised * SPREAD / np.sqrt(signal * SPREAD**2 + 1 - signal), -1, 1)
    np.testing.assert_allclose(2 * projector(images, seed=seeds).images - 1, expected, atol=0.02)


def test_ddpm_keeps_the_distribution_of_a_gaussian():
    projector = inc.DiffusionProjector(gaussian((28, 28, 1)), time=300, steps=300)
    images = 0.5 + SPREAD / 2 * np.random.default_rng(0).normal(size=(8, 28, 28, 1)).clip(-3, 3).astype(np.float32)
    purified = 2 * projector(images, seed=5).images.numpy() - 1
    assert purified.std() == pytest.approx(SPREAD, rel=0.04)
    signal = LinearSchedule().signal()[300]
    kept = signal * SPREAD**2 / (signal * SPREAD**2 + 1 - signal)  # of the image: its correlation with its purification
    assert np.corrcoef(np.ravel(images), np.ravel(purified))[0, 1] == pytest.approx(kept, abs=0.03)


def test_image_does_not_depend_on_its_batch(small, digits):
    together, alone = small(digits.images[:5], seed=3), small(digits.images[3:4], seed=3)
    np.testing.assert_allclose(together.images[3], alone.images[0], atol=1e-5)
    mixed = small(digits.images[:2], seed=[7, 3])
    np.testing.assert_allclose(mixed.images[1], together.images[1], atol=1e-5)
    assert np.abs(mixed.images[0] - together.images[0]).max() > 0.1
    assert np.abs(small(digits.images[:1], seed=3).images - small(digits.images[:1], seed=4).images).max() > 0.1


def test_large_batches_are_cut(small, digits):
    whole = small(digits.images[:5], seed=3).images
    cut = inc.DiffusionProjector.from_config(small.get_config())
    cut.model.set_weights(small.model.get_weights())
    cut._batch = 2
    np.testing.assert_allclose(cut(digits.images[:5], seed=3).images, whole, atol=1e-5)


def test_gradient_of_a_gaussians_flow_is_known():
    projector = inc.DiffusionProjector(gaussian(), time=300, steps=300, eta=0.0)
    images = tf.constant(np.random.default_rng(0).uniform(0.45, 0.55, (2, 4, 4, 1)).astype(np.float32))
    projector._noise = lambda *_: tf.zeros([2, 1, 4, 4, 1])
    with tf.GradientTape() as tape:
        tape.watch(images)
        purified = tf.function(projector.purify, autograph=False)(images, tf.constant([0, 0]))
    signal = LinearSchedule().signal()[300]
    expected = np.sqrt(signal) * SPREAD / np.sqrt(signal * SPREAD**2 + 1 - signal)
    np.testing.assert_allclose(tape.gradient(purified, images), np.full(images.shape, expected), rtol=0.03)


def test_recomputed_gradient_is_that_of_what_is_kept(small, digits):
    """Against a tape over the same steps one by one, which keeps the network's activations."""
    images, seeds = tf.constant(digits.images[:2]), tf.constant([0, 1])
    noise = small._noise(images, seeds, 4)
    signal = LinearSchedule().signal()
    with tf.GradientTape() as tape:
        tape.watch(images)
        x = np.sqrt(signal[400]) * (2 * images - 1) + np.sqrt(1 - signal[400]) * noise[:, 0]
        for i, row in enumerate(coefficients(signal[400::-100], np.array([400, 300, 200, 100, 0]), 1.0)):
            predicted = small.model([x, tf.fill([2], float(row[0]))])
            clean = tf.clip_by_value((x - row[2] * predicted) / row[1], -1.0, 1.0)
            x = row[3] * clean + row[4] * (x - row[1] * clean) / row[2] + row[5] * noise[:, i + 1]
        kept = (x + 1) / 2
    expected = tape.gradient(kept, images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        purified = tf.function(small.purify, autograph=False)(images, seeds)
    np.testing.assert_allclose(purified, kept, atol=1e-5)
    np.testing.assert_allclose(tape.gradient(purified, images), expected, atol=1e-4)
    assert np.abs(expected).max() > 0.1


def test_defence_saves_and_loads_to_the_same_bits(small, digits, classifier, tmp_path):
    defense = inc.InvertAndClassify(classifier, small)
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    np.testing.assert_array_equal(loaded(digits.images[:3], seed=2).logits, defense(digits.images[:3], seed=2).logits)
    assert configuration(loaded.projector) == configuration(small)


def test_fewer_steps_keep_the_model(small, digits, classifier):
    fewer = zoo._limited(inc.InvertAndClassify(classifier, small), 2).projector
    assert (fewer.model, fewer.time, fewer.steps) == (small.model, 400, 2)
    assert fewer(digits.images[:1]).images.shape == (1, 28, 28, 1)


def test_one_graph_serves_every_batch(small, digits):
    for n in (1, 2, 3):
        small(digits.images[:n])
    assert small._purify.experimental_get_tracing_count() == 1


def resized() -> keras.Model:
    images, times = keras.Input((28, 28, 1)), keras.Input(())
    return keras.Model([images, times], keras.layers.MaxPooling2D()(images))


def timeless() -> keras.Model:
    return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(1, 3, padding="same")])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: inc.DiffusionProjector(timeless()),
            "must take two inputs, images \\(None, H, W, C\\) and their times",
        ),
        (lambda: inc.DiffusionProjector(resized()), "maps images \\(28, 28, 1\\) to \\(14, 14, 1\\)"),
        (lambda: inc.DiffusionProjector(gaussian(), time=1001), "time is 1001; it must be from 1 to 1000"),
        (lambda: inc.DiffusionProjector(gaussian(), time=0), "time is 0; it must be a whole number, at least 1"),
        (
            lambda: inc.DiffusionProjector(gaussian(), time=300, steps=7),
            "steps is 7, which does not divide time 300; 6",
        ),
        (lambda: inc.DiffusionProjector(gaussian(), eta=1.5), "eta is 1.5; it must be between 0 and 1"),
        (
            lambda: inc.DiffusionProjector(gaussian())(np.zeros((1, 5, 4, 1), np.float32)),
            "they must be \\[N, 4, 4, 1\\]",
        ),
        (lambda: LinearSchedule(last=1.0), "it must stay below 1"),
        (lambda: LinearSchedule(steps=0), "steps is 0; it must be a whole number"),
    ],
)
def test_refuses_what_is_no_diffusion(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()


def test_classifier_of_another_size_is_refused(classifier):
    with pytest.raises(InputError, match="they must be the same"):
        inc.InvertAndClassify(classifier, inc.DiffusionProjector(gaussian()))
