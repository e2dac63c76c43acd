import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.projection import gradients


def smooth_generator(seed: int = 0, k: int = 3, dead: int = 0) -> keras.Model:
    """A curved float64 generator of 3×2 images whose last `dead` code dimensions do nothing."""
    keras.utils.set_random_seed(seed)
    generator = keras.Sequential(
        [
            keras.layers.Input((k,), dtype="float64"),
            keras.layers.Dense(5, activation="tanh", dtype="float64"),
            keras.layers.Dense(6, dtype="float64"),
            keras.layers.Reshape((3, 2, 1), dtype="float64"),
        ]
    )
    first = generator.layers[0].get_weights()
    first[0][k - dead :] = 0
    generator.layers[0].set_weights(first)
    return generator


def near_its_range(generator, n: int = 4, noise: float = 0.1):
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(n, generator.input_shape[1]), scale=0.5)
    images = generator(codes).numpy()
    return tf.constant(codes), tf.constant(images + noise * rng.normal(size=images.shape))


def minimizer(generator):
    """z*(x) in float64, by Newton's method with the whole Hessian."""

    @tf.function
    def newton(codes, images):
        with tf.GradientTape() as outer:
            outer.watch(codes)
            with tf.GradientTape() as inner:
                inner.watch(codes)
                errors = tf.reduce_sum(tf.square(generator(codes) - images), axis=[1, 2, 3])
            slope = inner.gradient(errors, codes)
        hessian = outer.batch_jacobian(slope, codes)
        return codes - tf.linalg.solve(hessian, slope[..., tf.newaxis])[..., 0], slope

    def minimum(images, codes):
        for _ in range(30):
            codes, slope = newton(codes, images)
        np.testing.assert_allclose(slope, 0, atol=1e-10)
        return codes

    return minimum


def loss(codes):
    """Something that an attacker might want: a curved function of the code."""
    return tf.reduce_sum(tf.sin(codes) * tf.constant([1.0, -2.0, 0.5], tf.float64))


def finite_differences(function, images, step: float = 1e-6) -> np.ndarray:
    result = np.zeros(images.shape)
    for index in np.ndindex(*images.shape):
        change = np.zeros(images.shape)
        change[index] = step
        result[index] = (function(images + change) - function(images - change)) / (2 * step)
    return result


def gradient_of(function, images) -> np.ndarray:
    with tf.GradientTape() as tape:
        tape.watch(images)
        value = function(images)
    return tape.gradient(value, images).numpy()


@pytest.mark.slow
def test_the_unrolled_gradient_is_the_one_of_finite_differences():
    generator = smooth_generator()
    codes, images = near_its_range(generator)

    @tf.function
    def answer(images):
        return loss(gradients.unrolled(generator, images, codes, steps=7))

    gradient = gradient_of(answer, images)
    np.testing.assert_allclose(gradient, finite_differences(answer, images), rtol=1e-5, atol=1e-7)
    assert np.abs(gradient).max() > 0.01


def test_the_unrolled_gradient_flows_through_a_start_that_depends_on_the_image():
    generator = smooth_generator()
    _, images = near_its_range(generator)
    encode = tf.constant(np.random.default_rng(2).normal(size=(6, 3)) * 0.3)

    @tf.function
    def answer(images):
        return loss(gradients.unrolled(generator, images, tf.reshape(images, [-1, 6]) @ encode, steps=5))

    np.testing.assert_allclose(gradient_of(answer, images), finite_differences(answer, images), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("unroll", "kept"),
    [
        (lambda *parts: gradients.unrolled(*parts, steps=5), 4),  # t, the codes and two moments
        (lambda *parts: gradients.unrolled_momentum(*parts, solver=inc.Momentum(steps=5)), 3),  # t, the codes and v
    ],
    ids=["adam", "momentum"],
)
def test_an_unrolled_search_keeps_the_state_of_each_step_and_no_activations(unroll, kept):
    generator = smooth_generator()
    codes, images = near_its_range(generator)

    @tf.function(autograph=False)
    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = loss(unroll(generator, images, codes))
        return tape.gradient(value, images)

    functions = gradient.get_concrete_function(images).graph.as_graph_def().library.function
    assert [node.op for function in functions for node in function.node_def].count("TensorListPushBack") == kept


def test_unrolled_steps_are_those_of_the_solver(vae, digits):
    # The solver keeps the best that it saw; where every step improves, that is the last.
    images, start = tf.constant(digits.images[:4]), tf.zeros([4, 20])
    last = gradients.unrolled(vae.generator, images, start, steps=5, learning_rate=0.01)
    found = inc.LatentProjector(vae.generator, inc.Adam(0.01, steps=5), inc.Zeros())(images)
    np.testing.assert_allclose(last, found.codes, atol=1e-4)


def test_the_implicit_gradient_is_the_one_of_finite_differences_and_knows_the_curvature():
    generator = smooth_generator()
    first, images = near_its_range(generator)
    minimum = minimizer(generator)
    codes = minimum(images, first)
    gradient = gradient_of(lambda images: loss(gradients.implicit(generator, images, codes)), images)
    expected = finite_differences(lambda images: loss(minimum(images, codes)), images)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(gradient).max() > 0.1
    # JᵀJ instead of the Hessian, which leaves out the residual's share, gives another result.
    with tf.GradientTape() as tape:
        tape.watch(codes)
        output = generator(codes)
    jacobian = tf.reshape(tape.batch_jacobian(output, codes), [4, 6, 3])
    with tf.GradientTape() as tape:
        tape.watch(codes)
        value = loss(codes)
    upstream = tape.gradient(value, codes)[..., tf.newaxis]
    without = jacobian @ tf.linalg.solve(tf.matmul(jacobian, jacobian, transpose_a=True), upstream)
    assert np.abs(tf.reshape(without, images.shape) - expected).max() > 0.01


def test_a_hessian_that_memory_does_not_hold_comes_in_groups_of_columns(monkeypatch):
    generator = smooth_generator()
    codes, images = near_its_range(generator)

    def gradient():
        return gradient_of(lambda images: loss(gradients.implicit(generator, images, codes)), images)

    whole = gradient()
    monkeypatch.setattr(gradients, "_COLUMN_MEMORY", 0)
    np.testing.assert_allclose(gradient(), whole, rtol=1e-9)


def test_a_linear_generators_gradients_are_the_pseudo_inverse():
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Input((2,)), keras.layers.Dense(6, use_bias=False), keras.layers.Reshape((3, 2, 1))]
    generator = keras.Sequential(layers)
    weights = generator.layers[0].get_weights()[0]
    images = tf.random.stateless_normal([1, 3, 2, 1], [0, 0])
    codes = tf.reshape(images, [1, 6]) @ np.linalg.pinv(weights)
    gradient = gradient_of(lambda images: gradients.implicit(generator, images, codes)[0, 1], images)
    np.testing.assert_allclose(gradient.ravel(), np.linalg.pinv(weights)[:, 1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("function", [gradients.unrolled, gradients.implicit])
def test_a_code_that_does_nothing_gets_a_finite_gradient(function):
    generator = smooth_generator(dead=1)
    codes, images = near_its_range(generator)
    gradient = gradient_of(lambda images: loss(function(generator, images, codes)), images)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("function", [gradients.unrolled, gradients.implicit])
def test_gradients_are_the_same_inside_a_graph(function):
    generator = smooth_generator()
    codes, images = near_its_range(generator)

    def gradient(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = loss(function(generator, images, codes))
        return tape.gradient(value, images)

    np.testing.assert_allclose(tf.function(gradient)(images), gradient(images), rtol=1e-9)
