"""Makes a classifier, a generator, an encoder and the bounds of the images fit one another, or says why they do not.

People bring models of many kinds. What a wrapper can mend is wrapped here: flat or channels-first images, codes
[1, 1, k], subclassed models, floating types other than float32, one sigmoid instead of two logits. Anything else is
refused with one sentence, which includes the line of Keras that mends it. A model that already fits is returned
unchanged, so that its outputs stay the same to the last bit. Defences, projectors and attacks all use this module;
`inc_tf.checks` checks images.
"""

import inspect
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inc_tf.data import Bounds
from inc_tf.errors import InputError
from inc_tf.functional import (
    PROBABILITIES,
    REACHES,
    Shape,
    activation_of,
    check_kind,
    ending_of,
    functional,
    is_functional,
    operation_behind,
    tensor_before,
)

_SAMPLES = 32
_ROUNDING = 0.02  # of a sum of probabilities, in bfloat16
_FAR = 0.05  # of the bounds' width
_FAR_SHARE = 0.25  # of the values of G(z) that may be further outside than that

_loading = False


@contextmanager
def weights_follow() -> Iterator[None]:
    """A context in which Keras rebuilds a model before it loads the weights: checks of values are skipped."""
    global _loading
    before, _loading = _loading, True
    try:
        yield
    finally:
        _loading = before


def fitted_classifier(
    classifier: keras.Layer, image_shape: Sequence[int] | None = None, whose: str = "The generator makes images"
) -> keras.Model:
    """`classifier` as a keras.Model from images, float32 [N, H, W, C], to logits, float32 [N, classes].

    Args:
      classifier: a model with one input and one output; it takes images, or images reshaped. If its output is a single
        number, from a `Dense` layer with a sigmoid or no activation, it is a binary classifier with logits (0, s).
      image_shape: [H, W, C]; None is the classifier's own.
      whose: the words with which a message says where the images come from.

    Returns the model itself if it already fits. Raises `InputError` for anything else, for images of another shape, for
    NaN or infinity in its weights, and for a model that ends in a softmax or in several sigmoids.
    """
    graph = functional(classifier, "classifier", image_shape)
    own, shape = graph.input_shape[1:], tuple(image_shape or graph.input_shape[1:])
    if len(graph.output_shape) == 4 and len(own) <= 1:
        raise InputError(
            f"The classifier maps {graph.input_shape} to {graph.output_shape}, as a generator does; "
            "it must map images to logits (None, classes): were classifier and generator swapped?"
        )
    if len(shape) != 3 or None in shape:
        raise InputError(
            f"The classifier takes {(None, *own)}; it must take images (None, height, width, channels), as "
            "keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Reshape((784,)), classifier]) does."
        )
    before = _images_to(shape, own)
    if before is None:
        resized = f": keras.Sequential([keras.Input({shape}), keras.layers.Resizing{own[:2]}, classifier]) resizes them"
        mended = resized if len(own) == 3 and own[2] == shape[2] and None not in own else ""
        if own == (*shape[:2], 3) and shape[2] == 1:
            mended = f": x = keras.Input({shape}); keras.Model(x, classifier(keras.layers.Concatenate()([x, x, x])))"
        if own == (*shape[:2], 1) and shape[2] == 3:
            mended = f": x = keras.Input({shape}); keras.Model(x, classifier(keras.ops.image.rgb_to_grayscale(x)))"
        raise InputError(f"{whose} {shape}, the classifier takes {own}; they must be the same{mended}.")
    classes = math.prod(size or 0 for size in graph.output_shape[1:])
    if classes == 1:
        graph, after = _without_activation(graph), [*_flat(graph.output_shape[1:]), _TwoLogits(dtype="float32")]
    elif len(graph.output_shape) == 2 or classes == graph.output_shape[-1]:
        after = [] if len(graph.output_shape) == 2 else [keras.layers.Flatten(dtype="float32")]
        if ending_of(graph).activation in PROBABILITIES:
            raise InputError(_NOT_LOGITS)
    else:
        raise InputError(
            f"The classifier maps images {(None, *shape)} to {graph.output_shape}; "
            "it must map them to logits (None, classes)."
        )
    _check_weights(graph, "classifier")
    return _wrapped(graph, shape, before, after)


