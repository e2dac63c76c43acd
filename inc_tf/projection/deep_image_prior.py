"""Algorithm 2: projection without a trained generator, by fitting an untrained network's weights to each image."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import keras
import tensorflow as tf

from inc_tf.adam import adam
from inc_tf.checks import ChecksImages, as_seed, check_images
from inc_tf.errors import InputError
from inc_tf.fit import fitted_network
from inc_tf.interrupts import interruptible
from inc_tf.models.skip import skip_network
from inc_tf.models.upscaling import JoinedConvolution
from inc_tf.projection.projection import Projection, Status
from inc_tf.projection.starts import fingerprint
from inc_tf.projection.stopping import ErrorBelow, MovingVariance, Reconstruction, Rule, follow, nothing
from inc_tf.rows import select
from inc_tf.saving import deserialized, serialized

_JITTER = 1 / 30  # standard deviation of the noise that joins z at each step
_DIFFERENCE = 1e-3  # of the weights' length: over how far a derivative is a difference
_ATTEMPTS = 2
_CODES = {
    "uniform": lambda shape, seed: tf.random.stateless_uniform(shape, seed, 0.0, 0.1),
    "normal": tf.random.stateless_normal,
}


class Trajectory(NamedTuple):
    """One image's search, as far as its limit.

    Attributes:
      checkpoints: the reconstructions after the steps that were asked for.
      answers: for each rule, the reconstruction that it chose; at the limit, if it had not stopped before.
      stopped: for each rule, whether it stopped before the limit.
      restarts: how often the search was restarted because it met NaN, 0 or 1.
    """

    checkpoints: list[Reconstruction]
    answers: list[Reconstruction]
    stopped: list[bool]
    restarts: int


class _State(NamedTuple):
    seed: tf.Tensor
    code: tf.Tensor
    weights: tf.Tensor
    moments: tuple[tf.Tensor, tf.Tensor]
    seen: Reconstruction
    rules: list[Any]
    failed: tf.Tensor


@keras.saving.register_keras_serializable(package="inc_tf")
class DeepImagePrior(ChecksImages, keras.layers.Layer):
    """x ↦ G_φ*(z), φ* = argmin_φ ‖G_φ(z) − x‖₂² from random φ, stopped early; Algorithm 2 and section 4.4.

    Args:
      network: G, a keras.Model from noise [N, h, w, c] to images [N, H, W, C] in [0, 1], mapped to [−1, 1] here; None
        is `skip_network()`, for 224×224 images. Its convolutions are drawn anew for each image, from
        U(−1/√fan-in, 1/√fan-in), PyTorch's default, under which the reference's constants were found; its other
        weights begin as the network has them.
      steps: the largest number of steps; the paper's 500 (100 against ε 0.1).
      stop_mse: stop at the first reconstruction with a mean squared error below this, in [−1, 1] units; the paper's
        0.005. None: do not stop early.
      learning_rate: Adam's learning rate; the reference's 0.01.
      code: how z is drawn, once for each image: `"uniform"`, U(0, 0.1), as the reference does, or `"normal"`, N(0, 1),
        as in Algorithm 2. N(0, (1/30)²) is added anew at each step, as the reference does.
      moving_variance: a rule that stops the search instead of `stop_mse`; None: `stop_mse` applies.

    Called as ``projector(images, seed=None) -> Projection``, images float32 [N, H, W, C] in [−1, 1]; the seed is an
    integer, or int32 [N], one for each image; None is 0. The images go one by one through a compiled loop, each with
    weights of its own, drawn from the seed and the image's own values, so that a projection does not depend on the
    batch. The projection is the reconstruction at which the search stopped (status `CONVERGED`), or the last one, made
    from z with that step's noise; `steps` is how many steps led to it, and there are no codes: float32 [N, 0]. A search
    that meets NaN is restarted once from other weights; if that fails too, it returns its last finite reconstruction
    (`NOT_FINITE`), or a grey image at −1 steps if it never had one. No gradient is passed on.

    Raises `InputError` for a network that does not map [N, h, w, c] to [N, H, W, C], for settings out of range, and for
    images of another shape or type, outside the bounds, or not finite.
    """

    bounds = (-1.0, 1.0)

    def __init__(
        self,
        network: keras.Model | None = None,
        steps: int = 500,
        stop_mse: float | None = 0.005,
        learning_rate: float = 0.01,
        code: Literal["uniform", "normal"] = "uniform",
        moving_variance: MovingVariance | None = None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})  # the network may have another policy
        network = skip_network() if network is None else fitted_network(network)
        if len(network.input_shape) != 4 or len(network.output_shape) != 4 or None in network.input_shape[1:]:
            raise InputError(
                f"The network maps {network.input_shape} to {network.output_shape}; "
                "it must map noise (None, h, w, c) to images (None, H, W, C) of a fixed size."
            )
        if steps < 1 or not learning_rate > 0 or not (stop_mse is None or stop_mse > 0):
            raise InputError(
                f"steps is {steps}, learning_rate {learning_rate} and stop_mse {stop_mse}; each must be above 0."
            )
        if code not in _CODES:
            raise InputError(f"code is {code!r}; it must be one of {', '.join(map(repr, _CODES))}.")
        self.network = network
        self.image_shape: tuple[int, int, int] = network.output_shape[1:]
        self.steps = steps
        self.stop_mse = stop_mse
        self.learning_rate = learning_rate
        self.code = code
        self.moving_variance = moving_variance
        self.supports_jit = False  # XLA gains nothing on a CPU's convolutions
        self.built = True  # there is nothing to build but the network, which is
        images = tf.TensorSpec([None, *self.image_shape], tf.float32)
        signature = [images, tf.TensorSpec([None], tf.int32)]
        self._project = tf.function(self._project_images, input_signature=signature, autograph=False)

    def call(self, images: tf.Tensor, seed: int | tf.Tensor | None = None) -> Projection:
        images, seed = tf.cast(images, tf.float32), as_seed(seed)
        seeds = tf.broadcast_to(seed, tf.shape(images)[:1])
        if tf.executing_eagerly():
            return interruptible(lambda: self._project(images, seeds))
        return self._project(images, seeds)

    def _project_images(self, images: tf.Tensor, seeds: tf.Tensor) -> Projection:
        found, status = tf.map_fn(
            lambda row: self._search(*row),
            (images, _image_seeds(images, seeds)),
            fn_output_signature=(
                Reconstruction(
                    tf.TensorSpec(self.image_shape, tf.float32),
                    tf.TensorSpec([], tf.float32),
                    tf.TensorSpec([], tf.int32),
                ),
                tf.TensorSpec([], tf.int32),
            ),
            parallel_iterations=1,
        )
        squared = tf.reduce_sum(tf.math.squared_difference(found.image, images), axis=[1, 2, 3])
        return Projection(found.image, tf.zeros([tf.shape(images)[0], 0]), tf.sqrt(squared), found.steps, status)

    def _search(self, image: tf.Tensor, seed: tf.Tensor) -> tuple[Reconstruction, tf.Tensor]:
        """One image's reconstruction, and its `Status`."""
        rules = (self._rule(),)

        def attempt(i: tf.Tensor, *_) -> tuple[tf.Tensor, tf.Tensor, Reconstruction, tf.Tensor]:
            state = self._start(_attempt_seed(seed, i), rules)
            state = self._advance(image, state, tf.constant(self.steps), rules, stops=True)
            return i + 1, state.failed, state.rules[0].answer, state.rules[0].done

        _, failed, found, done = tf.while_loop(
            lambda _, failed, *rest: failed,
            attempt,
            (tf.constant(0), tf.constant(True), nothing(self.image_shape), tf.constant(False)),
            maximum_iterations=_ATTEMPTS,
        )
        ended = tf.where(done, Status.CONVERGED, Status.OUT_OF_STEPS)
        return found, tf.where(failed, Status.NOT_FINITE, ended)

    def trajectory(
        self,
        image: tf.Tensor,
        checkpoints: Sequence[int],
        rules: Sequence[Rule] = (),
        seed: int = 0,
        progress: Callable[[int], None] = lambda steps: None,
    ) -> Trajectory:
        """The whole search on one image: its results at several limits and under several rules, in one run.

        It takes exactly the steps that a call takes on the same image with the same seed, but no rule stops it.

        Args:
          image: float32 [H, W, C] in [−1, 1].
          checkpoints: the numbers of steps after which to keep the reconstruction, ascending; the last is the limit.
          rules: rules to follow on the way.
          seed: as for a call.
          progress: called with the number of steps taken since its last call.
        """
        images = tf.convert_to_tensor(image)[tf.newaxis]
        check_images(images, self.image_shape, self.bounds)
        seed = _image_seeds(images, tf.constant([seed], tf.int32))[0]
        for attempt in range(_ATTEMPTS):
            state = self._start(_attempt_seed(seed, tf.constant(attempt)), rules)
            found, taken = [], 0
            for checkpoint in checkpoints:
                state = self._advance(images[0], state, tf.constant(checkpoint), tuple(rules), stops=False)
                found.append(_to_numpy(state.seen))
                progress(checkpoint - taken)
                taken = checkpoint
            if not state.failed:
                break
            if attempt + 1 < _ATTEMPTS:
                progress(-taken)
        return Trajectory(
            checkpoints=found,
            answers=[_to_numpy(rule.answer) for rule in state.rules],
            stopped=[bool(rule.done) for rule in state.rules],
            restarts=attempt,
        )

    def _start(self, seed: tf.Tensor, rules: Sequence[Rule]) -> _State:
        """Fresh weights and z of one image, from its seed."""
        seeds = tf.random.experimental.stateless_split(seed, 3)
        weights = self._draw(seeds[0])
        zeros = tf.zeros_like(weights)
        return _State(
            seed=seeds[1],
            code=_CODES[self.code]([1, *self.network.input_shape[1:]], seeds[2]),
            weights=weights,
            moments=(zeros, zeros),
            seen=nothing(self.image_shape),
            rules=[rule.start(self.image_shape) for rule in rules],
            failed=tf.constant(False),
        )

    @property
    def drawn(self) -> dict[str, float]:
        """The weights that are drawn anew for each image, by path, and how far from 0 each may be: convolutions'."""
        return {
            variable.path: math.prod(layer.kernel.shape[:-1]) ** -0.5
            for layer in _layers(self.network)
            if isinstance(layer, keras.layers.Conv2D | JoinedConvolution)
            for variable in layer.trainable_variables
            if variable.name != "gamma"
        }

    def _draw(self, seed: tf.Tensor) -> tf.Tensor:
        """All weights in one vector: convolutions' drawn, the others as the network has them."""
        variables, drawn = self.network.trainable_variables, self.drawn
        reach = tf.repeat([drawn.get(v.path, 0.0) for v in variables], [math.prod(v.shape) for v in variables])
        own = tf.concat([tf.reshape(v.value, [-1]) for v in variables], axis=0)
        return tf.where(reach > 0, reach * tf.random.stateless_uniform(tf.shape(reach), seed, -1.0, 1.0), own)

    def _parts(self, weights: tf.Tensor) -> list[tf.Tensor]:
        """The vector of all weights as the network's own."""
        variables = self.network.trainable_variables
        parts = tf.split(weights, [math.prod(v.shape) for v in variables])
        return [tf.reshape(part, v.shape) for part, v in zip(parts, variables, strict=True)]

    @tf.function(autograph=False)
    def _advance(self, image, state: _State, limit, rules: tuple[Rule, ...], stops: bool) -> _State:
        """The state once the reconstruction after `limit` steps is seen, or before that where a rule `stops` it."""

        def goes_on(state: _State) -> tf.Tensor:
            done = stops and tf.reduce_any([rule.done for rule in state.rules])
            return (state.seen.steps < limit) & ~state.failed & ~tf.convert_to_tensor(done)

        return tf.while_loop(goes_on, lambda state: (self._step(image, state, rules),), (state,))[0]

    def _step(self, image: tf.Tensor, state: _State, rules: tuple[Rule, ...]) -> _State:
        steps = state.seen.steps + 1
        drawn = tf.random.experimental.stateless_fold_in(state.seed, steps)
        noise = _JITTER * box_muller(state.code.shape, drawn)
        output, error, gradient = self._slope(image, state.weights, state.code + noise)
        change, moments = adam(gradient, state.moments, tf.cast(steps, tf.float32), self.learning_rate)
        seen = Reconstruction(output, error, steps)
        finite = tf.math.is_finite(error)
        return state._replace(
            weights=state.weights + change,
            moments=moments,
            seen=select(finite, seen, state.seen),
            rules=[follow(rule, old, seen, finite) for rule, old in zip(rules, state.rules, strict=True)],
            failed=~finite,
        )

    def _slope(self, image: tf.Tensor, weights: tf.Tensor, code: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The reconstruction, its mean squared error, and the gradient of that with respect to the weights."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            output = self._output(weights, code)
            error = tf.reduce_mean(tf.math.squared_difference(output, image))
        return output, error, tape.gradient(error, weights)

    def _output(self, weights: tf.Tensor, code: tf.Tensor) -> tf.Tensor:
        own = self._parts(weights), [v.value for v in self.network.non_trainable_variables]
        shares, _ = self.network.stateless_call(*own, code, training=False)
        return 2.0 * tf.cast(shares[0], tf.float32) - 1.0

    def reconstruct(self, image: tf.Tensor, seed: int | tf.Tensor = 0) -> tf.Tensor:
        """The projection of one image, float32 [H, W, C], with a gradient of its own, for attacks that know the
        defence.

        The gradient is that of one more step of the search, which moves the weights by −P·Jᵀ(G − x), where J is the
        reconstruction's derivative and P is Adam's scale: an upstream u is pulled back to J·P·Jᵀu. Changes that the
        network can follow pass, and others do not. The gradient costs three passes of the network, and the value a
        whole search.

        Args:
          image: float32 [H, W, C] in [−1, 1].
          seed: as for a call.
        """
        search = self._ended.get_concrete_function(
            tf.TensorSpec(self.image_shape, tf.float32), tf.TensorSpec([1], tf.int32)
        )
        # No tape follows the search: it would record every step.
        seeds = tf.reshape(tf.cast(seed, tf.int32), [1])
        found, *end = map(tf.stop_gradient, tf.recompute_grad(search)(image, seeds))

        @tf.custom_gradient
        def at_end(image: tf.Tensor):
            return tf.identity(found), lambda upstream: self._followed(*end, upstream)

        return at_end(image)

    @tf.function(autograph=False)
    def _ended(self, image: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Where a call's search on one image ends: the reconstruction, the weights, Adam's second moment, and z."""
        rules = (self._rule(),)
        state = self._start(_attempt_seed(_image_seeds(image[tf.newaxis], seeds)[0], tf.constant(0)), rules)
        state = self._advance(image, state, tf.constant(self.steps), rules, stops=True)
        return state.seen.image, state.weights, state.moments[1], state.code

    @tf.function(autograph=False)
    def _followed(self, weights: tf.Tensor, squares: tf.Tensor, code: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
        """J·P·Jᵀu, [H, W, C]; J's own product is a difference, since no kernel here has two derivatives."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(weights)
            output = self._output(weights, code)
        direction = tape.gradient(output, weights, upstream) / (tf.sqrt(squares) + 1e-8)
        length = tf.norm(direction)
        change = _DIFFERENCE * tf.norm(weights) * tf.math.divide_no_nan(direction, length)
        ahead, behind = (self._output(weights + sign * change, code) for sign in (1.0, -1.0))
        return tf.math.divide_no_nan((ahead - behind) * length, 2 * tf.norm(change))

    def _rule(self) -> Rule:
        """What stops a call's search."""
        return self.moving_variance or ErrorBelow(0.0 if self.stop_mse is None else self.stop_mse)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **serialized(network=self.network, moving_variance=self.moving_variance),
            "steps": self.steps,
            "stop_mse": self.stop_mse,
            "learning_rate": self.learning_rate,
            "code": self.code,
        }

    @classmethod
    def from_config(cls, config: dict) -> "DeepImagePrior":
        return cls(**deserialized(config, "network", "moving_variance"))


def _layers(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model and of the models within it."""
    for layer in model.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else (layer,)


def box_muller(shape: tf.TensorShape, seed: tf.Tensor) -> tf.Tensor:
    """From N(0, 1), by Box and Muller: `tf.random.stateless_normal` takes twice as long, up to a tenth of a step."""
    n = math.prod(shape)
    first, second = tf.unstack(tf.random.stateless_uniform([2, (n + 1) // 2], seed))
    radius, angle = tf.sqrt(-2.0 * tf.math.log(1.0 - first)), 2.0 * math.pi * second
    drawn = tf.concat([radius * tf.cos(angle), radius * tf.sin(angle)], axis=0)
    return tf.reshape(drawn[:n], shape)


def _image_seeds(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """A seed for each image, of the caller's, int32 [N], and of its own values, int32 [N, 2]."""
    return tf.stack([seeds, fingerprint(images)], axis=1)


def _attempt_seed(seed: tf.Tensor, attempt: tf.Tensor) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, attempt)


def _to_numpy(seen: Reconstruction) -> Reconstruction:
    return Reconstruction(*(part.numpy() for part in seen))
