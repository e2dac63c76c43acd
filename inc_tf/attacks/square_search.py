"""Square: random search over squares of the image, by the classifier's answers alone (Andriushchenko et al., 2020).

It needs no gradient, so a masked gradient does not hide a weakness. ART's Square tries the same square on all images
and queries the classifier three times for each, which is expensive if a query is a search; here every image has squares
of its own.
"""

import numpy as np
import tensorflow as tf

from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import Classifier, check_answers, check_epsilon, check_norm, check_positive, on_any_model
from inc_tf.attacks.losses import margin
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds
from inc_tf.seeds import derive

# Andriushchenko et al.'s schedule for 10,000 queries: where the share of the image that a square covers is halved.
_HALVINGS = np.array([10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000]) / 10_000
_TILES = 5


@on_any_model
def square(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    norm: float = np.inf,
    queries: int = 1000,
    share: float | None = None,
) -> tf.Tensor:
    """Change a random square of each image as far as the ball allows, and keep it where the margin grows.

    Args:
      classifier: from images to logits; it needs no gradient, so it may be a whole defence.
      images: float32 [N, H, W, C] within `bounds`, H and W at least 2.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: seed of the squares; None is 0.
      epsilon: ε, the largest change of a pixel, or of the image in ℓ2, in the images' own units.
      norm: the ball's norm, np.inf or 2.
      queries: how often an image is shown to the classifier; 5,000 to 10,000 in the paper.
      share: the share of the image that the first squares cover; None is Andriushchenko et al.'s for MNIST, 0.8 in ℓ∞
        and 0.1 in ℓ2.

    Returns: float32 [N, H, W, C]. An image that is misclassified is not changed further. Raises `InputError` for
    arguments that `check_answers` or `check_epsilon` refuses, and for another norm or number of queries.
    """
    inputs = check_answers(classifier, images, labels, bounds)
    check_norm(norm)
    check_epsilon(epsilon, bounds, norm, inputs.images.shape)
    check_positive(queries=queries)
    propose = _Linf(epsilon, bounds) if norm == np.inf else _L2(epsilon, bounds)
    share = share or (0.8 if norm == np.inf else 0.1)
    height, width = inputs.images.shape[1:3]
    key = derive(0 if seed is None else seed, "square")

    def attack(images: tf.Tensor, labels: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        generator = np.random.default_rng([key, int(rows[0])])
        clean, classes = images.numpy(), labels.numpy()
        best, highest = clean.copy(), margin(classes, classifier(images)).numpy()
        for query in range(queries):
            alive = np.flatnonzero(highest <= 0)
            if not len(alive):
                break
            covered = share / 2 ** np.searchsorted(_HALVINGS, query / queries)
            side = int(np.clip(round(np.sqrt(covered * height * width)), 1, min(height, width) - 1))
            tried = propose(generator, clean[alive], best[alive], side, first=query == 0)
            reached = margin(classes[alive], classifier(tf.constant(tried))).numpy()
            better = reached > highest[alive]
            best[alive[better]], highest[alive[better]] = tried[better], reached[better]
        return tf.constant(best)

    return in_batches(attack, *inputs, tf.range(len(inputs.images)))


def _window(generator: np.random.Generator, shape: tuple, side: int) -> np.ndarray:
    """A square of each image, bool [N, H, W, 1], at a random place."""
    n, height, width = shape[:3]
    top = generator.integers(0, height - side + 1, (n, 1, 1, 1))
    left = generator.integers(0, width - side + 1, (n, 1, 1, 1))
    row, column = np.arange(height)[:, np.newaxis, np.newaxis], np.arange(width)[:, np.newaxis]
    return (row >= top) & (row < top + side) & (column >= left) & (column < left + side)


class _Linf:
    """Squares of one colour at the edge of the ball; vertical stripes at first."""

    def __init__(self, epsilon: float, bounds: Bounds):
        self.epsilon, self.bounds = np.float32(epsilon), bounds

    def __call__(self, generator, clean, best, side: int, first: bool) -> np.ndarray:
        n, _, width, channels = clean.shape
        signs = _signs(generator, (n, 1, width if first else 1, channels))
        where = True if first else _window(generator, clean.shape, side)
        return np.clip(np.where(where, clean + self.epsilon * signs, best), *self.bounds)


class _L2:
    """Two bumps of opposite sign in a square, paid for by what another square had; a grid of them at first."""

    def __init__(self, epsilon: float, bounds: Bounds):
        self.epsilon, self.bounds = np.float32(epsilon), bounds

    def __call__(self, generator, clean, best, side: int, first: bool) -> np.ndarray:
        change = self._grid(generator, clean.shape) if first else self._moved(generator, best - clean, side)
        return np.clip(clean + change, *self.bounds)

    def _grid(self, generator, shape: tuple) -> np.ndarray:
        n, height, width, channels = shape
        side = max(2, min(height, width) // _TILES)
        change = np.zeros(shape, np.float32)
        for top in range(0, height - side + 1, side):
            for left in range(0, width - side + 1, side):
                signs = _signs(generator, (n, 1, 1, channels))
                change[:, top : top + side, left : left + side] = signs * _bumps(generator, n, side)
        return self.epsilon * change / _norms(change)

    def _moved(self, generator, change: np.ndarray, side: int) -> np.ndarray:
        n, _, _, channels = change.shape
        side = min(max(3, side), *change.shape[1:3])
        target, source = (_window(generator, change.shape, side) for _ in range(2))
        bumps = _signs(generator, (n, 1, 1, channels)) * _bumps(generator, n, side)
        placed = np.zeros_like(change)
        placed[np.broadcast_to(target, change.shape)] = np.ravel(bumps)
        direction = placed + np.where(target, change / np.maximum(_norms(np.where(target, change, 0)), 1e-12), 0)
        kept = np.where(target | source, 0, change)
        left = np.sqrt(np.maximum(self.epsilon**2 - np.square(_norms(kept)), 0))
        return kept + left * direction / np.maximum(_norms(direction), 1e-12)


def _bumps(generator, n: int, side: int) -> np.ndarray:
    """η of the paper: two pyramids of opposite sign side by side, one way or the other, float32 [N, side, side, 1]."""
    half = side // 2
    flat = np.zeros((side, side))
    for start, stop, sign in ((0, half, 1), (half, side, -1)):
        row = np.minimum(np.arange(start, stop) - start, stop - 1 - np.arange(start, stop))[:, np.newaxis]
        column = np.minimum(np.arange(side), side - 1 - np.arange(side))
        depth = 1 + np.minimum(row, column)
        flat[start:stop] = sign * np.cumsum(1 / np.square(np.arange(1, depth.max() + 1.0))[::-1])[depth - 1]
    flat /= np.linalg.norm(flat)
    turned = generator.random((n, 1, 1)) < 0.5
    return np.where(turned, flat.T, flat).astype(np.float32)[..., np.newaxis]


def _signs(generator: np.random.Generator, shape: tuple) -> np.ndarray:
    return generator.choice([-1.0, 1.0], shape).astype(np.float32)


def _norms(change: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(np.square(change), axis=(1, 2, 3), keepdims=True))


_LABEL = "Square, {queries} queries"
register(Method("square", square, _LABEL, target="defense", arguments={"queries": 500}, gradient=False))
register(
    Method(
        "square-l2", square, f"{_LABEL}, ℓ2", target="defense", arguments={"queries": 500, "norm": 2}, gradient=False
    )
)
