"""Input transformations as projectors: they remove detail from an image before it is classified, without a search.

JPEG, bit depth and total variation after Guo et al. (2018), bit depth and the median after Xu et al. (2018). Each is
called as ``projector(images, seed=None) -> Projection``, with 0 steps, converged, and codes float32 [N, 0]; the seed is
unused, since nothing is random. Images are float32 [N, H, W, C] of any size within `bounds`; others are refused with an
`InputError`. `Median` and `TotalVariation` have a gradient; `JPEG` and `BitDepth` have none, and are attacked by
`inc_tf.attacks.differentiable.straight_through`.
"""

import keras
import tensorflow as tf

from inc_tf.checks import ChecksImages, check_above_zero, check_bounds, check_count
from inc_tf.data import Bounds
from inc_tf.data.scaling import from_unit, to_unit
from inc_tf.errors import InputError
from inc_tf.projection.projection import Projection, in_one_pass
from inc_tf.xla import check_not_within_xla


class _Transformation(ChecksImages, keras.layers.Layer):
    """x ↦ T(x); subclasses define T, on images in [0, 1]."""

    def __init__(self, bounds: Bounds = (0.0, 1.0), **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.bounds: Bounds = check_bounds(bounds)

    def _transformed(self, images: tf.Tensor) -> tf.Tensor:
        raise NotImplementedError

    def call(self, images: tf.Tensor, seed: int | tf.Tensor | None = None) -> Projection:
        return in_one_pass(images, from_unit(self._transformed(to_unit(images, self.bounds)), self.bounds))

    def get_config(self) -> dict:
        return {**super().get_config(), "bounds": list(self.bounds)}


@keras.saving.register_keras_serializable(package="inc_tf")
class JPEG(_Transformation):
    """Compress as a JPEG and decompress (Guo et al., 2018).

    Args:
      quality: from 1 to 100; 75 in Guo et al.
      bounds: (lowest, highest) value of a pixel, which become 0 and 255.

    Images have 1 or 3 channels. Raises `InputError` for another quality.
    """

    def __init__(self, quality: int = 75, **kwargs):
        super().__init__(**kwargs)
        check_count(quality=quality)
        if quality > 100:
            raise InputError(f"quality is {quality}; it must be from 1 to 100.")
        self.quality = quality

    def _transformed(self, images: tf.Tensor) -> tf.Tensor:
        if images.shape[3] not in (1, 3):
            raise InputError(f"Images have {images.shape[3]} channels; a JPEG has 1 or 3.")
        check_not_within_xla("JPEG")
        spec = tf.TensorSpec(images.shape[1:], tf.float32)
        return tf.map_fn(lambda x: tf.image.adjust_jpeg_quality(x, self.quality), images, fn_output_signature=spec)

    def get_config(self) -> dict:
        return {**super().get_config(), "quality": self.quality}


@keras.saving.register_keras_serializable(package="inc_tf")
class BitDepth(_Transformation):
    """Round every pixel to the closest of 2^bits levels (Xu et al., 2018; Guo et al., 2018).

    Args:
      bits: from 1 to 8; Xu et al. take 1 for MNIST, Guo et al. 3 for ImageNet.
      bounds: (lowest, highest) value of a pixel, the outer levels.

    Raises `InputError` for other numbers of bits.
    """

    def __init__(self, bits: int = 1, **kwargs):
        super().__init__(**kwargs)
        check_count(bits=bits)
        if bits > 8:
            raise InputError(f"bits is {bits}; it must be from 1 to 8.")
        self.bits = bits

    def _transformed(self, images: tf.Tensor) -> tf.Tensor:
        levels = 2.0**self.bits - 1
        return tf.floor(images * levels + 0.5) / levels

    def get_config(self) -> dict:
        return {**super().get_config(), "bits": self.bits}


@keras.saving.register_keras_serializable(package="inc_tf")
class Median(_Transformation):
    """The median of a square window around each pixel, as `scipy.ndimage.median_filter` takes it (Xu et al., 2018).

    Args:
      size: the window's side in pixels; 2 for MNIST in Xu et al. A window of an even side reaches one pixel further up
        and to the left, and its median is the upper one of the two.
      bounds: (lowest, highest) value of a pixel.

    Beyond the border the image is mirrored, so the sides of images must be at least half the window's. Raises
    `InputError` for a size that is not a whole number of at least 1.
    """

    def __init__(self, size: int = 2, **kwargs):
        super().__init__(**kwargs)
        check_count(size=size)
        self.size = size

    def _transformed(self, images: tf.Tensor) -> tf.Tensor:
        before, after = self.size // 2, self.size - 1 - self.size // 2
        padded = tf.pad(images, [[0, 0], [before, after], [before, after], [0, 0]], "SYMMETRIC")
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        seen = [padded[:, i : i + height, j : j + width] for i in range(self.size) for j in range(self.size)]
        return tf.sort(tf.stack(seen, axis=-1))[..., len(seen) // 2]

    def get_config(self) -> dict:
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable(package="inc_tf")
class TotalVariation(_Transformation):
    """u = argmin ½‖u − x‖² + λ·TV(u), TV the summed lengths of the pixels' gradients (Rudin et al., 1992).

    Computed by Chambolle's projection algorithm (2004), each channel by itself. Guo et al. (2018) also drop a random
    half of each image's pixels; here all are kept, and nothing is random.

    Args:
      weight: λ, for images in [0, 1].
      steps: steps of the algorithm.
      bounds: (lowest, highest) value of a pixel.

    Raises `InputError` for a weight that is not above 0, and for fewer steps than one.
    """

    def __init__(self, weight: float = 0.3, steps: int = 50, **kwargs):
        super().__init__(**kwargs)
        check_above_zero(weight=weight)
        check_count(steps=steps)
        self.weight, self.steps = weight, steps

    def _transformed(self, images: tf.Tensor) -> tf.Tensor:
        def step(down: tf.Tensor, right: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            towards = _gradient(_divergence(down, right) - images / self.weight)
            length = tf.sqrt(tf.square(towards[0]) + tf.square(towards[1]) + _TINY)
            return tuple((p + _RATE * g) / (1 + _RATE * length) for p, g in zip((down, right), towards, strict=True))

        zeros = tf.zeros_like(images)
        dual = tf.while_loop(lambda *_: True, step, (zeros, zeros), maximum_iterations=self.steps)
        return tf.clip_by_value(images - self.weight * _divergence(*dual), 0.0, 1.0)

    def get_config(self) -> dict:
        return {**super().get_config(), "weight": self.weight, "steps": self.steps}


_RATE = 0.25  # the algorithm converges in practice up to this step; proven for half of it
_TINY = 1e-12  # the root has no gradient at 0


def _gradient(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Each pixel's differences to the ones below and to the right, 0 at the border."""
    down = tf.pad(images[:, 1:] - images[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
    right = tf.pad(images[:, :, 1:] - images[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])
    return down, right


def _divergence(down: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """The negative adjoint of `_gradient`."""
    vertical = down - tf.pad(down[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])
    horizontal = right - tf.pad(right[:, :, :-1], [[0, 0], [0, 0], [1, 0], [0, 0]])
    return vertical + horizontal
