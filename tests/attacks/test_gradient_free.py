"""Square, SPSA and the hard-label attack: on planted models, and Square beside ART's."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from art.attacks.evasion import SquareAttack
from attack_measures import predictions, success

from inc_tf.attacks import boundary, spsa, square
from inc_tf.attacks.hop_skip_jump import remembered
from inc_tf.errors import InputError

EPSILON = 0.12
ATTACKS = {
    "square": partial(square, queries=150),
    "square in l2": partial(square, queries=300, norm=2),
    "spsa": partial(spsa, steps=30, samples=16, learning_rate=0.05),
    "boundary": partial(boundary, steps=6, probes=40),
    "boundary in l2": partial(boundary, steps=8, probes=40, norm=2),
}


def without_gradient(model):
    """`model` as a function that no gradient goes through."""
    return lambda images: tf.stop_gradient(model(images))


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_breaks_a_network_without_a_gradient_within_the_ball(name, model, data):
    l2 = "l2" in name
    epsilon = 4.0 if l2 else 2 * EPSILON if name == "boundary" else 1.5 * EPSILON
    found = ATTACKS[name](without_gradient(model), data.images, data.labels, bounds=data.bounds, epsilon=epsilon)
    found = found.numpy()
    change = (found - data.images).reshape(len(data), -1)
    assert np.linalg.norm(change, ord=2 if l2 else np.inf, axis=1).max() <= epsilon + 1e-5
    assert found.min() >= data.bounds[0]
    assert found.max() <= data.bounds[1]
    assert success(model, found, data.labels) >= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_finds_a_planted_hole_in_other_bounds_and_spares_what_is_safe(name, planted, planted_images):
    safe = planted_images.copy()
    safe[:, 0, 0] -= 0.5
    images = np.concatenate([planted_images, safe, -safe])
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    assert (predictions(planted, images) == labels).all()
    # The first three are across the boundary at a change of the first pixel by 0.1 in each colour, 0.173 in ℓ2.
    epsilon = 0.45 if "l2" in name else 0.2
    found = ATTACKS[name](without_gradient(planted), images, labels, bounds=(-1.0, 1.0), epsilon=epsilon).numpy()
    np.testing.assert_array_equal(predictions(planted, found) != labels, [True] * 3 + [False] * 6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["square", "square in l2", "spsa"])
def test_the_same_seed_gives_the_same_images(name, planted, planted_images):
    labels = np.zeros(3, np.int64)
    options = {"bounds": (-1.0, 1.0), "epsilon": 0.05}
    first, again, other = (
        ATTACKS[name](planted, planted_images, labels, seed=seed, **options).numpy() for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_square_breaks_more_than_arts_with_as_many_answers(model, data, art_model):
    queries = 90
    np.random.seed(0)  # noqa: NPY002  (ART draws from it)
    # ART asks three times an iteration.
    theirs = SquareAttack(art_model, eps=EPSILON / 2, max_iter=queries // 3, verbose=False).generate(
        data.images, data.labels
    )
    ours = square(model, data.images, data.labels, bounds=data.bounds, epsilon=EPSILON / 2, queries=queries)
    assert success(model, ours.numpy(), data.labels) >= success(model, theirs, data.labels)


def test_what_is_not_possible_is_refused(model, data):
    options = {"bounds": data.bounds, "epsilon": 0.1}
    with pytest.raises(InputError, match="queries is 0; it must be above 0"):
        square(model, data.images, data.labels, queries=0, **options)
    with pytest.raises(InputError, match="samples is 0; it must be above 0"):
        spsa(model, data.images, data.labels, samples=1, **options)
    with pytest.raises(InputError, match="norm is 1; it must be infinity or 2"):
        boundary(model, data.images, data.labels, norm=1, **options)
    with pytest.raises(InputError, match="returns probabilities"):
        square(lambda x: tf.nn.softmax(model(x)), data.images, data.labels, **options)


def test_the_walk_believes_the_first_answer_to_an_image():
    asked = []

    def moody(images):
        asked.append(len(images))
        return tf.fill([len(images), 2], float(len(asked)))

    told = remembered(moody)
    first, second = np.zeros((1, 2, 2, 1), np.float32), np.ones((1, 2, 2, 1), np.float32)
    np.testing.assert_array_equal(told(tf.constant(first)), [[1.0, 1.0]])
    both = told(tf.constant(np.concatenate([second, first, second])))
    np.testing.assert_array_equal(both[:, 0], [2.0, 1.0, 2.0])
    assert asked == [1, 1]
