"""Rewrites a generator so that a search through it is faster: the same function on the same weights, but for rounding.

A copy is for a search only: it shares the generator's layers, and is never saved.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from inc_tf.models.upscaling import convolve_repeated


def up_convolved(generator: keras.Model) -> keras.Model:
    """A functional or sequential `generator` with each doubling and its 3×3 convolution as one transposed convolution.

    A pair is an ``UpSampling2D(2)`` by nearest neighbour and a ``Conv2D(filters, 3, padding="same")`` on its output, of
    stride, dilation and groups 1, both channels last. It saves what `models.upscaling.UpConvolution` saves, for a
    generator that was not written with it.

    Returns: a model that shares the generator's layers, or `generator` itself if it has no such pair, or if it is not a
    graph of layers (a subclassed model). A pair within a nested model is left as it is.
    """
    if not (any(map(_doubles, generator.layers)) and any(map(_fits, generator.layers))):
        return generator
    small: dict[int, keras.KerasTensor] = {}  # what was doubled, by the id of the result

    def call(layer, *args, **kwargs):
        if _fits(layer) and id(args[0]) in small:
            return _UpConvolved(layer)(small[id(args[0])])
        output = layer(*args, **kwargs)
        if _doubles(layer):
            small[id(output)] = args[0]
        return output

    return _called_anew(generator, call)


def activated_by_tanh(generator: keras.Model) -> keras.Model:
    """A functional or sequential `generator` whose dense layers compute softplus, its slope, and sigmoid from a tanh.

    Otherwise each of the three is an exponential of its own within XLA; Adam's search on the paper's VAE takes 6 % less
    time so. Values and slopes are exact to 2e-7; second derivatives are not supported. Layers that do not compute in
    float32 keep their activations, whose precision cancellation would take.

    Returns: as `up_convolved` does.
    """
    if not any(_activation(layer) in _BY_TANH for layer in generator.layers):
        return generator

    def call(layer, *args, **kwargs):
        by_tanh = _BY_TANH.get(_activation(layer))
        return _Activated(layer, by_tanh)(*args) if by_tanh else layer(*args, **kwargs)

    return _called_anew(generator, call)


def _called_anew(generator: keras.Model, call: Callable) -> keras.Model:
    """The generator with the same layers, each called by `call`; itself if it is not a graph of layers."""
    if not getattr(generator, "inputs", None):
        return generator
    graph = keras.Model(generator.inputs[0], generator.outputs[0], name=generator.name)
    if type(generator) not in (keras.Sequential, type(graph)):
        return generator
    return keras.models.clone_model(graph, clone_function=lambda layer: layer, call_function=call)


class _UpConvolved(keras.layers.Layer):
    """A `Conv2D` of images doubled by nearest neighbour, called on what is to be doubled."""

    def __init__(self, convolution: keras.layers.Conv2D):
        super().__init__(dtype=convolution.dtype_policy)
        self.convolution = convolution

    def call(self, images):
        output = convolve_repeated(images, self.convolution.kernel)
        if self.convolution.use_bias:
            output += self.convolution.bias
        return self.convolution.activation(output)

    def compute_output_shape(self, shape):
        return self.convolution.compute_output_shape((shape[0], *(side and 2 * side for side in shape[1:3]), shape[3]))


class _Activated(keras.layers.Layer):
    """A `Dense` with another function as its activation."""

    def __init__(self, dense: keras.layers.Dense, activation: Callable[[tf.Tensor], tf.Tensor]):
        super().__init__(dtype=dense.dtype_policy)
        self.dense, self.function = dense, activation

    def call(self, inputs):
        output = tf.matmul(inputs, self.dense.kernel)
        return self.function(output + self.dense.bias if self.dense.use_bias else output)

    def compute_output_shape(self, shape):
        return self.dense.compute_output_shape(shape)


def _sigmoid(x: tf.Tensor) -> tf.Tensor:
    return 0.5 * tf.tanh(0.5 * x) + 0.5


@tf.custom_gradient
def _softplus(x: tf.Tensor):
    slope = _sigmoid(x)
    return tf.nn.relu(x) - tf.math.log(tf.maximum(slope, 1 - slope)), lambda upstream: upstream * slope


_BY_TANH = {keras.activations.softplus: _softplus, keras.activations.sigmoid: _sigmoid}


def _activation(layer: keras.layers.Layer) -> Callable | None:
    plain = type(layer) is keras.layers.Dense and layer.dtype_policy.name == "float32"
    return layer.activation if plain else None


def _doubles(layer: keras.layers.Layer) -> bool:
    return type(layer) is keras.layers.UpSampling2D and (
        (layer.size, layer.interpolation, layer.data_format) == ((2, 2), "nearest", "channels_last")
    )


def _fits(layer: keras.layers.Layer) -> bool:
    return type(layer) is keras.layers.Conv2D and (
        (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3), (1, 1), (1, 1))
        and (layer.padding, layer.groups, layer.data_format) == ("same", 1, "channels_last")
    )
