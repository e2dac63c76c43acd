"""Rewrites a generator: each doubling and the convolution that follows become one operation, on the same weights.

It saves what `models.upscaling.UpConvolution` saves, for a generator that was not written with it. The copy is for a
search only: it shares the generator's layers, and is never saved.
"""

import keras

from inc_tf.models.upscaling import convolve_repeated


def up_convolved(generator: keras.Model) -> keras.Model:
    """A functional or sequential `generator` with each doubling and its 3×3 convolution as one transposed convolution.

    A pair is an ``UpSampling2D(2)`` by nearest neighbour and a ``Conv2D(filters, 3, padding="same")`` on its output, of
    stride, dilation and groups 1, both channels last. Output and gradients are the generator's but for rounding.

    Returns: a model that shares the generator's layers, or `generator` itself if it has no such pair, or if it is not a
    graph of layers (a subclassed model). A pair within a nested model is left as it is.
    """
    pairs = any(map(_doubles, generator.layers)) and any(map(_fits, generator.layers))
    if not pairs or not getattr(generator, "inputs", None):
        return generator
    graph = keras.Model(generator.inputs[0], generator.outputs[0], name=generator.name)
    if type(generator) not in (keras.Sequential, type(graph)):
        return generator
    small: dict[int, keras.KerasTensor] = {}  # what was doubled, by the id of the result

    def call(layer, *args, **kwargs):
        if _fits(layer) and id(args[0]) in small:
            return _UpConvolved(layer)(small[id(args[0])])
        output = layer(*args, **kwargs)
        if _doubles(layer):
            small[id(output)] = args[0]
        return output

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


def _doubles(layer: keras.layers.Layer) -> bool:
    return type(layer) is keras.layers.UpSampling2D and (
        (layer.size, layer.interpolation, layer.data_format) == ((2, 2), "nearest", "channels_last")
    )


def _fits(layer: keras.layers.Layer) -> bool:
    return type(layer) is keras.layers.Conv2D and (
        (layer.kernel_size, layer.strides, layer.dilation_rate) == ((3, 3), (1, 1), (1, 1))
        and (layer.padding, layer.groups, layer.data_format) == ("same", 1, "channels_last")
    )
