"""Diffusion purification (Nie et al., 2022): noise is added to an image until an attack drowns in it, then removed."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from inc_tf.checks import ChecksImages, as_seed, check_bounds, check_count, check_share
from inc_tf.data import Bounds
from inc_tf.data.scaling import from_unit, to_unit
from inc_tf.errors import InputError
from inc_tf.interrupts import interruptible
from inc_tf.models.diffusion import LinearSchedule
from inc_tf.projection import gradients
from inc_tf.projection.projection import Projection, in_one_pass
from inc_tf.projection.solvers.protocol import activations, rows_together
from inc_tf.projection.starts import fingerprint
from inc_tf.saving import deserialized, serialized


@keras.saving.register_keras_serializable(package="inc_tf")
class DiffusionProjector(ChecksImages, keras.layers.Layer):
    """x ↦ x̂: x_t* = √ᾱ_t* · x + √(1 − ᾱ_t*) · ε is drawn, and the reverse process is run from there to time 0.

    Args:
      model: (x_t, t) → ε, a keras.Model of two inputs, images [N, H, W, C] of values about [−1, 1] and times [N], that
        predicts the noise in the images, e.g. `inc_tf.models.diffusion.unet`.
      time: t*, from 1 to the schedule's T: how much noise is added. The more, the less is left of an attack, and of x.
      steps: steps of the reverse process, each over t*/`steps` times of the schedule; must divide `time`.
      eta: η of Song et al. (2021), eq. (16), from 0 to 1: 1 is the ancestral sampling of DDPM (Ho et al., 2020), 0 is
        DDIM, which draws nothing after the first noise.
      schedule: the schedule of the noise that the model was trained on.
      bounds: (lowest, highest) value of a pixel.

    Called as ``projector(images, seed=None) -> Projection``, with 0 steps and codes float32 [N, 0]; the seed is an
    integer, or int32 [N], one for each image; None is 0. An image's noise comes from its seed and its own values, so
    that its purification does not depend on the others in the batch, but for rounding. No gradient passes; see
    `purify`. Raises `InputError` for a model without a time input or one that maps images to another size, a time
    outside the schedule, steps that do not divide it, another η, and for images that are not float32 [N, H, W, C] of
    the model's size within the bounds.
    """

    def __init__(
        self,
        model: keras.Model,
        time: int = 200,
        steps: int = 10,
        eta: float = 1.0,
        schedule: LinearSchedule = LinearSchedule(),
        bounds: Bounds = (0.0, 1.0),
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})  # the model may have another policy
        self.image_shape = _image_shape(model)
        self.model, self.schedule = model, schedule
        self.bounds: Bounds = check_bounds(bounds)
        check_count(time=time)
        if time > schedule.steps:
            raise InputError(f"time is {time}; it must be from 1 to {schedule.steps}, a step of the schedule.")
        check_share(eta=eta)
        self.time, self.steps, self.eta = time, self._checked(steps, time), eta
        self.supports_jit = False
        specs = [tf.TensorSpec([None, *self.image_shape], tf.float32), tf.TensorSpec([None], tf.int32)]
        # One graph for every batch, as `LatentProjector` has it.
        self._purify = tf.function(self.purify, input_signature=specs, autograph=False)
        self._batch = rows_together(2 * activations(model))

    def call(self, images: tf.Tensor, seed: int | tf.Tensor | None = None) -> Projection:
        images = tf.stop_gradient(images)
        seeds = tf.broadcast_to(as_seed(seed), tf.shape(images)[:1])
        if not tf.executing_eagerly():
            return in_one_pass(images, tf.stop_gradient(self._purify(images, seeds)))

        def in_turn() -> tf.Tensor:
            starts = range(0, len(images), self._batch)
            batches = [(images[i : i + self._batch], seeds[i : i + self._batch]) for i in starts]
            return tf.concat([self._purify(*batch) for batch in batches], axis=0)

        return in_one_pass(images, interruptible(in_turn))

    def purify(self, images: tf.Tensor, seeds: tf.Tensor, steps: int | None = None) -> tf.Tensor:
        """The purified images, float32 [N, H, W, C], differentiable with respect to `images`.

        The backward pass recomputes the network's activations step by step: for each step it keeps only x_t, of the
        size of an image.

        Args:
          images: float32 [N, H, W, C] within the bounds.
          seeds: int32 [N], one for each image.
          steps: steps of the reverse process, instead of the projector's own; must divide its `time`. Fewer steps are
            the surrogate process of Lee and Kim (2023).
        """
        steps = self.steps if steps is None else self._checked(steps, self.time)
        times = np.arange(self.time, -1, -(self.time // steps))
        signal = self.schedule.signal()[times]
        noise = self._noise(images, seeds, steps)
        x = 2 * to_unit(images, self.bounds) - 1
        x = math.sqrt(signal[0]) * x + math.sqrt(1 - signal[0]) * noise[:, 0]
        rows = coefficients(signal, times, self.eta)
        predict = gradients.frozen(self.model)

        def step(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            row = tf.gather(tf.constant(rows, tf.float32), i)
            drawn = tf.gather(noise, tf.minimum(i + 1, tf.shape(noise)[1] - 1), axis=1)
            return i + 1, gradients.recomputed(lambda x: _reversed(predict, x, row, drawn))(x)

        x = tf.while_loop(lambda *_: True, step, (tf.constant(0), x), maximum_iterations=steps)[1]
        return from_unit(tf.ensure_shape((x + 1) / 2, [None, *self.image_shape]), self.bounds)

    def _noise(self, images: tf.Tensor, seeds: tf.Tensor, steps: int) -> tf.Tensor:
        """Each image's draws, float32 [N, m, H, W, C]: one to begin with, and where η > 0 one for each step."""
        shape = [1 + (steps if self.eta > 0 else 0), *self.image_shape]
        keys = tf.stack([seeds, fingerprint(tf.stop_gradient(images))], axis=1)
        spec = tf.TensorSpec(shape, tf.float32)
        return tf.map_fn(lambda key: tf.random.stateless_normal(shape, key), keys, fn_output_signature=spec)

    @staticmethod
    def _checked(steps: int, time: int) -> int:
        check_count(steps=steps)
        if time % steps:
            divisors = [d for d in range(1, time + 1) if time % d == 0]
            close = min(divisors, key=lambda d: abs(d - steps))
            raise InputError(f"steps is {steps}, which does not divide time {time}; {close} does.")
        return steps

    def with_steps(self, steps: int) -> "DiffusionProjector":
        """The same with another number of steps, on the same model."""
        return type(self)(self.model, self.time, steps, self.eta, self.schedule, self.bounds)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **serialized(model=self.model, schedule=self.schedule),
            "time": self.time,
            "steps": self.steps,
            "eta": self.eta,
            "bounds": list(self.bounds),
        }

    @classmethod
    def from_config(cls, config: dict) -> "DiffusionProjector":
        return cls(**deserialized(config, "model", "schedule"))


