"""FGSM, BIM, PGD and AutoPGD: against Foolbox and ART, and on planted models."""

import foolbox
import numpy as np
import pytest
import tensorflow as tf
from art.attacks.evasion import (
    AutoProjectedGradientDescent,
    BasicIterativeMethod,
    FastGradientMethod,
    ProjectedGradientDescentTensorFlowV2,
)
from attack_measures import distances, predictions, success

from inc_tf.attacks import auto_pgd, bim, fgsm, pgd
from inc_tf.attacks.autopgd import check_points

EPSILON = 0.08
STEPS = 10
ATTACKS = [fgsm, bim, pgd, auto_pgd]


def foolbox_run(attack, foolbox_model, data):
    images, labels = tf.constant(data.images), tf.constant(data.labels)
    return attack.run(foolbox_model, images, foolbox.criteria.Misclassification(labels), epsilon=EPSILON)


@pytest.fixture(scope="module")
def ours(model, data):
    options = {"bounds": data.bounds, "seed": 0, "epsilon": EPSILON}
    found = {
        "fgsm": fgsm(model, data.images, data.labels, **options),
        "bim": bim(model, data.images, data.labels, steps=STEPS, **options),
        "pgd": pgd(model, data.images, data.labels, steps=STEPS, step_size=EPSILON / 4, **options),
        "auto_pgd": auto_pgd(model, data.images, data.labels, steps=STEPS, **options),
    }
    return {name: images.numpy() for name, images in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd"])
def test_level_with_foolbox(name, ours, model, data, foolbox_model):
    tf.random.set_seed(0)
    ball = {"steps": STEPS}
    peer = {
        "fgsm": foolbox.attacks.LinfFastGradientAttack(),
        "bim": foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=2 * EPSILON, **ball),
        "pgd": foolbox.attacks.LinfPGD(abs_stepsize=EPSILON / 4, **ball),
    }[name]
    theirs = foolbox_run(peer, foolbox_model, data).numpy()
    _assert_no_worse(ours[name], theirs, model, data)


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "auto_pgd"])
def test_level_with_art(name, ours, model, data, art_model):
    np.random.seed(0)  # noqa: NPY002  (ART draws from it)
    options = {"eps": EPSILON, "batch_size": len(data)}
    peer = {
        "fgsm": lambda: FastGradientMethod(art_model, **options),
        # ART's own step is bounded by its ball: 2ε goes in as it is.
        "bim": lambda: BasicIterativeMethod(art_model, eps_step=2 * EPSILON, max_iter=STEPS, verbose=False, **options),
        "pgd": lambda: ProjectedGradientDescentTensorFlowV2(
            art_model, eps_step=EPSILON / 4, max_iter=STEPS, num_random_init=1, verbose=False, **options
        ),
        "auto_pgd": lambda: AutoProjectedGradientDescent(
            art_model, eps_step=2 * EPSILON, max_iter=STEPS, nb_random_init=1, verbose=False, **options
        ),
    }[name]()
    theirs = peer.generate(data.images, data.labels)
    _assert_no_worse(ours[name], theirs, model, data)


def _assert_no_worse(ours, theirs, model, data):
    assert success(model, ours, data.labels) >= success(model, theirs, data.labels) - 0.03
    assert np.median(distances(ours, data.images, np.inf)) <= 1.05 * np.median(distances(theirs, data.images, np.inf))


@pytest.mark.parametrize("name", ["fgsm", "bim", "pgd", "auto_pgd"])
def test_within_the_ball_and_the_bounds(name, ours, data):
    assert np.abs(ours[name] - data.images).max() <= EPSILON + 1e-6
    assert data.bounds[0] <= ours[name].min() <= ours[name].max() <= data.bounds[1]
    assert ours[name].dtype == np.float32


def test_bim_steps_between_the_balls_vertices(ours, data):
    inside = (data.images > EPSILON) & (data.images < 1 - EPSILON)
    change = np.abs(ours["bim"] - data.images)[inside]
    assert np.mean(np.isclose(change, EPSILON, atol=1e-6) | (change < 1e-6)) > 0.99


def test_auto_pgd_closes_in_on_a_peak_that_its_first_steps_leap_over():
    peak = np.array([0.013, -0.07, 0.111, 0.2], np.float32).reshape(1, 2, 2, 1)

    def classifier(x):
        height = -tf.reduce_sum((x - peak) ** 2, axis=[1, 2, 3])
        return tf.stack([-height, height], axis=1)

    clean = np.zeros((1, 2, 2, 1), np.float32)
    found = auto_pgd(classifier, clean, np.array([0]), bounds=(-1.0, 1.0), epsilon=0.15, steps=100, loss="margin")
    # The last pixel's peak is outside of the ball.
    np.testing.assert_allclose(found, np.minimum(peak, 0.15), atol=5e-3)


def test_auto_pgd_looks_at_its_step_size_when_the_paper_does():
    assert check_points(100) == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize(("attack", "own"), [(pgd, {"step_size": EPSILON / 10}), (auto_pgd, {})])
def test_repeats_itself_with_its_seed_and_not_with_another(attack, own, model, data):
    options = {"bounds": data.bounds, "epsilon": EPSILON, "steps": 2, **own}
    first, again, other = (attack(model, data.images, data.labels, seed=seed, **options) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize("attack", ATTACKS)
def test_finds_the_planted_example(attack, planted, planted_images):
    labels = np.zeros(3, np.int64)
    found = attack(planted, planted_images, labels, bounds=(-1.0, 1.0), epsilon=0.2)
    assert success(planted, found, labels) == 1.0


@pytest.mark.parametrize("attack", ATTACKS)
def test_returns_the_clean_image_of_a_constant_model(attack, constant, planted_images):
    labels = np.zeros(3, np.int64)
    found = attack(constant, planted_images, labels, bounds=(-1.0, 1.0), epsilon=0.2)
    np.testing.assert_array_equal(found, planted_images)
    assert np.all(predictions(constant, found) == labels)


def test_more_images_than_a_batch_are_attacked_alike(model, digits):
    many = fgsm(model, digits.images, digits.labels, bounds=digits.bounds, epsilon=EPSILON)
    last = fgsm(model, digits.images[-9:], digits.labels[-9:], bounds=digits.bounds, epsilon=EPSILON)
    assert many.shape == digits.images.shape
    np.testing.assert_allclose(many[-9:], last, atol=1e-6)
