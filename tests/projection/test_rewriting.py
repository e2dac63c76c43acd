import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import inc_tf as inc
from inc_tf.projection.gradients import implicit
from inc_tf.projection.rewriting import activated_by_tanh, up_convolved


def decoder(k: int = 4) -> list[layers.Layer]:
    return [layers.Dense(2 * 3 * 5, activation="tanh"), layers.Reshape((2, 3, 5))]


def pair(filters: int, convolution: dict | None = None, **doubling) -> list[layers.Layer]:
    settings = {"kernel_size": 3, "padding": "same", "activation": "elu", "bias_initializer": "normal"}
    return [layers.UpSampling2D(2, **doubling), layers.Conv2D(filters, **{**settings, **(convolution or {})})]


def sequential(*parts: layers.Layer) -> keras.Sequential:
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((4,)), *decoder(), *parts])


def branching() -> keras.Model:
    """A doubled image that two convolutions and a sum take, the second convolution a second time."""
    keras.utils.set_random_seed(0)
    x = code = layers.Input((4,))
    for layer in decoder():
        x = layer(x)
    doubled = layers.UpSampling2D(2)(x)
    plain, shared = layers.Conv2D(5, 3, padding="same", use_bias=False), layers.Conv2D(5, 3, padding="same")
    joined = layers.Add()([doubled, plain(doubled), shared(doubled)])
    return keras.Model(code, shared(joined))


def half_precision() -> keras.Model:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return sequential(*pair(6), layers.Conv2D(3, 1, dtype="float32"))
    finally:
        keras.config.set_dtype_policy("float32")


def with_gradients(model: keras.Model, weights: list, codes: tf.Tensor) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(codes)
        output = model(codes, training=False)
        value = tf.reduce_sum(tf.sin(output))
    return [output.numpy(), *(part.numpy() for part in tape.gradient(value, [codes, *weights]))]


@pytest.mark.parametrize(
    ("generator", "tolerance"),
    [(sequential(*pair(6), *pair(3)), 1e-5), (branching(), 1e-5), (half_precision(), 0.05)],
    ids=["sequential", "branching", "bfloat16"],
)
def test_the_copy_computes_the_same_with_the_same_weights(rng, generator, tolerance):
    copy = up_convolved(generator)
    assert copy is not generator
    assert {id(weight) for weight in copy.weights} == {id(weight) for weight in generator.weights}
    codes = tf.constant(rng.normal(size=(3, 4)), tf.float32)
    for _ in range(2):
        both = (with_gradients(model, generator.trainable_variables, codes) for model in (copy, generator))
        for one, other in zip(*both, strict=True):
            np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())
        for weight in generator.weights:  # the copy follows
            weight.assign(weight + 0.1)


def test_the_copy_doubles_nothing_that_it_convolves():
    names = [type(layer).__name__ for layer in up_convolved(sequential(*pair(6), *pair(3))).layers]
    assert names == ["InputLayer", "Dense", "Reshape", "_UpConvolved", "_UpConvolved"]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.parts = [*decoder(), *pair(3)]

    def call(self, codes):
        for part in self.parts:
            codes = part(codes)
        return codes


class Negated(keras.Sequential):
    def call(self, inputs, training=None, mask=None):
        return -super().call(inputs, training, mask)


@pytest.mark.parametrize(
    "generator",
    [
        sequential(*pair(3, interpolation="bilinear")),
        sequential(*pair(3, {"kernel_size": 5})),
        sequential(*pair(3, {"padding": "valid"})),
        sequential(*pair(3, {"strides": 2})),
        sequential(*pair(3, {"dilation_rate": 2})),
        sequential(*pair(5, {"groups": 5})),
        sequential(layers.UpSampling2D((2, 1)), layers.Conv2D(3, 3, padding="same")),
        sequential(layers.Conv2D(3, 3, padding="same")),
        Negated([layers.Input((4,)), *decoder(), *pair(3)]),
        Subclassed(),
    ],
)
def test_anything_else_is_left_as_it_is(generator):
    assert up_convolved(generator) is generator


