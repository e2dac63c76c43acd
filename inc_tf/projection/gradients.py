"""Gradients of a projection's codes with respect to the image, for attacks that know the defence.

`LatentProjector` itself passes no gradient on: it keeps the best codes that its search saw, and most solvers accept or
reject their steps. The functions here return codes that an attacker's `tf.GradientTape` can differentiate; the attacker
applies G and the classifier to them. Both work in the images' own floating type.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from inc_tf.adam import adam
from inc_tf.projection.solvers.momentum import Momentum
from inc_tf.projection.solvers.protocol import activations, errors_and_gradients, squared_errors, xla_pays

_COLUMN_MEMORY = 2**31  # what the columns of a Hessian that are computed together may keep, for 64 images
_SINGULAR = 1e-6  # of the greatest eigenvalue: below it, float32 knows no direction


def unrolled(
    generator: keras.Model, images: tf.Tensor, codes: tf.Tensor, *, steps: int = 60, learning_rate: float = 0.1
) -> tf.Tensor:
    """z_K(x), the last of K steps of Adam on ‖G(z) − x‖₂², differentiable through every step.

    Args:
      generator: G, from codes [N, k] to images [N, H, W, C].
      images: x, [N, H, W, C].
      codes: z₀, [N, k]. If it depends on x, as E(x) does, the gradient flows through it too.
      steps: K.
      learning_rate: Adam's.

    Returns: [N, k]. The value is Algorithm 1's, except that Adam's ε is under the root: so its derivative at a zero
    gradient, as of a dead code, is zero rather than NaN. The backward pass takes each step once more, so that memory
    grows by three codes a step.
    """
    generate = frozen(generator)

    def step(images, t, z, *moments):
        _, gradient = errors_and_gradients(generate, z, images)
        change, moments = adam(gradient, moments, t, learning_rate, differentiable=True)
        return z + change, *moments

    advance = recomputed(step, compiled=xla_pays(generator))
    zeros = tf.zeros_like(codes)
    first = (tf.zeros([], codes.dtype), codes, zeros, zeros)
    return _after(steps, advance, images, first)


def unrolled_momentum(
    generator: keras.Model, images: tf.Tensor, codes: tf.Tensor, *, solver: Momentum = Momentum()
) -> tf.Tensor:
    """z_L(x), the last step of Defense-GAN's search, differentiable through every step.

    Args:
      generator: G, from codes [N, k] to images [N, H, W, C].
      images: x, [N, H, W, C].
      codes: z₀, [N, k].
      solver: the search, with its L steps.

    Returns: [N, k]. The backward pass takes each step once more, so that memory grows by two codes a step.
    """
    generate = frozen(generator)
    advance = recomputed(
        lambda images, t, z, velocity: solver.descend(generate, images, z, velocity, t)[1:],
        compiled=xla_pays(generator),
    )
    first = (tf.zeros([], codes.dtype), codes, tf.zeros_like(codes))
    return _after(solver.steps, advance, images, first)


def slope(generator: keras.Model, images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
    """‖Jᵀr‖₂, the norm of ∇_z ½‖G(z) − x‖₂² at `codes`, [N]: how far the codes are from a minimum; see `implicit`."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(codes)
        half = 0.5 * squared_errors(generator, codes, images)
    return tf.norm(tape.gradient(half, codes), axis=1)


def implicit(generator: keras.Model, images: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
    """z*(x), with the gradient that the implicit function theorem gives it at a minimum.

    At a minimum F(z, x) = ∇_z ½‖G(z) − x‖₂² = 0, hence dz*/dx = −(∂F/∂z)⁻¹ ∂F/∂x: one k×k solve for each image, with
    the whole Hessian ∂F/∂z, including the generator's curvature.

    Args:
      generator: G, from codes [N, k] to images [N, H, W, C]; its layers' gradients must be differentiable.
      images: x, [N, H, W, C].
      codes: z*, [N, k], at which a search has converged; `slope` says how closely. On the digits' VAE a tolerance of
        1e-3 leaves a slope of 10^−1.9 in the median, and 1e-6 one of 10^−3.5; between the two the codes move by up to
        49, along directions in which the error hardly curves, and the gradients have a cosine of 0.999 in the median
        (0.54 at worst).

    Returns: `codes`, [N, k]. Directions in which the error does not curve (eigenvalues below 1e-6 of the greatest; for
    a dead generator, all) get no gradient, so that it is always finite.
    """

    k, columns = codes.shape[1], max(2, _COLUMN_MEMORY // (64 * 4 * 4 * activations(generator)))
    # None: all of them. A number that divides k leaves a remainder of no columns, at which some GPU kernels fail.
    together = next((count for count in range(columns, k) if k % count), None)

    @tf.custom_gradient
    def at_minimum(images):
        def pull_back(upstream):
            with tf.GradientTape(watch_accessed_variables=False, persistent=True) as outer:
                outer.watch((codes, images))
                with tf.GradientTape(watch_accessed_variables=False) as inner:
                    inner.watch(codes)
                    half = 0.5 * squared_errors(generator, codes, images)
                slope = inner.gradient(half, codes)
            solved = _solve(outer.batch_jacobian(slope, codes, parallel_iterations=together), upstream)
            return outer.gradient(slope, images, output_gradients=-solved)

        return tf.identity(codes), pull_back

    codes = tf.stop_gradient(codes)
    return at_minimum(images)


def recomputed(function: Callable, *, compiled: bool = False) -> Callable:
    """`function`, from tensors to tensors, with a backward pass that recomputes it instead of keeping its activations.

    In a loop, memory then grows by the inputs of a step. There, `function` must not read a variable; see `frozen`.

    Args:
      function: from floating tensors, each an argument, to a tensor or a tuple of them.
      compiled: make of each pass one XLA program.
    """

    @tf.function(jit_compile=compiled or None, autograph=False)
    def backward(inputs: tuple[tf.Tensor, ...], upstream: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            again = tf.nest.flatten(function(*inputs))
        return tape.gradient(again, inputs, output_gradients=upstream, unconnected_gradients="zero")

    forward = tf.function(function, jit_compile=compiled or None, autograph=False)

    @tf.custom_gradient
    def differentiable(*inputs: tf.Tensor):
        return forward(*inputs), lambda *upstream: backward(inputs, upstream)

    return differentiable


def frozen(model: keras.Model) -> Callable[..., tf.Tensor]:
    """`model` as a function of its inputs, with the weights that it has at the time of this call, for use in a loop."""
    parts = model.trainable_variables, model.non_trainable_variables
    weights = [[tf.convert_to_tensor(variable) for variable in part] for part in parts]
    return lambda inputs, training=False: model.stateless_call(*weights, inputs, training=training)[0]


def _after(steps: int, step: Callable, images: tf.Tensor, first: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """The codes after `steps` steps from the state `first`: t, the codes, and what else `step` keeps."""
    return tf.while_loop(
        lambda *_: True, lambda t, *state: (t + 1, *step(images, t, *state)), first, maximum_iterations=steps
    )[1]


def _solve(hessians: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """H⁻¹b of each row, [N, k], in the directions in which H is not singular."""
    values, vectors = tf.linalg.eigh(hessians)
    sizes = tf.abs(values)
    regular = sizes > _SINGULAR * tf.reduce_max(sizes, axis=1, keepdims=True)
    components = tf.linalg.matvec(vectors, right, transpose_a=True)
    return tf.linalg.matvec(vectors, tf.where(regular, tf.math.divide_no_nan(components, values), 0.0))
