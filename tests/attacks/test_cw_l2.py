"""CW-ℓ2: against Foolbox and ART, and on planted models."""

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from art.attacks.evasion import CarliniL2Method
from attack_measures import distances, predictions, success

from inc_tf.attacks import cw_l2
from inc_tf.attacks.carlini_wagner import shortfall

BUDGET = {"binary_search_steps": 4, "iterations": 80, "learning_rate": 0.05, "initial_const": 0.1}


def run(model, data, **options):
    return cw_l2(model, data.images, data.labels, bounds=data.bounds, **{**BUDGET, **options}).numpy()


@pytest.mark.slow
@pytest.mark.parametrize("confidence", [0.0, 5.0])
def test_level_with_foolbox(model, data, foolbox_model, confidence):
    few = data.take(20)
    peer = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=4, steps=80, stepsize=0.05, initial_const=0.1, confidence=confidence
    )
    theirs = peer.run(foolbox_model, tf.constant(few.images), tf.constant(few.labels)).numpy()
    _assert_no_worse(run(model, few, confidence=confidence), theirs, model, few)


@pytest.mark.slow
def test_level_with_art(model, data, art_model):
    few = data.take(10)
    # One of its iterations is a line search of up to ten steps, so that ten of them are a hundred of ours.
    peer = CarliniL2Method(
        art_model,
        binary_search_steps=3,
        max_iter=10,
        learning_rate=0.05,
        initial_const=1.0,
        batch_size=10,
        verbose=False,
    )
    theirs = peer.generate(few.images, few.labels)
    ours = run(model, few, confidence=0.0, binary_search_steps=3, iterations=100, initial_const=1.0)
    _assert_no_worse(ours, theirs, model, few)


def _assert_no_worse(ours, theirs, model, data):
    assert success(model, ours, data.labels) >= success(model, theirs, data.labels) - 0.03
    theirs_succeeded = predictions(model, theirs) != data.labels
    theirs, mine = (distances(found, data.images, 2)[theirs_succeeded] for found in (theirs, ours))
    assert np.median(mine) <= 1.05 * np.median(theirs)


def test_reaches_the_margin_that_confidence_asks(model, data):
    few = data.take(5)
    found = run(model, few, confidence=5.0)
    assert np.all(shortfall(model(found), tf.constant(few.labels), targeted=False) <= -5.0 + 1e-3)


def test_reaches_its_targets(model, data):
    few = data.take(5)
    targets = (few.labels + 1) % 10
    found = run(model, few, targets=targets, confidence=0.0)
    np.testing.assert_array_equal(predictions(model, found), targets)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)])
def test_finds_the_planted_example_of_a_batch_of_rgb_images_in_any_range(planted, planted_images, bounds):
    labels = np.zeros(3, np.int64)
    width = bounds[1] - bounds[0]
    images = bounds[0] + width * (planted_images + 1) / 2
    found = cw_l2(
        lambda x: planted(2 * (x - bounds[0]) / width - 1), images, labels, bounds=bounds, confidence=0.0, **BUDGET
    )
    # The logits differ by 10·(r + g + b) on [−1, 1], which is −3 at first: the other class is 0.3/√3 away.
    np.testing.assert_allclose(distances(found, images, 2), width / 2 * 0.3 / np.sqrt(3), rtol=0.05)


def test_returns_the_clean_image_of_a_constant_model(constant, planted_images):
    labels = np.zeros(3, np.int64)
    found = cw_l2(constant, planted_images, labels, bounds=(-1.0, 1.0), **BUDGET)
    np.testing.assert_array_equal(found, planted_images)
    assert np.all(predictions(constant, found) == labels)
