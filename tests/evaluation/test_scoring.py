"""A defence that draws lots is scored over its draws: on outcomes that are drawn with known probabilities."""

import numpy as np
import pytest

import inc_tf as inc
from inc_tf.evaluation import scoring
from inc_tf.evaluation.sweep import drawn_images


def random_classifier(rng, p: float, attacks: int, draws: int = 8, images: int = 2000) -> np.ndarray:
    """Right with probability p whatever it sees, bool [attacks, draws, images]."""
    return rng.random((attacks, draws, images)) < p


@pytest.mark.slow
@pytest.mark.parametrize("attacks", [1, 4, 11])
def test_worst_case_of_a_random_classifier_is_its_probability(attacks, rng):
    several = [random_classifier(rng, 0.95, attacks, images=500) for _ in range(20)]
    assert np.mean([scoring.worst_case(cases) for cases in several]) == pytest.approx(0.95, abs=0.004)
    cases = random_classifier(rng, 0.95, attacks)
    found = scoring.of_scores(scoring.worst_case(cases))
    assert found.high - found.low < 0.02
    # One draw for each attack, all of which must be right, is what it was.
    assert np.all(cases[:, 0], axis=0).mean() == pytest.approx(0.95**attacks, abs=0.03)


def test_worst_case_finds_the_attack_that_is_worst_for_each_image(rng):
    probabilities = np.array([[0.95, 0.05], [0.05, 0.95], [0.95, 0.95]])[:, np.newaxis].repeat(2000, axis=2)
    cases = rng.random((3, 8, 4000)) < probabilities
    assert scoring.worst_case(cases).mean() == pytest.approx(0.05, abs=0.01)


def test_worst_case_is_little_above_the_strongest_attack_if_that_is_so_on_every_image(rng):
    cases = rng.random((3, 8, 4000)) < np.array([0.1, 0.4, 0.6]).reshape(3, 1, 1)
    # Ties shared among the attacks made it 0.167.
    assert scoring.worst_case(cases).mean() == pytest.approx(0.125, abs=0.01)


def test_worst_case_of_one_draw_is_right_under_every_attack():
    cases = [np.array([[True, True, False]]), np.array([[True, False, False]])]
    assert scoring.worst_case(cases).tolist() == [1.0, 0.0, 0.0]


def test_worst_case_scores_other_outcomes_of_the_attack_that_it_chose():
    accepted_right = [np.array([[True, False]]), np.array([[False, False]])]
    rejected = [np.array([[False, True]]), np.array([[True, False]])]
    # The second attack is worse for the first image, and so decides for the second, where both are equally bad.
    assert scoring.worst_case(accepted_right, rejected).tolist() == [1.0, 0.0]
    # Here nothing decides.
    assert scoring.worst_case([right[:, ::-1] for right in accepted_right[:1]] * 2, rejected).tolist() == [0.5, 0.5]


def test_accuracy_of_one_draw_has_wilsons_interval():
    assert scoring.accuracy(np.arange(20)[np.newaxis] < 0) == pytest.approx((0.0, 0.0, 0.1611, 20), abs=5e-5)


def test_accuracy_is_the_mean_over_draws_and_its_interval_covers_images(rng):
    probabilities = rng.beta(2, 1, size=200)
    right = rng.random((8, 200)) < probabilities
    found = scoring.accuracy(right)
    assert found.value == pytest.approx(right.mean())
    assert found.n == 200
    # Images vary by σ² of the Beta distribution, 1/18, and of 8 draws by E[p(1 − p)]/8, 1/48.
    width = 2 * 1.96 * np.sqrt((1 / 18 + 1 / 48) / 200)
    assert found.high - found.low == pytest.approx(width, rel=0.15)
    assert scoring.accuracy(right) == found


def test_bootstrap_without_spread_has_an_interval_all_the_same():
    found = scoring.accuracy(np.ones((8, 10), bool))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.7225, abs=1e-4)


def test_rounding_is_no_draw_of_lots(rng):
    logits = rng.normal(size=(5, 10)).astype(np.float32)
    assert not scoring.draws_lots(logits, logits * np.float32(1 + 1e-6))
    assert scoring.draws_lots(logits, logits + np.float32(0.01))


@pytest.mark.slow
@pytest.mark.parametrize("start", [inc.Normal(), inc.Nearest(candidates=64)], ids=["normal", "nearest"])
def test_draws_of_a_search_are_one_batch_and_each_as_if_by_itself(start, classifier, vae, digits):
    defense = inc.InvertAndClassify(classifier, inc.LatentProjector(vae.generator, inc.Adam(steps=30), start))
    images = digits.images[:5]
    drawn, seeds = drawn_images(images, (7, 8, 7))
    together = defense(drawn, seed=seeds).codes.numpy().reshape(3, 5, -1)
    alone = [defense(images, seed=seed).codes.numpy() for seed in (7, 8, 7)]
    np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-3)
    assert np.abs(together[0] - together[1]).max() > 0.1
