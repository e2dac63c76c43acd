"""Algorithm 1: the projection of images onto the range of a trained generator, by a search for codes."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf.checks import ChecksImages, as_seed
from inc_tf.errors import InputError
from inc_tf.fit import check_search, fitted_generator
from inc_tf.interrupts import interruptible
from inc_tf.projection.projection import Interrupted, Projection
from inc_tf.projection.rewriting import up_convolved
from inc_tf.projection.solvers import Adam
from inc_tf.projection.solvers.protocol import MEMORY, Solution, Solver, activations, rows_together
from inc_tf.projection.starts import Normal, Start
from inc_tf.saving import deserialized, serialized
from inc_tf.xla import check_not_within_xla


@keras.saving.register_keras_serializable(package="inc_tf")
class LatentProjector(ChecksImages, keras.layers.Layer):
    """x ↦ G(z*), z* = argmin_z ‖G(z) − x‖₂, as far as the solver gets; Algorithm 1 of the paper.

    Args:
      generator: G, a keras.Model from codes [N, k] to images [N, H, W, C].
      solver: how to search; the default is the paper's, Adam with learning rate 0.1 and 2000 steps.
      start: where to start; the default is the paper's, one draw z₀ ~ N(0, 1) for each image. With several restarts,
        the best one is kept for each image.

    Called as ``projector(images, seed=None) -> Projection``; the seed is an integer, or int32 [N], one for each image;
    None is 0. The whole search is one compiled graph, in batches as large as memory allows, and an image's projection
    does not depend on the others, except for rounding. Outside a graph, a search of over two seconds shows a bar
    (unless `keras.config.disable_interactive_logging()` was called), and Ctrl-C stops it: the finished batches are in
    the `projection` of the `Interrupted` that it raises. Raises `InputError` for a generator that does not map codes to
    images, that has no gradient or whose codes have no dimension (`inc_tf.fit` says what is mended), for a solver or
    start that is not one, for images that are not float32 [N, H, W, C] of the generator's size, or that are not finite,
    and inside ``tf.function(jit_compile=True)``.
    """

    def __init__(self, generator: keras.Model, solver: Solver = Adam(), start: Start = Normal(), **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})  # the generator may have another policy
        check_search(solver, start)
        generator = self.generator = fitted_generator(generator)
        self.image_shape = generator.output_shape[1:]
        self.solver = solver
        self.start = start
        self.supports_jit = False  # the solver decides for itself
        searched = up_convolved(generator)
        prepare, self._draw = start.compile(searched)
        self._minimize = solver.compile(searched)
        # What a forward and a backward pass of a code keep, and as much again.
        kept = 4 * solver.width(generator.input_shape[1]) * activations(generator)
        self._largest_batch = max(1, rows_together(kept) // start.restarts)
        scalar = tf.TensorSpec([], tf.int32)
        self._prepare = tf.function(prepare, input_signature=[scalar], autograph=False)
        sums = tf.function(lambda: [tf.reduce_sum(weight) for weight in generator.weights], autograph=False)
        self._sums = sums.get_concrete_function()
        self._kept: dict[tuple, tuple[tf.Tensor, ...]] = {}
        self._held: tuple[int, list[tf.Variable]] | None = None
        # One graph for every batch: graphs for certain sizes are optimized otherwise, and their last bits differ.
        shared = [tf.TensorSpec(part.shape, part.dtype) for part in self._prepare.get_concrete_function().outputs]
        seeds = tf.TensorSpec([None], tf.int32)
        specs = [tf.TensorSpec([None, *self.image_shape], tf.float32), seeds, *shared]
        self._project = tf.function(self._in_batches, input_signature=specs, autograph=False)

    def call(self, images: tf.Tensor, seed: int | tf.Tensor | None = None) -> Projection:
        given = as_seed(seed)
        shares = bool(self._prepare.get_concrete_function().outputs)
        if given.shape.rank == 1 and shares:
            return self._seed_by_seed(images, given)
        first = tf.reshape(given, [-1])[0]
        seeds = tf.broadcast_to(given, tf.shape(images)[:1])
        if tf.executing_eagerly():
            found = self._watched(images, seeds, first)
        else:
            check_not_within_xla("A search for codes")  # its batch shrinks as images are done
            found = self._project(images, seeds, *self._prepared(first))
        return tf.nest.map_structure(tf.stop_gradient, found)

    def _watched(self, images: tf.Tensor, seeds: tf.Tensor, first: tf.Tensor) -> Projection:
        """The same as `_in_batches` returns, but batch by batch, so that it can be watched and stopped."""
        n, size = len(images), int(self._size(len(images)))
        project = _unrecorded(self._project)
        quiet = not keras.config.is_interactive_logging_enabled()
        bar = tqdm(
            total=n, desc="project", unit="image", delay=2, mininterval=1, miniters=0, leave=False, disable=quiet
        )
        found: list[Projection] = []

        def joined() -> Projection:
            if len(found[0].codes) == n:
                return found[0]
            return Projection(*(tf.concat(parts, axis=0)[:n] for parts in zip(*found, strict=True)))

        with bar as shown:

            def in_turn() -> None:
                shared = self._shared(first)
                for start in range(0, n, size):
                    rows = tf.minimum(tf.range(start, start + size), n - 1)
                    found.append(project(tf.gather(images, rows), tf.gather(seeds, rows), *shared))
                    shown.update(min(size, n - start))

            try:
                interruptible(in_turn, waiting=lambda: shown.update(0))
            except KeyboardInterrupt:
                if not found:
                    raise
                raise Interrupted(joined(), n) from None
        return joined()

    def _seed_by_seed(self, images: tf.Tensor, seeds: tf.Tensor) -> Projection:
        """Projects the images of each seed by themselves: they share what the start prepares from the seed."""
        if not tf.executing_eagerly():
            raise InputError(f"{type(self.start).__name__} takes one seed for all images inside a graph.")
        rows = [tf.where(seeds == seed)[:, 0] for seed in np.unique(seeds)]
        found = [self.call(tf.gather(images, chosen), seeds[int(chosen[0])]) for chosen in rows]
        order = tf.argsort(tf.concat(rows, axis=0))
        return Projection(*(tf.gather(tf.concat(parts, axis=0), order) for parts in zip(*found, strict=True)))

    @contextmanager
    def held(self, seed: int = 0) -> Iterator[list[tf.Variable]]:
        """Lets graphs traced in this context read what the start prepares for `seed` from variables.

        `Nearest` makes 4,096 images for each seed, far more work than one search; graphs traced elsewhere do so in
        every call. Yields the variables, so that they can be saved with the graph; none if the start prepares nothing.
        """
        parts = [tf.Variable(part, trainable=False) for part in self._shared(tf.constant(seed))]
        self._held = (seed, parts) if parts else None
        try:
            yield parts
        finally:
            self._held = None

    def _prepared(self, seed: tf.Tensor) -> Sequence[tf.Tensor]:
        """What the start prepares, inside a graph."""
        if self._held is None:
            return self._prepare(seed)
        known, parts = self._held
        return tf.cond(
            tf.equal(seed, known), lambda: [tf.identity(part) for part in parts], lambda: list(self._prepare(seed))
        )

    def with_steps(self, steps: int) -> "LatentProjector":
        """The same with a search of at most `steps` steps. Both share what their start prepares outside a graph."""
        shorter = dataclasses.replace(self.solver, steps=steps)  # type: ignore[type-var]
        other = type(self)(self.generator, shorter, self.start)
        other._kept = self._kept  # noqa: SLF001  (of the same class)
        return other

    def _shared(self, seed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """What the start prepares, kept for as long as the generator's weights stay as they are; the oldest seed's goes
        where memory ends.
        """
        weights = tuple(float(total) for total in self._sums())
        key = (int(seed), *weights)
        if key not in self._kept:
            for other in [other for other in self._kept if other[1:] != weights]:
                del self._kept[other]
            shared = _unrecorded(self._prepare)(seed)
            room = MEMORY // max(1, sum(4 * math.prod(part.shape) for part in shared))
            while len(self._kept) >= max(1, room):
                del self._kept[next(iter(self._kept))]
            self._kept[key] = shared
        return self._kept[key]

    def _in_batches(self, images: tf.Tensor, seeds: tf.Tensor, *shared: tf.Tensor) -> Projection:
        n = tf.shape(images)[0]
        size = self._size(n)
        batches = -(-n // size)
        rows = tf.reshape(tf.minimum(tf.range(batches * size), n - 1), [batches, size])
        projections = tf.map_fn(
            lambda batch: self._project_batch(tf.gather(images, batch), tf.gather(seeds, batch), shared),
            rows,
            fn_output_signature=Projection(
                tf.TensorSpec([None, *self.generator.output_shape[1:]], tf.float32),
                tf.TensorSpec([None, *self.generator.input_shape[1:]], tf.float32),
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ),
            parallel_iterations=1,
        )
        return Projection(*(tf.reshape(part, tf.concat([[-1], tf.shape(part)[2:]], 0))[:n] for part in projections))

    def _size(self, n: tf.Tensor | int) -> tf.Tensor:
        """How many of `n` images make a batch."""
        return _round_up(-(-n // -(-n // self._largest_batch)))

    def _project_batch(self, images: tf.Tensor, seeds: tf.Tensor, shared: tuple[tf.Tensor, ...]) -> Projection:
        k = self.generator.input_shape[1]
        codes = self._draw(images, seeds, *shared)
        restarts = self.start.restarts
        found = self._minimize(tf.repeat(images, restarts, axis=0), tf.reshape(codes, [-1, k]))
        best = _best_restart(found, restarts)
        output = self.generator(best.codes, training=False)
        return Projection(output, best.codes, tf.sqrt(best.errors), best.steps, best.status)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            **serialized(generator=self.generator, solver=self.solver, start=self.start),
        }

    @classmethod
    def from_config(cls, config: dict) -> "LatentProjector":
        return cls(**deserialized(config, "generator", "solver", "start"))


def _unrecorded(function: tf.types.experimental.PolymorphicFunction) -> Callable:
    """The graph of `function`, which no tape follows: it would record every step of what has no gradient."""
    return tf.recompute_grad(function.get_concrete_function())


def _best_restart(found: Solution, restarts: int) -> Solution:
    best = tf.argmin(tf.reshape(found.errors, [-1, restarts]), axis=1, output_type=tf.int32)
    rows = tf.range(tf.shape(best)[0]) * restarts + best
    return Solution(*(tf.gather(part, rows) for part in found))


def _round_up(size: tf.Tensor) -> tf.Tensor:
    """The next even size from 32 on, and the next multiple of 4 from 64 on: fewer sizes to compile, little padding."""
    grain = tf.where(size < 32, 1, tf.where(size < 64, 2, 4))
    return -(-size // grain) * grain
