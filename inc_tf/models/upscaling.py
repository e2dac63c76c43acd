"""3×3 convolutions of images that were doubled, without the products that doubling repeats.

By nearest neighbour, as in BEGAN: what is doubled repeats each pixel four times, so that taps of the kernel that meet
the same pixel can be added first. What is left is one transposed convolution of stride 2, with 16 products for each
small pixel and pair of channels instead of 36.

By bilinear interpolation, as in the skip network: to double and to convolve are both convolutions, and they commute. To
double is to set pixels apart (↑) and to blur them by f = (1, 3, 3, 1)/4 along each axis, and w ∗ (f ∗ ↑d) =
f ∗ (w ∗ ↑d). So the products of all channels with all are taken at the small size, 9 instead of 36, and what is left
for the doubled size is a blur of each channel. At the border, where the padding differs, the rest is added.
"""

import keras
import numpy as np
import tensorflow as tf

_BLUR = np.array([1, 3, 3, 1]) / 4
_OVERLAP = np.array([3, 10, 3]) / 16  # half the overlap of a doubled pixel with its neighbours: f ∗ f at even places
_AROUND = [[0, 0], [1, 1], [1, 1], [0, 0]]
_OUTER = (0, 1, 2, 6, 7, 8, 0, 3, 6, 2, 5, 8)  # a 3×3 kernel's first row, last row, first column, last column
_EPSILON = 1e-5


@keras.saving.register_keras_serializable(package="inc_tf")
class UpConvolution(keras.layers.Conv2D):
    """A 3×3 convolution, padded by zeros, of images doubled by nearest neighbour.

    The same function, with the same weights, as ``UpSampling2D(2)`` followed by ``Conv2D(filters, 3, padding="same")``.

    Args:
      filters: F, channels of the output.
      **kwargs: `activation`, `use_bias`, initializers, regularizers and whatever else of `Conv2D`'s does not concern
        the size, the stride, the padding, the layout or groups.

    Input: float [N, h, w, C]. Output: float [N, 2h, 2w, F]. The kernel is stored as [3, 3, C, F].
    """

    _FIXED = ("kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups")

    def __init__(self, filters: int, **kwargs):
        super().__init__(filters, 3, padding="same", data_format="channels_last", **kwargs)

    def convolution_op(self, inputs, kernel):
        return convolve_repeated(inputs, kernel)

    def compute_output_shape(self, shape):
        return (shape[0], *(side and 2 * side for side in shape[1:3]), self.filters)

    def get_config(self) -> dict:
        return {name: value for name, value in super().get_config().items() if name not in self._FIXED}


@keras.saving.register_keras_serializable(package="inc_tf")
class JoinedConvolution(keras.layers.Layer):
    """A 3×3 convolution of [skip, deep doubled], joined, normalised by the batch's statistics and padded by reflection.

    The normalisation scales, by γ, and does not shift, and the convolution has no bias: offsets are constant over an
    image, and the normalisation that follows takes them away.

    Args:
      filters: channels of the output.

    Called on (skip, deep): float [N, 2h, 2w, S] and [N, h, w, C]. Returns float [N, 2h, 2w, filters].
    """

    def __init__(self, filters: int, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, shapes):
        joined = sum(shape[-1] for shape in shapes)
        self.kernel = self.add_weight(name="kernel", shape=(3, 3, joined, self.filters))
        self.gamma = self.add_weight(name="gamma", shape=(joined,), initializer="ones", autocast=False)

    def call(self, inputs):
        skip, deep = inputs
        variances = [tf.nn.moments(tf.cast(skip, tf.float32), [0, 1, 2])[1], doubled_variance(deep)]
        scale = self.gamma * tf.math.rsqrt(tf.concat(variances, axis=0) + _EPSILON)
        kernel = self.kernel * tf.cast(scale, deep.dtype)[:, tf.newaxis]
        of_skip, of_deep = tf.split(kernel, [skip.shape[-1], deep.shape[-1]], axis=2)
        skipped = tf.nn.conv2d(tf.pad(skip, _AROUND, "REFLECT"), of_skip, 1, "VALID")
        return skipped + convolve_doubled(deep, of_deep)

    def compute_output_shape(self, shapes):
        return (*shapes[0][:-1], self.filters)

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters}


