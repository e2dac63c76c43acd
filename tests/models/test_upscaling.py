import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf.models.skip import BatchStatistics
from inc_tf.models.upscaling import JoinedConvolution, UpConvolution, convolve_doubled, doubled_variance

SHAPES = [(2, 5, 4, 3), (1, 1, 1, 2), (2, 1, 3, 2), (1, 2, 1, 3), (1, 7, 6, 5)]


def doubled(images: tf.Tensor) -> tf.Tensor:
    return tf.image.resize(images, [2 * images.shape[1], 2 * images.shape[2]])


def with_gradients(function, *inputs) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        answer = function(*inputs)
    weights = np.random.default_rng(5).normal(size=answer.shape)
    gradients = tape.gradient(answer, inputs, tf.constant(weights, tf.float32))
    return [answer.numpy(), *(gradient.numpy() for gradient in gradients)]


@pytest.mark.parametrize("shape", SHAPES)
def test_it_convolves_what_is_doubled_and_padded_by_reflection(rng, shape):
    def directly(images, kernel):
        padded = tf.pad(doubled(images), [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        return tf.nn.conv2d(padded, kernel, 1, "VALID")

    images = tf.constant(rng.normal(size=shape), tf.float32)
    kernel = tf.constant(rng.normal(size=(3, 3, shape[3], 4)), tf.float32)
    in_a_graph = tf.function(convolve_doubled, autograph=False)
    both = (with_gradients(function, images, kernel) for function in (in_a_graph, directly))
    for found, expected in zip(*both, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_variance_is_that_of_what_is_doubled(rng, shape):
    images = tf.constant(rng.normal(0.5, 1.5, size=shape), tf.float32)
    expected = with_gradients(lambda x: tf.nn.moments(doubled(x), [0, 1, 2])[1], images)
    for found, value in zip(with_gradients(doubled_variance, images), expected, strict=True):
        np.testing.assert_allclose(found, value, atol=1e-5)


def normalised(images: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(images, [0, 1, 2])
    return gamma * (images - mean) * tf.math.rsqrt(variance + 1e-5) + beta


def test_the_next_normalisation_takes_the_references_offsets_away(rng):
    layer, following = JoinedConvolution(5), BatchStatistics()
    skip = tf.constant(rng.normal(1.0, 2.0, size=(2, 8, 6, 4)), tf.float32)
    deep = tf.constant(rng.normal(-1.0, 0.5, size=(2, 4, 3, 7)), tf.float32)
    following(layer((skip, deep)))
    kernel, gamma = (tf.constant(rng.normal(size=v.shape), tf.float32) for v in (layer.kernel, layer.gamma))
    beta, bias = (tf.constant(rng.normal(size=n), tf.float32) for n in (11, 5))

    def ours(skip, deep, kernel, gamma):
        answer, _ = layer.stateless_call([kernel, gamma], [], (skip, deep))
        return following(answer)

    def reference(skip, deep, kernel, gamma):
        joined = normalised(tf.concat([skip, doubled(deep)], axis=3), gamma, beta)
        padded = tf.pad(joined, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        return normalised(tf.nn.conv2d(padded, kernel, 1, "VALID") + bias, tf.ones(5), tf.zeros(5))

    both = (with_gradients(function, skip, deep, kernel, gamma) for function in (ours, reference))
    for found, expected in zip(*both, strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def direct_and_at_once(channels: int, **settings) -> tuple[keras.Sequential, keras.Sequential]:
    """A doubling by nearest neighbour and its convolution, and the same in one layer; bias, ELU and weights alike."""
    settings = {"activation": "elu", "bias_initializer": "normal", **settings}
    doubling = keras.layers.UpSampling2D(2, dtype=settings.get("dtype"))
    direct = keras.Sequential([doubling, keras.layers.Conv2D(4, 3, padding="same", **settings)])
    at_once = keras.Sequential([UpConvolution(4, **settings)])
    for model in (direct, at_once):
        model.build((None, None, None, channels))
    at_once.set_weights(direct.get_weights())
    return direct, at_once


def values_and_two_derivatives(model: keras.Model, images: tf.Tensor) -> list[tf.Tensor]:
    """Output, gradients of a cubic of it, and gradients of a square of those."""
    inputs = [images, *(weight.value for weight in model.trainable_weights)]
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as inner:
            inner.watch(inputs)
            output = tf.cast(model(images), tf.float32)
            cubic = tf.reduce_mean(output**3)
        first = inner.gradient(cubic, inputs)
        square = tf.add_n([tf.reduce_sum(tf.square(gradient)) for gradient in first])
    return [output, *first, *outer.gradient(square, inputs)]


@pytest.mark.parametrize("shape", SHAPES)
def test_up_convolution_is_doubling_by_nearest_neighbour_and_convolution(rng, shape):
    images = tf.constant(rng.normal(size=shape), tf.float32)
    direct, at_once = direct_and_at_once(shape[3])
    expected = values_and_two_derivatives(direct, images)
    found = tf.function(lambda: values_and_two_derivatives(at_once, images), autograph=False)()
    assert found[0].shape == (shape[0], 2 * shape[1], 2 * shape[2], 4)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6 * max(1, np.abs(other).max()))


@pytest.mark.parametrize(("policy", "rounding"), [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)])
def test_up_convolution_computes_in_the_policys_type(rng, policy, rounding):
    keras.utils.set_random_seed(0)
    images = tf.constant(rng.normal(size=(2, 5, 4, 3)), tf.float32)
    exact, _ = direct_and_at_once(3)
    direct, at_once = direct_and_at_once(3, dtype=policy)
    for model in (direct, at_once):
        model.set_weights(exact.get_weights())
    assert at_once.layers[0].kernel.dtype == "float32"
    assert at_once(images).dtype == direct(images).dtype == policy.removeprefix("mixed_")
    found, keras_own, expected = (values_and_two_derivatives(model, images)[:4] for model in (at_once, direct, exact))
    assert np.any(found[0] != expected[0])
    for one, own, other in zip(found, keras_own, expected, strict=True):
        few_roundings = 6 * rounding * np.abs(other).max()
        np.testing.assert_allclose(one, other, atol=max(few_roundings, 2 * np.abs(own - other).max()))


def test_up_convolution_is_saved_with_all_its_settings(rng, tmp_path):
    settings = {"use_bias": False, "activation": "relu", "kernel_regularizer": keras.regularizers.L2(0.5)}
    code = keras.Input((3, 4, 2))
    model = keras.Model(code, UpConvolution(4, **settings)(code))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    images = rng.normal(size=(2, 3, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(loaded(images), model(images))
    assert loaded.output_shape == (None, 6, 8, 4)
    assert [weight.shape for weight in loaded.weights] == [(3, 3, 2, 4)]
    assert float(loaded.losses[0]) == pytest.approx(0.5 * np.square(model.get_weights()[0]).sum(), rel=1e-5)
