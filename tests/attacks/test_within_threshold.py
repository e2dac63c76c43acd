"""The attack of one who knows η, on a defence whose projection, distance and boundary are known."""

import keras
import numpy as np
import pytest

import inc_tf as inc
from inc_tf.attacks import auto_pgd
from inc_tf.attacks.differentiable import implicit, implicit_with_distances
from inc_tf.attacks.within_threshold import within_threshold
from inc_tf.errors import InputError

BOUNDS, EPSILON, ETA = (-4.0, 4.0), 0.3, 0.35
# The first pixel is the code, whose sign is the class; the second is the distance from the range.
IMAGES = np.array([[0.1, 0.5], [-0.2, -0.5], [1.0, 0.5], [0.1, 0.9]], np.float32).reshape(-1, 1, 2, 1)
LABELS = (IMAGES[:, 0, 0, 0] > 0).astype(np.int64)


@pytest.fixture(scope="module")
def defense() -> inc.InvertAndClassify:
    layers = keras.layers
    generator = keras.Sequential([layers.Input((1,)), layers.Dense(2, use_bias=False), layers.Reshape((1, 2, 1))])
    generator.layers[0].set_weights([np.array([[1.0, 0.0]], np.float32)])
    classifier = keras.Sequential([layers.Input((1, 2, 1)), layers.Flatten(), layers.Dense(2, use_bias=False)])
    classifier.layers[1].set_weights([np.array([[-10.0, 10.0], [-50.0, 50.0]], np.float32)])
    projector = inc.LatentProjector(generator, inc.LevenbergMarquardt(), inc.Zeros())
    return inc.InvertAndClassify(classifier, projector, threshold=ETA, bounds=BOUNDS)


def broken_and_accepted(defense, images) -> list[bool]:
    answer = defense(images)
    return ((answer.predictions.numpy() != LABELS) & ~answer.rejected.numpy()).tolist()


def test_distances_are_the_defenses_own(defense):
    logits, distances = implicit_with_distances(defense)(IMAGES)
    np.testing.assert_allclose(distances, defense(IMAGES).distances, atol=1e-5)
    np.testing.assert_allclose(logits, defense(IMAGES).logits, atol=1e-3)


@pytest.mark.slow
def test_keeps_below_the_threshold_where_that_can_be_done(defense):
    stand_in = implicit_with_distances(defense)
    found = within_threshold(stand_in, IMAGES, LABELS, bounds=BOUNDS, epsilon=EPSILON, distance=ETA).numpy()
    # The third cannot be misclassified within ε, the fourth cannot be accepted.
    assert broken_and_accepted(defense, found) == [True, True, False, False]
    assert np.abs(found - IMAGES).max() <= EPSILON + 1e-6
    unaware = auto_pgd(implicit(defense), IMAGES, LABELS, bounds=BOUNDS, epsilon=EPSILON)
    assert (defense(unaware).predictions.numpy() != LABELS).tolist() == [True, True, False, True]
    assert sum(broken_and_accepted(defense, unaware)) < 2


def test_what_cannot_be_accepted_comes_as_close_as_it_can(defense):
    stand_in = implicit_with_distances(defense)
    found = within_threshold(stand_in, IMAGES, LABELS, bounds=BOUNDS, epsilon=EPSILON, distance=ETA)
    assert defense(found).distances.numpy()[3] == pytest.approx(0.6, abs=0.02)


def test_rejects_threshold_of_zero(defense):
    with pytest.raises(InputError, match="distance is 0; it must be above 0"):
        within_threshold(implicit_with_distances(defense), IMAGES, LABELS, bounds=BOUNDS, epsilon=EPSILON, distance=0)