def fitted_generator(generator: keras.Layer) -> keras.Model:
    """`generator` as a keras.Model from codes, float32 [N, k], to images, float32 [N, H, W, C].

    Returns the model itself if it already fits. Raises `InputError` for a model that does not map codes to images of
    one size, if k is unknown or zero, for NaN or infinity in its weights, and if the image has no gradient with respect
    to the code.
    """
    graph = functional(generator, "generator", None)
    codes, images = graph.input_shape[1:], graph.output_shape[1:]
    maps = f"The generator maps {graph.input_shape} to {graph.output_shape}"
    if None in codes or not codes or sum(size != 1 for size in codes) > 1:
        said = " Were classifier and generator swapped?" if len(images) == 1 and len(codes) == 3 else ""
        if codes == images:
            said = " An autoencoder's decoder does, behind its encoder in inc.EncoderProjector(encoder, decoder)."
        known = bool(codes) and None not in codes
        k, reshaped = (math.prod(codes), tuple(codes)) if known else ("k", "(…)")
        raise InputError(
            f"{maps}; it must map codes (None, k) to images (None, H, W, C), k fixed, as "
            f"keras.Sequential([keras.Input(({k},)), keras.layers.Reshape({reshaped}), generator]) does.{said}"
        )
    if 0 in codes:
        raise InputError(f"The generator's codes have {codes[-1]} dimensions; they must have at least 1.")
    if None in images and len(images) in (2, 3):
        images = _shape_of_one(graph, codes)
    if len(images) == 1:
        side = math.isqrt(images[0] or 0)
        guess = f"{side}, {side}, 1" if side > 1 and side**2 == images[0] else "H, W, C"
        raise InputError(
            f"{maps}; it must map codes to images (None, H, W, C): "
            f"keras.Sequential([generator, keras.layers.Reshape(({guess}))]) does."
        )
    if len(images) not in (2, 3):
        raise InputError(f"{maps}; it must map codes (None, k) to images (None, H, W, C).")
    after: list[keras.Layer] = []
    if len(images) == 2:
        after = [keras.layers.Reshape((*images, 1), dtype="float32")]
    elif images[0] in (1, 3) and images[2] not in (1, 3):
        after = [keras.layers.Permute((2, 3, 1), dtype="float32")]
    elif None in graph.output_shape[1:]:
        after = [keras.layers.Reshape(images, dtype="float32")]
    _check_weights(graph, "generator")
    latent_dim = math.prod(codes)
    before = [] if len(codes) == 1 else [keras.layers.Reshape(codes, dtype="float32")]
    fitted = _wrapped(graph, (latent_dim,), before, after)
    _check_gradient(fitted, latent_dim)
    return fitted


def fitted_encoder(encoder: keras.Layer, generator: keras.Model | None = None) -> keras.Model:
    """`encoder` as a keras.Model from the images of a fitted `generator` to its codes, both float32.

    Without a generator, it only becomes a model with one input and one output. Raises `InputError` if it does not fit.
    """
    graph = functional(encoder, "encoder", generator.output_shape[1:] if generator else None)
    if generator is None:
        return graph
    shape, latent_dim = generator.output_shape[1:], generator.input_shape[1]
    before, codes = _images_to(shape, graph.input_shape[1:]), graph.output_shape[1:]
    if before is None or sum(size != 1 for size in codes) > 1 or math.prod(size or 0 for size in codes) != latent_dim:
        raise InputError(
            f"The encoder maps {graph.input_shape} to {graph.output_shape}; for this generator it must map "
            f"{generator.output_shape} to {generator.input_shape}: each must take what the other returns."
        )
    _check_weights(graph, "encoder")
    return _wrapped(graph, shape, before, [] if len(codes) == 1 else [keras.layers.Flatten(dtype="float32")])


