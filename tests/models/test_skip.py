import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from inc_tf.errors import InputError
from inc_tf.models.skip import BatchStatistics, ReflectionPadding, skip_network
from inc_tf.models.upscaling import JoinedConvolution


def in_order(model: keras.Model, name: str) -> list[keras.Variable]:
    """The variables of that name by shape, and those of one shape in the order in which they were made."""

    def place(variable: keras.Variable) -> tuple:
        number = variable.path.split("/")[0].rpartition("_")[2]  # of its layer; the first has none
        return tuple(variable.shape), int(number) if number.isdigit() else 0

    return sorted((v for v in model.trainable_variables if v.name == name), key=place)


def reference_network(shape: tuple[int, int, int], channels: int, scales: int = 5) -> keras.Model:
    """The network as `denoising.ipynb` has it: each convolution with a bias, what is doubled joined, then convolved."""

    def convolution(x, filters, size, strides=1):
        padded = ReflectionPadding()(x) if size > 1 else x
        convolved = layers.Conv2D(filters, size, strides, bias_initializer="random_normal")(padded)
        return layers.LeakyReLU(0.2)(BatchStatistics()(convolved))

    def scale(x, left):
        skipped = convolution(x, 4, 1)
        deep = convolution(convolution(x, channels, 3, 2), channels, 3)
        deep = scale(deep, left - 1) if left > 1 else deep
        joined = layers.Concatenate()([skipped, layers.UpSampling2D(2, interpolation="bilinear")(deep)])
        return convolution(convolution(BatchStatistics()(joined), channels, 3), channels, 1)

    noise = layers.Input((*shape[:2], 32))
    return keras.Model(noise, layers.Conv2D(shape[2], 1, activation="sigmoid")(scale(noise, scales)))


def test_the_full_network_has_the_references_parameters_but_those_that_change_nothing():
    network = skip_network()
    biases = 5 * (4 + 128 + 128 + 128 + 128)
    offsets = 5 * (4 + 128)
    assert network.count_params() == 2_217_831 - biases - offsets
    assert reference_network((32, 32, 3), 128).count_params() == 2_217_831
    assert (network.input_shape, network.output_shape) == ((None, 224, 224, 32), (None, 224, 224, 3))


def test_its_output_is_the_references(rng):
    shape, channels = (64, 96, 3), 6
    network, reference = skip_network(shape, channels), reference_network(shape, channels)
    for name, mean in (("kernel", 0.0), ("gamma", 1.0)):
        for own, theirs in zip(in_order(network, name), in_order(reference, name), strict=True):
            value = rng.normal(mean, 0.3, own.shape)
            own.assign(value)
            theirs.assign(value)
    for beta in (v for v in reference.trainable_variables if v.name == "beta" and v.shape == (4 + channels,)):
        beta.assign(rng.normal(size=beta.shape))  # of what is joined
    noise = tf.constant(rng.uniform(size=(1, 64, 96, 32)), tf.float32)
    output = network(noise).numpy()
    np.testing.assert_allclose(output, reference(noise), atol=2e-5)
    assert output.std() > 0.05


def test_convolutions_see_the_sizes_of_five_scales():
    network = skip_network((64, 96, 3), 6)
    sizes = [layer.output.shape[1:3] for layer in network.layers if getattr(layer, "strides", None) == (2, 2)]
    assert sizes == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]
    output = network(np.random.default_rng(0).normal(size=(1, 64, 96, 32)).astype(np.float32))
    assert output.shape == (1, 64, 96, 3)
    assert 0 < output.numpy().min() < output.numpy().max() < 1


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 1, 3, 2), (1, 1, 1, 1)])
def test_padding_is_by_reflection(rng, shape):
    images = rng.normal(size=shape).astype(np.float32)
    expected = images
    for axis in (1, 2):
        sides = [(1, 1) if i == axis else (0, 0) for i in range(4)]
        expected = np.pad(expected, sides, "reflect" if shape[axis] > 1 else "edge")
    np.testing.assert_array_equal(ReflectionPadding()(images), expected)


def test_normalisation_is_by_the_batchs_own_statistics(rng):
    images = rng.normal(3.0, 2.0, size=(1, 8, 9, 5)).astype(np.float32)
    layer = BatchStatistics()
    layer.build(images.shape)
    gamma, beta = rng.normal(size=(2, 5)).astype(np.float32)
    layer.set_weights([gamma, beta])
    mean, variance = images.mean(axis=(0, 1, 2)), images.var(axis=(0, 1, 2))
    expected = gamma * (images - mean) / np.sqrt(variance + 1e-5) + beta
    for training in (False, True):
        np.testing.assert_allclose(layer(images, training=training), expected, atol=1e-5)
    assert len(layer.non_trainable_variables) == 0


@pytest.mark.slow
def test_its_gradient_is_the_difference_quotient(rng):
    keras.utils.set_random_seed(0)
    network = skip_network((32, 64, 1), 3)
    noise = tf.constant(rng.uniform(size=(1, 32, 64, 32)), tf.float32)
    target = tf.constant(rng.uniform(size=(1, 32, 64, 1)), tf.float32)
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    down = next(layer for layer in convolutions if layer.strides == (2, 2))
    skip = next(layer for layer in convolutions if layer.filters == 4 and layer.output.shape[1:3] == (32, 64))
    joined = [layer for layer in network.layers if isinstance(layer, JoinedConvolution)]
    error = tf.function(lambda: tf.reduce_sum(tf.cast(tf.square(network(noise) - target), tf.float64)))
    for kernel in (layer.kernel for layer in (down, skip, joined[-2], joined[-1], convolutions[-1])):
        with tf.GradientTape() as tape:
            value = error()
        gradient = tape.gradient(value, kernel.value)
        slope, start = float(tf.norm(gradient)), kernel.numpy()
        reach = 0.02 / slope
        errors = []
        for sign in (1, -1):
            kernel.assign(start + sign * reach * gradient / slope)
            errors.append(float(error()))
        kernel.assign(start)
        assert (errors[0] - errors[1]) / (2 * reach) == pytest.approx(slope, rel=0.02)


def test_it_is_saved_and_loaded(tmp_path, rng):
    network = skip_network((32, 32, 3), 2)
    network.save(tmp_path / "skip.keras")
    loaded = keras.saving.load_model(tmp_path / "skip.keras", safe_mode=True)
    noise = rng.uniform(size=(1, 32, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(loaded(noise), network(noise))


@pytest.mark.parametrize(
    ("shape", "channels", "sentence"),
    [
        ((225, 224, 3), 8, "asked for images of 225×224; 32 must divide both sides"),
        ((224, 48, 3), 8, "224×48"),
        ((0, 32, 3), 8, "0×32"),
        ((32, 32, 3), 0, "0 channels"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(shape, channels, sentence):
    with pytest.raises(InputError, match=sentence):
        skip_network(shape, channels)
