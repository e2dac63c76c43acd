import numpy as np
import pytest

from inc_tf import estimates


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), table I, method 3: the Wilson score interval without continuity correction.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_shares_have_wilson_intervals(successes, n, low, high):
    estimate = estimates.share(np.arange(n) < successes)
    assert estimate.value == pytest.approx(successes / n)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
    assert estimate.n == n


def test_means_have_students_intervals():
    estimate = estimates.mean(np.array([1.0, 2.0, 3.0, 4.0]))
    # t(0.975; 3) = 3.1824, standard error = 1.2910 / 2
    assert estimate == pytest.approx((2.5, 2.5 - 2.0543, 2.5 + 2.0543, 4), abs=1e-4)


def test_the_mean_of_equal_values_is_certain_and_warns_of_nothing(recwarn):
    assert estimates.mean(np.full(3, 100.0)) == (100.0, 100.0, 100.0, 3)
    assert not recwarn.list


def test_the_roc_area_is_the_share_of_pairs_in_order(rng):
    negatives, positives = rng.normal(size=200), rng.normal(1.0, size=150)
    estimate = estimates.roc_area(negatives, positives, seed=1)
    assert estimate.value == pytest.approx(np.mean(positives[:, None] > negatives[None, :]))
    # Φ(1/√2), the area for two normals one σ apart
    assert estimate.low < 0.7602 < estimate.high
    assert 0.04 < estimate.high - estimate.low < 0.13
    assert estimates.roc_area(negatives, positives, seed=1) == estimate
    assert estimates.roc_area(np.array([0.0, 1.0]), np.array([2.0, 3.0])).value == 1.0
