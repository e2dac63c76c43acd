import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special

import inc_tf as inc
from inc_tf.attacks.overpowered import LOSSES, overpowered_pairs

ETA = 0.5


@pytest.fixture(scope="module")
def generator():
    """The code's two numbers are the image's first two pixels; the other two are 0."""
    model = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Dense(4, use_bias=False), keras.layers.Reshape((2, 2, 1))]
    )
    model.layers[0].set_weights([np.eye(2, 4, dtype=np.float32)])
    return model


@pytest.fixture(scope="module")
def classifier():
    """Two classes, whose logits are ±10 times the first pixel."""
    model = keras.Sequential(
        [keras.layers.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    )
    model.layers[1].set_weights([np.array([[10.0, -10.0], [0, 0], [0, 0], [0, 0]], np.float32)])
    return model


def squared(logits, others):
    return np.square(tf.nn.softmax(logits) - tf.nn.softmax(others)).sum(axis=1)


def cross_entropy(logits, others):
    return -(tf.nn.softmax(logits) * tf.nn.log_softmax(others)).numpy().sum(axis=1)


@pytest.mark.parametrize(("name", "loss"), [("squared", squared), ("cross-entropy", cross_entropy)])
def test_it_finds_the_best_pair_across_the_boundary(generator, classifier, name, loss):
    # From near the boundary: far from it the squared loss is flat.
    found = overpowered_pairs(
        generator, classifier, 8, eta=ETA, loss=name, stddev=0.1, steps=3000, learning_rate=0.02, multiplier_rate=0.01
    )
    assert np.all(found.feasible)
    assert np.all(found.distances <= ETA)
    np.testing.assert_allclose(found.distances, np.linalg.norm(found.codes - found.others, axis=1), rtol=1e-5)
    assert np.all(np.argmax(found.logits, 1) != np.argmax(found.other_logits, 1))
    # Of all pairs that are η apart on the first axis, wherever the boundary cuts them.
    closer = np.linspace(0.001, ETA, 500, dtype=np.float32)
    sides = [np.stack([10 * side, -10 * side], axis=1) for side in (closer, closer - np.float32(ETA))]
    best = max(loss(*sides).max(), loss(*sides[::-1]).max())
    reached = loss(found.logits, found.other_logits)
    assert np.all(reached <= 1.001 * best)
    assert np.median(reached) > 0.95 * best


def test_an_anchor_stays_and_its_other_crosses(generator, classifier):
    anchors = tf.constant([[0.1, 0.0], [0.3, 1.0], [2.0, 0.0]])
    found = overpowered_pairs(
        generator,
        classifier,
        3,
        eta=ETA,
        anchors=anchors,
        loss="margin",
        steps=3000,
        learning_rate=0.02,
        multiplier_rate=0.01,
    )
    np.testing.assert_array_equal(found.codes, anchors)
    assert np.all(found.feasible)
    np.testing.assert_allclose(found.others[:, 0], anchors[:, 0] - ETA, atol=0.05)
    # From 2 there is no boundary within η.
    assert np.argmax(found.other_logits, 1).tolist() == [1, 1, 0]


def test_a_constant_classifier_is_not_split(generator):
    constant = keras.Sequential([keras.layers.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    constant.layers[1].set_weights([np.zeros((4, 2), np.float32), np.array([2.0, 1.0], np.float32)])
    found = overpowered_pairs(generator, constant, 4, eta=ETA, steps=1000, learning_rate=0.02)
    assert np.all(found.feasible)
    assert squared(found.logits, found.other_logits).max() == 0


def test_a_pair_that_never_comes_close_is_reported_as_such(generator, classifier):
    found = overpowered_pairs(generator, classifier, 8, eta=1e-3, steps=2)
    assert not np.any(found.feasible)
    assert np.all(found.distances > 1e-3)


def test_pairs_that_have_converged_stop(generator, classifier):
    settings = {"eta": ETA, "stddev": 0.1, "steps": 5000, "learning_rate": 0.02, "multiplier_rate": 0.01}
    whole = overpowered_pairs(generator, classifier, 8, **settings)
    drained = overpowered_pairs(generator, classifier, 8, **settings, tolerance=1e-3)
    assert np.all(whole.steps == 5000)
    assert np.all(drained.steps < 4000)
    losses = [squared(pairs.logits, pairs.other_logits) for pairs in (whole, drained)]
    assert np.all(losses[1] > losses[0] - 0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eta": 0.0}, "eta is 0.0; it must be above 0"),
        ({"eta": 1.0, "steps": 0}, "steps is 0; it must be above 0"),
        ({"eta": 1.0, "anchors": np.zeros((3, 2), np.float32)}, r"anchors have shape \[3, 2\]; they must be \[4, 2\]"),
        (
            {"eta": 1.0, "start": (np.zeros((4, 2), np.float32), np.zeros((4, 3), np.float32))},
            r"start's others have shape \[4, 3\]; they must be \[4, 2\]",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(generator, classifier, arguments, message):
    with pytest.raises(inc.InputError, match=message):
        overpowered_pairs(generator, classifier, 4, **arguments)


def test_a_classifier_of_other_images_is_refused(generator):
    other = keras.Sequential([keras.layers.Input((3, 3, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(inc.InputError, match=r"makes images \(2, 2, 1\), the classifier takes \(3, 3, 1\)"):
        overpowered_pairs(generator, other, 4, eta=1.0)


def test_probabilities_are_refused(generator, classifier):
    sure = keras.Sequential([classifier, keras.layers.Softmax()])
    with pytest.raises(inc.InputError, match="returns probabilities, where attacks need logits"):
        overpowered_pairs(generator, sure, 4, eta=1.0)


def test_squared_loss_keeps_its_gradient_between_sure_pairs():
    logits, others = np.array([[17.0, 0.0, 1.0]]), np.array([[16.5, 0.0, 2.0]])
    given = tf.constant(others, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = LOSSES["squared"](tf.constant(logits, tf.float32), given)
    p, q = (special.softmax(each, axis=1) for each in (logits, others))
    expected = 2 * (q * (q - p) - q * np.sum(q * (q - p), axis=1, keepdims=True))
    np.testing.assert_allclose(tape.gradient(value, given), expected, rtol=1e-5)