def _image_shape(model: keras.Model) -> tuple[int, int, int]:
    """[H, W, C] of the images that a diffusion model takes and returns; raises `InputError` where it is not one."""
    inputs = getattr(model, "inputs", None) or []
    if len(inputs) != 2 or len(inputs[0].shape) != 4 or len(inputs[1].shape) != 1:
        found = [tuple(one.shape) for one in inputs]
        raise InputError(
            f"The diffusion model takes {found}; it must take two inputs, images (None, H, W, C) and their times "
            "(None,), as inc_tf.models.diffusion.unet does."
        )
    shape = tuple(inputs[0].shape[1:])
    if tuple(model.output_shape[1:]) != shape or None in shape:
        raise InputError(
            f"The diffusion model maps images {shape} to {tuple(model.output_shape[1:])}; it must predict the noise in "
            "images of one fixed size."
        )
    return shape


def coefficients(signal: np.ndarray, times: np.ndarray, eta: float) -> np.ndarray:
    """What each step of the reverse process weighs its parts with, float64 [steps, 6]: its time t, √ᾱ_t, √(1 − ᾱ_t),
    and of the earlier time s √ᾱ_s, √(1 − ᾱ_s − σ²) and σ (Song et al., 2021, eq. 12 and 16).
    """
    now, before = signal[:-1], signal[1:]
    variance = eta**2 * (1 - before) / (1 - now) * (1 - now / before)
    shares = np.sqrt(before), np.sqrt(np.maximum(1 - before - variance, 0)), np.sqrt(variance)
    return np.stack([times[:-1], np.sqrt(now), np.sqrt(1 - now), *shares], axis=1)


def _reversed(predict: Callable, x: tf.Tensor, row: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """One step back in time: the clean image is predicted, clipped, and noised again as far as the step goes."""
    time, signal, blur, image_share, noise_share, sigma = tf.unstack(row)
    predicted = predict([x, tf.fill(tf.shape(x)[:1], time)])
    clean = tf.clip_by_value((x - blur * predicted) / signal, -1.0, 1.0)
    return image_share * clean + noise_share * (x - signal * clean) / blur + sigma * noise
