import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import inc_tf as inc
from inc_tf.errors import InputError
from inc_tf.smoothing import ABSTAIN, lower_bound

SIGMA = 0.5


def linear(direction: np.ndarray, offset: float) -> keras.Model:
    """Class 1 where ⟨w, x⟩ > offset, of two classes of 2×2 grey images."""
    network = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    kernel = np.stack([np.zeros(4), direction], axis=1)
    network.layers[1].set_weights([kernel, np.array([0.0, -offset])])
    return network


@pytest.fixture(scope="module")
def halfspace() -> inc.SmoothedClassifier:
    """The hyperplane is at ⟨w, x⟩ = 1, |w| = 1."""
    return inc.SmoothedClassifier(linear(np.full(4, 0.5), 1.0), SIGMA)


def test_bound_is_that_of_clopper_and_pearson():
    """By its definition, and in closed form where all or none of the trials succeed, or one."""
    np.testing.assert_allclose(lower_bound(np.array([100, 1, 0]), 100, 1e-3), [1e-3**0.01, 1.0005e-5, 0], rtol=1e-3)
    bound = lower_bound(np.array([90]), 100, 1e-3)[0]
    assert stats.binom.sf(89, 100, bound) == pytest.approx(1e-3)


def test_radius_of_a_halfspace_is_the_distance_to_it(halfspace):
    """Smoothing leaves a linear classifier as it is, so that no certificate may reach beyond the hyperplane."""
    images = np.full((3, 2, 2, 1), 0.5, np.float32) + np.array([-0.2, 0.1, 0.3], np.float32).reshape(3, 1, 1, 1)
    distances = np.abs(images.sum(axis=(1, 2, 3)) / 2 - 1)
    found = halfspace.certify(images, n=20_000)
    np.testing.assert_array_equal(found.predictions, [0, 1, 1])
    assert (found.radii < distances).all()
    np.testing.assert_allclose(found.radii, distances, atol=0.03)


def test_a_certificate_holds_against_an_attack_of_its_length(halfspace):
    image = np.full((1, 2, 2, 1), 0.7, np.float32)
    radius = halfspace.certify(image, n=20_000).radii[0]
    attacked = image - 0.99 * radius * np.full((1, 2, 2, 1), 0.5, np.float32)
    assert halfspace.vote(attacked, n=5000, alpha=0.05)[0] == 1


def test_abstains_on_the_hyperplane(halfspace):
    image = np.full((1, 2, 2, 1), 0.5, np.float32)
    found = halfspace.certify(image, n=500)
    assert (found.predictions[0], found.radii[0]) == (ABSTAIN, 0.0)
    assert halfspace.vote(image, n=500)[0] == ABSTAIN


def test_logits_are_those_of_the_mean_probability(halfspace):
    image = tf.fill([1, 2, 2, 1], 0.6)
    logits = inc.SmoothedClassifier(halfspace.classifier, SIGMA, samples=500)(image)
    noise = np.random.default_rng(0).normal(scale=SIGMA, size=20_000)
    assert np.exp(logits[0, 1]) == pytest.approx(np.mean(1 / (1 + np.exp(-(0.2 + noise)))), abs=0.02)
    assert np.exp(logits).sum() == pytest.approx(1, abs=1e-5)


def test_image_does_not_depend_on_its_batch(halfspace, rng):
    images = rng.uniform(size=(5, 2, 2, 1)).astype(np.float32)
    np.testing.assert_allclose(halfspace(images)[3], halfspace(images[3:4])[0], rtol=1e-6)
    assert not np.allclose(halfspace(images, seed=1), halfspace(images))
    together, alone = halfspace.certify(images, n=300), halfspace.certify(images[3:4], n=300)
    assert (together.predictions[3], together.radii[3]) == (alone.predictions[0], alone.radii[0])


def test_an_attack_goes_through_it(halfspace):
    images = np.full((2, 2, 2, 1), 0.7, np.float32)
    attacked = inc.attacks.pgd(halfspace, images, np.array([1, 1]), bounds=(0.0, 1.0), epsilon=0.3, steps=5)
    np.testing.assert_allclose(attacked, 0.4, atol=1e-6)
    assert halfspace.vote(attacked, n=500).tolist() == [0, 0]


def test_saves_and_loads_to_the_same_bits(halfspace, rng, tmp_path):
    images = rng.uniform(size=(3, 2, 2, 1)).astype(np.float32)
    halfspace.save(tmp_path / "smoothed.keras")
    loaded = keras.saving.load_model(tmp_path / "smoothed.keras")
    np.testing.assert_array_equal(loaded(images), halfspace(images))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda s: inc.SmoothedClassifier(s.classifier, sigma=0.0), "sigma is 0.0; it must be a finite number above 0"),
        (lambda s: inc.SmoothedClassifier(s.classifier, samples=0), "samples is 0; it must be a whole number"),
        (lambda s: s.certify(np.zeros((1, 2, 2, 1), np.float32), n=0), "n is 0; it must be a whole number"),
        (lambda s: s.certify(np.zeros((1, 2, 2, 1), np.float32), alpha=1.0), "alpha is 1.0; it must be between 0 and"),
        (lambda s: s.vote(np.zeros((1, 3, 2, 1), np.float32)), "they must be \\[N, 2, 2, 1\\]"),
        (lambda s: s(np.full((1, 2, 2, 1), 3.0, np.float32)), "they must lie in \\[0, 1\\]"),
    ],
)
def test_refuses_what_it_cannot_smooth(halfspace, make, sentence):
    with pytest.raises(InputError, match=sentence):
        make(halfspace)