def fitted_network(network: keras.Layer) -> keras.Model:
    """The untrained `network` of a prior as a keras.Model with one input and one output. Raises `InputError`."""
    return functional(network, "network", None)


def check_projector(projector: keras.Layer) -> None:
    """Refuse what is not a projector: most often a generator or a classifier. Raises `InputError`."""
    if is_functional(projector) or not isinstance(projector, keras.Layer):
        raise InputError(
            f"The projector is a {type(projector).__name__}; it must be a layer that projects, "
            "inc.LatentProjector(generator), say."
        )
    check_kind(projector, "projector")
    if "seed" not in (taken := inspect.signature(projector.call).parameters) and not any(
        one.kind is one.VAR_KEYWORD for one in taken.values()
    ):
        raise InputError(
            f"The projector is a {type(projector).__name__}, which takes no seed; it must be called as "
            "projector(images, seed=None) -> inc.Projection, as inc.EncoderProjector(encoder, decoder) is, which makes "
            "one of an autoencoder."
        )


def check_defense(classifier: keras.Model, projector: keras.Layer, bounds: Bounds) -> None:
    """Try both parts: refuse a projector whose images leave the bounds, and a classifier that returns probabilities.

    A generator that ends in a tanh or a sigmoid must have exactly the bounds' range. Any other is tried on 32 codes:
    the projector's encoder makes them of noise; without an encoder they are drawn as for a search, from N(0, σ²). If
    more than a quarter of the values lie outside the bounds by more than 5 % of their width, the generator is refused;
    if any lies outside, there is a warning. Raises `InputError`.
    """
    if (own := getattr(projector, "bounds", None)) is not None and tuple(own) != tuple(bounds):
        raise InputError(
            f"The bounds are {_interval(*bounds)}, and {type(projector).__name__} makes images in {_interval(*own)}; "
            "leave bounds out, and give images and a classifier of that range."
        )
    if _loading:
        return
    generator = getattr(projector, "generator", None)
    if generator is None:
        shape = (2, *classifier.input_shape[1:])
        images = tf.random.stateless_uniform(shape, [0, 0], *bounds)
    else:
        images = _check_range(generator, bounds, _codes(projector, generator, bounds))
    logits = classifier(images, training=False)
    check_logits(logits)
    # Those of a network that is hardly trained may be small and positive by chance.
    if np.min(logits) >= 0 and 0.5 < np.max(logits) <= 1 and np.ptp(logits) > 0:
        warnings.warn(
            f"The logits of the classifier {classifier.name!r} lie between {np.min(logits):.3g} and "
            f"{np.max(logits):.3g}, as probabilities do; if they are some, leave its last activation out.",
            stacklevel=3,
        )
    again = classifier(images[:1], training=False)
    if not np.allclose(logits[:1], again, rtol=1e-2, atol=1e-2 * np.ptp(logits), equal_nan=True):
        warnings.warn(
            f"The classifier {classifier.name!r} returns other logits for the same image in another call; a layer "
            "of it draws or normalizes over the batch even with training=False.",
            stacklevel=3,
        )


def check_search(solver: Any, start: Any) -> None:
    """Refuse a class, a name, and a solver given as the start or vice versa. Raises `InputError`."""
    for what, given, mark, example in (
        ("solver", solver, "width", "inc.Adam()"),
        ("start", start, "restarts", "inc.Normal()"),
    ):
        if isinstance(given, type) or not hasattr(given, "compile") or not hasattr(given, mark):
            raise InputError(f"The {what} is {given!r}; it must be a {what} of inc, {example} say.")


def check_logits(logits: tf.Tensor) -> None:
    """Refuse NaN, infinity, and probabilities: rows without negative values that sum to one. Raises `InputError`."""
    values = logits.numpy()
    if not np.isfinite(values).all():
        raise InputError("The classifier returns NaN or infinity for these images; its weights may hold some.")
    if (values >= 0).all() and np.allclose(values.sum(axis=1), 1.0, atol=_ROUNDING):
        raise InputError(_NOT_LOGITS)