def test_a_doubling_apart_from_its_convolution_stays(rng):
    generator = sequential(layers.UpSampling2D(2), layers.ReLU(), layers.Conv2D(3, 3, padding="same"))
    codes = rng.normal(size=(2, 4)).astype(np.float32)
    np.testing.assert_array_equal(up_convolved(generator)(codes), generator(codes))


@pytest.mark.slow
def test_a_projector_searches_in_the_copy_and_is_saved_with_the_generator(rng, tmp_path):
    generator = sequential(*pair(6), *pair(3))
    images = generator(rng.normal(size=(4, 4)).astype(np.float32))
    projector = inc.LatentProjector(generator, inc.LevenbergMarquardt(30), inc.Nearest(candidates=64))
    found = projector(images)
    assert np.all(found.distances < 1e-2)
    np.testing.assert_allclose(found.images, generator(found.codes), atol=1e-6)
    assert {id(weight) for weight in projector.weights} == {id(weight) for weight in generator.weights}
    classifier = keras.Sequential([layers.Input(images.shape[1:]), layers.Flatten(), layers.Dense(2)])
    defense = inc.InvertAndClassify(classifier, projector, bounds=(-9.0, 9.0))
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras", safe_mode=True)
    assert [type(layer).__name__ for layer in loaded.projector.generator.layers][-2:] == ["UpSampling2D", "Conv2D"]
    np.testing.assert_allclose(loaded(images).logits, defense(images).logits, atol=1e-5)


def test_the_implicit_gradient_goes_through_the_copy(rng):
    generator = sequential(*pair(6), *pair(3))
    codes = tf.constant(rng.normal(size=(2, 4)), tf.float32)
    images = generator(codes)
    gradients = []
    for model in (generator, up_convolved(generator)):
        with tf.GradientTape() as tape:
            tape.watch(images)
            value = tf.reduce_sum(implicit(model, images, codes) ** 2)
        gradients.append(tape.gradient(value, images).numpy())
    assert np.abs(gradients[0]).max() > 1e-3
    np.testing.assert_allclose(gradients[1], gradients[0], atol=1e-3 * np.abs(gradients[0]).max())


@pytest.mark.parametrize("activation", ["softplus", "sigmoid"])
def test_activations_by_tanh_are_exact_to_rounding(activation):
    generator = keras.Sequential([layers.Input((1,)), layers.Dense(1, activation, kernel_initializer="ones")])
    codes = tf.constant(np.linspace(-40, 40, 4001, dtype=np.float32)[:, np.newaxis])
    x = codes.numpy().astype(np.float64)
    sigmoid = 1 / (1 + np.exp(-x))
    value, slope = (np.logaddexp(0, x), sigmoid) if activation == "softplus" else (sigmoid, sigmoid * (1 - sigmoid))
    quick = activated_by_tanh(generator)
    assert quick is not generator
    with tf.GradientTape() as tape:
        tape.watch(codes)
        output = quick(codes)
    np.testing.assert_allclose(output, value, atol=2e-7, rtol=2e-7)
    np.testing.assert_allclose(tape.gradient(output, codes), slope, atol=2e-7)


def test_activations_by_tanh_keep_what_is_not_finite():
    generator = keras.Sequential([layers.Input((1,)), layers.Dense(1, "softplus", kernel_initializer="ones")])
    output = activated_by_tanh(generator)(np.array([[np.inf], [-np.inf], [np.nan]], np.float32))
    np.testing.assert_array_equal(output[:, 0], [np.inf, 0.0, np.nan])


@pytest.mark.parametrize("last", [{"activation": "relu"}, {}, {"activation": "softplus", "dtype": "mixed_bfloat16"}])
def test_other_activations_and_precisions_stay(last):
    generator = sequential(layers.Flatten(), layers.Dense(3, **last))
    assert activated_by_tanh(generator) is generator
