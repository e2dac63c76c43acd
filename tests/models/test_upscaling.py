import numpy as np
import pytest
import tensorflow as tf

from inc_tf.models.skip import BatchStatistics
from inc_tf.models.upscaling import JoinedConvolution, convolve_doubled, doubled_variance

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