def convolve_repeated(images: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Images doubled by nearest neighbour, padded by zeros, and convolved; differentiable as often as one likes.

    Args:
      images: float [N, h, w, C].
      kernel: float [3, 3, C, F].

    Returns: float [N, 2h, 2w, F], of the images' type.
    """
    spread = tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])
    for axis in (0, 1):  # each small pixel is seen by two of the doubled ones
        before, after = ([[at, 1 - at] if i == axis else [0, 0] for i in range(4)] for at in (0, 1))
        spread = tf.pad(spread, before) + tf.pad(spread, after)
    n, h, w, _ = tf.unstack(tf.shape(images))
    return tf.nn.conv2d_transpose(images, spread, [n, 2 * h, 2 * w, kernel.shape[3]], 2, "SAME")


@tf.custom_gradient
def doubled_variance(images: tf.Tensor):
    """Each channel's variance over images [N, h, w, C] once they are doubled by bilinear interpolation: float32 [C]."""
    overlapping = tf.cast(_filtered(tf.pad(images, _AROUND, "SYMMETRIC"), _OVERLAP), tf.float32)
    exact = tf.cast(images, tf.float32)
    mean = tf.reduce_mean(exact, [0, 1, 2])
    pixels = tf.cast(tf.size(exact) // exact.shape[-1], tf.float32)

    def gradient(upstream):
        share = 2.0 * upstream / pixels
        return tf.cast(share * overlapping - share * mean, images.dtype)

    return tf.reduce_mean(exact * overlapping, [0, 1, 2]) - tf.square(mean), gradient


@tf.custom_gradient
def convolve_doubled(images: tf.Tensor, kernel: tf.Tensor):
    """Images doubled by bilinear interpolation, padded by reflection, and convolved.

    Args:
      images: float [N, h, w, C], h and w known.
      kernel: float [3, 3, C, F].

    Returns: float [N, 2h, 2w, F]; its gradient is by the same identity.
    """
    n, (h, w) = tf.shape(images)[0], images.shape[1:3]
    extended = tf.pad(images, _AROUND, "SYMMETRIC")
    turned = _turned(kernel)
    spread = tf.nn.conv2d_transpose(extended, turned, [n, 2 * h + 3, 2 * w + 3, kernel.shape[-1]], 2, "SAME")
    inside, border = _of_each(_two_deep(h, w), n), _of_each(_outermost(2 * h, 2 * w), n)
    strips, taps = tf.gather_nd(images, inside), tf.gather(_flat(kernel), _OUTER)
    answer = tf.tensor_scatter_nd_add(_filtered(spread, _BLUR), border, _missing(strips, taps, h, w))

    def gradient(upstream):
        blurred = _filtered(upstream, _BLUR, around=3)
        with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:
            tape.watch([images, strips, taps, turned])
            padded = tf.pad(images, _AROUND, "SYMMETRIC")
            of_extended = tf.nn.conv2d(blurred, turned, 2, "SAME")
            missing = _missing(strips, taps, h, w)
        # ⟨upstream, spread⟩ = ⟨of_extended, extended⟩, which is linear in the kernel.
        of_turned = tape.gradient(of_extended, turned, extended)
        of_strips, of_taps = tape.gradient(missing, [strips, taps], tf.gather_nd(upstream, border))
        of_images = tape.gradient(padded, images, of_extended)
        of_kernel = tf.tensor_scatter_nd_add(_flat(_turned(of_turned)), [[i] for i in _OUTER], of_taps)
        return tf.tensor_scatter_nd_add(of_images, inside, of_strips), tf.reshape(of_kernel, kernel.shape)

    return answer, gradient


def _filtered(images: tf.Tensor, taps: np.ndarray, around: int = 0) -> tf.Tensor:
    """Each channel convolved with symmetric taps along both axes, where they lie within the images and zeros around."""
    each = np.tile(np.outer(taps, taps)[:, :, np.newaxis, np.newaxis], [1, 1, images.shape[-1], 1])
    padding = [[0, 0], [around, around], [around, around], [0, 0]]
    return tf.nn.depthwise_conv2d(images, tf.constant(each, images.dtype), [1, 1, 1, 1], padding)


def _flat(kernel: tf.Tensor) -> tf.Tensor:
    """A 3×3 kernel's taps in one row."""
    return tf.reshape(kernel, [9, *kernel.shape[2:]])


def _turned(kernel: tf.Tensor) -> tf.Tensor:
    """A 3×3 kernel turned by 180°, its channels of input and output exchanged."""
    turned = tf.transpose(tf.gather(_flat(kernel), range(8, -1, -1)), [0, 2, 1])
    return tf.reshape(turned, [3, 3, *turned.shape[1:]])


def _missing(strips: tf.Tensor, taps: tf.Tensor, h: int, w: int) -> tf.Tensor:
    """What the outermost pixels lack where padding is symmetric: the convolution of reflected less mirrored pixels.

    `strips` are the values at `_two_deep(h, w)`, `taps` the kernel's of `_OUTER`; the result is for the places
    `_outermost(2h, 2w)`. The row beyond the border should be the doubled image's second, and was its first.
    """
    n, c, f = -1, taps.shape[1], taps.shape[2]
    both = zip(
        tf.split(tf.reshape(strips, [n, 4 * (w + h), c]), [4 * w, 4 * h], axis=1),
        (w, h),
        map(tf.unstack, tf.split(tf.reshape(taps, [4, 1, 3, c, f]), 2)),
        ("REFLECT", "CONSTANT"),  # corners are the rows'
        strict=True,
    )
    found = []
    for pixels, length, (first_taps, last_taps), padding in both:
        outer, inner = tf.unstack(tf.reshape(pixels, [n, 2, 2, length, c]), axis=1)
        first = _lengthened(outer)
        second = _lengthened(0.75 * outer + 0.25 * inner)
        sides = [[0, 0], [0, 0], [1, 1], [0, 0]]
        beyond = tf.pad(second, sides, padding) - tf.pad(first, sides, padding.replace("REFLECT", "SYMMETRIC"))
        ends = zip(tf.split(beyond, 2, axis=1), (first_taps, last_taps), strict=True)
        rows = [tf.nn.conv2d(end, its_taps, 1, "VALID") for end, its_taps in ends]
        found.append(tf.reshape(tf.concat(rows, axis=1), [n, 4 * length, f]))
    return tf.reshape(tf.concat(found, axis=1), [n, f])


def _lengthened(rows: tf.Tensor) -> tf.Tensor:
    """Rows [N, 2, L, C] doubled along L alone by bilinear interpolation."""
    return tf.cast(tf.image.resize(rows, [2, 2 * rows.shape[2]]), rows.dtype)


def _two_deep(h: int, w: int) -> np.ndarray:
    """Places of the first and last row, of those next to them, and likewise of columns: int [4 (w + h), 2]."""
    rows = [(i, j) for i in (0, h - 1, min(1, h - 1), max(h - 2, 0)) for j in range(w)]
    return np.array(rows + [(i, j) for j in (0, w - 1, min(1, w - 1), max(w - 2, 0)) for i in range(h)])


def _outermost(h: int, w: int) -> np.ndarray:
    """Places of the first and last row and the first and last column: int [2 (w + h), 2]."""
    rows = [(i, j) for i in (0, h - 1) for j in range(w)]
    return np.array(rows + [(i, j) for j in (0, w - 1) for i in range(h)])


def _of_each(places: np.ndarray, n: tf.Tensor) -> tf.Tensor:
    """Places in each of n images: int32 [n · places, 3]."""
    image = tf.repeat(tf.range(n), len(places))
    return tf.concat([image[:, tf.newaxis], tf.tile(tf.constant(places, tf.int32), [n, 1])], axis=1)
