"""CW-ℓ0 and CW-ℓ∞: against ART, and on planted models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from art.attacks.evasion import CarliniL0Method, CarliniLInfMethod
from attack_measures import distances, predictions, success

from inc_tf import InputError
from inc_tf.attacks import cw_l0, cw_linf
from inc_tf.attacks.carlini_wagner import from_box, shortfall, to_box

BUDGET = {"iterations": 60, "learning_rate": 0.05, "initial_const": 0.1, "largest_const": 20.0}
ATTACKS = [cw_l0, cw_linf]
LABELS = np.zeros(3, np.int64)


def pixels(adversarial, images) -> np.ndarray:
    """How many pixels of each image changed, int [N]."""
    return np.any(np.asarray(adversarial) != images, axis=3).sum(axis=(1, 2))


@pytest.mark.slow
def test_l0_level_with_art(model, data, art_model):
    few = data.take(4)
    peer = CarliniL0Method(
        art_model,
        binary_search_steps=1,
        max_iter=2,
        learning_rate=0.05,
        initial_const=10.0,
        batch_size=4,
        verbose=False,
    )
    theirs = peer.generate(few.images, few.labels)
    ours = cw_l0(model, few.images, few.labels, bounds=few.bounds, **{**BUDGET, "initial_const": 10.0})
    assert success(model, ours, few.labels) >= success(model, theirs, few.labels) - 0.03
    assert np.median(pixels(ours, few.images)) <= 1.05 * np.median(pixels(theirs, few.images))


@pytest.mark.slow
def test_linf_level_with_art(model, data, art_model):
    few = data.take(3)
    budget = {"learning_rate": 0.1, "initial_const": 1.0, "largest_const": 5.0, "decrease_factor": 0.7}
    theirs = CarliniLInfMethod(art_model, max_iter=20, verbose=False, **budget).generate(few.images, few.labels)
    ours = cw_linf(model, few.images, few.labels, bounds=few.bounds, iterations=20, **budget)
    assert success(model, ours, few.labels) >= success(model, theirs, few.labels) - 0.03
    mine, art = (np.median(distances(found, few.images, np.inf)) for found in (ours, theirs))
    assert mine <= 1.05 * art


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_all_images_are_broken_within_the_bounds(attack, model, data):
    few = data.take(8)
    found = attack(model, few.images, few.labels, bounds=few.bounds, **BUDGET).numpy()
    assert success(model, found, few.labels) == 1.0
    assert few.bounds[0] <= found.min() <= found.max() <= few.bounds[1]


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_image_is_attacked_alike_in_any_batch(attack, model, data):
    few = data.take(4)
    together = attack(model, few.images, few.labels, bounds=few.bounds, **BUDGET)
    alone = attack(model, few.images[:1], few.labels[:1], bounds=few.bounds, **BUDGET)
    np.testing.assert_allclose(together[:1], alone, atol=0.02)


@pytest.mark.parametrize("attack", ATTACKS)
def test_reaches_its_targets(attack, model, data):
    few = data.take(4)
    targets = (few.labels + 1) % 10
    found = attack(model, few.images, few.labels, bounds=few.bounds, targets=targets, **BUDGET)
    np.testing.assert_array_equal(predictions(model, found), targets)


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS)
def test_reaches_the_margin_that_confidence_asks(attack, model, data):
    few = data.take(4)
    found = attack(model, few.images, few.labels, bounds=few.bounds, confidence=2.0, **BUDGET)
    assert np.all(shortfall(model(found), tf.constant(few.labels), targeted=False) <= -2.0 + 1e-3)


def test_l0_finds_the_one_pixel_that_matters(planted, planted_images):
    found = cw_l0(planted, planted_images, LABELS, bounds=(-1.0, 1.0), **BUDGET)
    assert success(planted, found, LABELS) == 1.0
    np.testing.assert_array_equal(pixels(found, planted_images), 1)
    np.testing.assert_array_equal(found[:, 1:], planted_images[:, 1:])


def test_linf_finds_the_least_change(planted, planted_images):
    found = cw_linf(planted, planted_images, LABELS, bounds=(-1.0, 1.0), **{**BUDGET, "learning_rate": 0.01})
    assert success(planted, found, LABELS) == 1.0
    # The logits differ by 10·(r + g + b), which is −3 at first: a change of 0.1 in each is the least that reaches 0.
    np.testing.assert_allclose(distances(found, planted_images, np.inf), 0.1, rtol=0.15)


@pytest.mark.parametrize("attack", ATTACKS)
def test_leaves_an_image_that_is_wrong_already(attack, planted, planted_images):
    found = attack(planted, planted_images, 1 - LABELS, bounds=(-1.0, 1.0), **BUDGET)
    np.testing.assert_allclose(found, planted_images, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_returns_the_clean_image_of_a_constant_model(attack, constant, planted_images):
    found = attack(constant, planted_images, LABELS, bounds=(-1.0, 1.0), **BUDGET)
    np.testing.assert_array_equal(found, planted_images)
    assert np.all(predictions(constant, found) == LABELS)


def test_linf_refuses_a_decrease_factor(planted, planted_images):
    with pytest.raises(InputError, match=r"decrease_factor is 1\.5; it must be between 0 and 1"):
        cw_linf(planted, planted_images, LABELS, bounds=(-1.0, 1.0), decrease_factor=1.5)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_the_box_reaches_its_bounds_and_returns_the_image(bounds):
    images = tf.reshape(tf.linspace(bounds[0], bounds[1], 12), (1, 2, 2, 3))
    np.testing.assert_allclose(from_box(to_box(images, bounds), bounds), images, atol=1e-6)
    np.testing.assert_array_equal(from_box(tf.constant([-9.0, 9.0]), bounds), bounds)


def test_margins_of_other_classes_and_targets():
    logits = tf.constant([[1.0, 3.0, 2.5], [4.0, 0.0, 1.0]])
    np.testing.assert_allclose(shortfall(logits, tf.constant([1, 0], tf.int64), targeted=False), [0.5, 3.0])
    np.testing.assert_allclose(shortfall(logits, tf.constant([2, 1], tf.int64), targeted=True), [0.5, 4.0])


def test_a_convolutional_model_is_attacked_too(data):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.layers.Input((28, 28, 1)),
            keras.layers.Conv2D(4, 5, strides=4, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    few = data.take(3)
    labels = predictions(network, few.images)
    assert success(network, cw_l0(network, few.images, labels, bounds=few.bounds, **BUDGET), labels) == 1.0