_NOT_LOGITS = (
    "The classifier returns probabilities, where attacks need logits: leave its softmax out, "
    "classifier.layers[-1].activation = None where its last layer has it."
)


def _codes(projector: keras.Layer, generator: keras.Model, bounds: Bounds) -> tf.Tensor:
    """Codes like those from which the projector's search starts, float32 [n, k]."""
    start = getattr(projector, "start", projector)
    if hasattr(start, "encoder"):
        noise = tf.random.stateless_uniform([_SAMPLES, *generator.output_shape[1:]], [0, 0], *bounds)
        return fitted_encoder(start.encoder, generator)(noise, training=False)
    shape = [_SAMPLES, generator.input_shape[1]]
    return tf.random.stateless_normal(shape, [0, 0], stddev=getattr(start, "stddev", 1.0))


def _check_range(generator: keras.Model, bounds: Bounds, codes: tf.Tensor) -> tf.Tensor:
    """Check the generator's range on `codes`; returns its images, clipped to the bounds, float32 [n, H, W, C]."""
    images = generator(codes, training=False)
    again = generator(codes[: _SAMPLES // 4], training=False)
    if not np.allclose(images[: len(again)], again, atol=1e-2 * (bounds[1] - bounds[0]), equal_nan=True):
        raise InputError(
            f"The generator {generator.name!r} makes another image of the same code in another call; a layer of it "
            "draws noise or normalizes over the batch even with training=False, and a search needs one that does not."
        )
    if not np.isfinite(images).all():
        raise InputError(f"The generator {generator.name!r} makes NaN or infinity of the codes of a search.")
    values, (low, high) = np.asarray(images), bounds
    ending = ending_of(generator)
    known = REACHES.get(ending.activation or "")
    if known is not None:
        reach = sorted(ending.scale * end + ending.offset for end in known)
        if not np.allclose(reach, bounds, atol=1e-3 * (high - low)):
            raise InputError(_out_of_range(reach, bounds, f"it ends in {ending.activation}"))
    reach = [float(values.min()), float(values.max())]
    outside = np.maximum(low - values, values - high)
    if np.mean(outside > _FAR * (high - low)) > _FAR_SHARE:
        raise InputError(_out_of_range(reach, bounds, f"on {_SAMPLES} codes"))
    if (share := np.mean(outside > 1e-6 * (high - low))) > 0:
        warnings.warn(
            f"Of the values of G(z), {100 * share:.2g} % lie outside the bounds {_interval(low, high)}, from "
            f"{reach[0]:.3g} to {reach[1]:.3g}: the classifier sees them as they are.",
            stacklevel=4,
        )
    elif known is None and reach[1] - reach[0] < 0.02 * (high - low):
        warnings.warn(
            f"The values of G(z) lie between {reach[0]:.3g} and {reach[1]:.3g}, a small part of the bounds "
            f"{_interval(low, high)}; is the generator of another range?",
            stacklevel=4,
        )
    return tf.clip_by_value(images, low, high)


def _out_of_range(reach: Sequence[float], bounds: Bounds, how: str) -> str:
    ranges = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]
    slack = [0.1 * (high - low) for low, high in ranges]
    within = [r for r, s in zip(ranges, slack, strict=True) if r[0] - s <= reach[0] and reach[1] <= r[1] + s]
    range_ = within[0] if within else tuple(reach)
    scale = (bounds[1] - bounds[0]) / (range_[1] - range_[0])
    return (
        f"The generator makes values from {reach[0]:.3g} to {reach[1]:.3g} ({how}) and the bounds are "
        f"{_interval(*bounds)}: keras.Sequential([generator, keras.layers.Rescaling({scale:.6g}, "
        f"offset={bounds[0] - scale * range_[0]:.6g})]) makes it fit, or bounds=({range_[0]:g}, {range_[1]:g}) where "
        "classifier and images have the generator's range."
    )


def _interval(low: float, high: float) -> str:
    return f"[{low:g}, {high:g}]"


@keras.saving.register_keras_serializable(package="inc_tf")
class _TwoLogits(keras.layers.Layer):
    """s, float32 [N, 1], as the logits (0, s) of two classes."""

    def call(self, inputs):
        return keras.ops.concatenate([keras.ops.zeros_like(inputs), inputs], axis=-1)


def _flat(shape: Shape) -> list[keras.Layer]:
    return [] if len(shape) == 1 else [keras.layers.Reshape((1,), dtype="float32")]


def _images_to(shape: Shape, own: Shape) -> list[keras.Layer] | None:
    """The layers that turn images of `shape` into a model's input, `own`; None if no reshape does."""
    if len(own) == 3 and all(size in (None, given) for size, given in zip(own, shape, strict=True)):
        return []
    if len(own) == 3 and own == (shape[2], *shape[:2]):
        return [keras.layers.Permute((3, 1, 2), dtype="float32")]
    if len(own) != 3 and None not in own and math.prod(own) == math.prod(shape):
        return [keras.layers.Reshape(own, dtype="float32")]
    return None


def _wrapped(graph: keras.Model, shape: Shape, before: list[keras.Layer], after: list[keras.Layer]) -> keras.Model:
    """`graph` as a model from float32 [N, *shape] to float32, with the layers `before` and `after` around it; `graph`
    itself if it is one already.
    """
    fits = tuple(graph.input_shape) == (None, *shape) and graph.outputs[0].dtype == "float32"
    if fits and not before and not after:
        return graph
    x = images = keras.Input(shape, dtype="float32")
    for layer in before:
        x = layer(x)
    x = tf.nest.flatten(graph(x))[0]
    if x.dtype != "float32":
        x = keras.layers.Activation("linear", dtype="float32")(x)
    for layer in after:
        x = layer(x)
    return keras.Model(images, x, name=graph.name)


def _without_activation(graph: keras.Model) -> keras.Model:
    """A binary classifier without its sigmoid, which would round a large logit to 1."""
    last, before = operation_behind(graph.outputs[0]), tensor_before(graph.outputs[0])
    if before is not None and is_functional(last):
        return keras.Model(graph.inputs, _without_activation(last)(before), name=graph.name)
    name = activation_of(last)
    if name == "linear":
        return graph
    if name == "sigmoid" and before is not None:
        if isinstance(last, keras.layers.Activation) or not isinstance(last, keras.Layer):
            return keras.Model(graph.inputs, before, name=graph.name)
        if last.weights:
            linear = type(last).from_config({**last.get_config(), "activation": None})
            logit = linear(before)
            linear.set_weights(last.get_weights())
            return keras.Model(graph.inputs, logit, name=graph.name)
    raise InputError(
        f"The classifier {graph.name!r} returns one number for an image, {graph.output_shape}, of which it is not "
        "known whether it is a logit or a probability; it must return logits (None, classes): end it in "
        "keras.layers.Dense(2), or in keras.layers.Dense(1) for the logit of class 1."
    )


def _shape_of_one(graph: keras.Model, codes: Shape) -> Shape:
    return tuple(graph(tf.zeros([1, *codes]), training=False).shape[1:])


def _check_weights(model: keras.Model, role: str) -> None:
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype) and not bool(tf.reduce_all(tf.math.is_finite(weight.value))):
            raise InputError(
                f"The {role} {model.name!r} has NaN or infinity in its weight {weight.path!r}; train it again, or load "
                "the weights from before."
            )


def _check_gradient(generator: keras.Model, latent_dim: int) -> None:
    code = tf.zeros([1, latent_dim])
    with tf.GradientTape() as tape:
        tape.watch(code)
        image = generator(code, training=False)
    if tape.gradient(image, code) is None:
        raise InputError(
            f"The generator {generator.name!r} has no gradient with respect to its code; "
            "every operation between the two must be differentiable."
        )
