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


def test_bootstrapped_mean_agrees_with_students_interval_on_many_values(rng):
    values = rng.normal(size=400)
    found, students = estimates.bootstrapped_mean(values), estimates.mean(values)
    assert found.value == pytest.approx(students.value)
    assert (found.low, found.high) == pytest.approx((students.low, students.high), abs=0.01)
    assert estimates.bootstrapped_mean(values) == found
    assert estimates.bootstrapped_mean(values, seed=1) != found


def test_roc_area_is_the_share_of_pairs_in_order(rng):
    negatives, positives = rng.normal(size=200), rng.normal(1.0, size=150)
    estimate = estimates.roc_area(negatives, positives)
    assert estimate.value == pytest.approx(np.mean(positives[:, None] > negatives[None, :]))
    # Φ(1/√2), the area for two normals one σ apart
    assert estimate.low < 0.7602 < estimate.high
    assert estimates.roc_area(np.array([0.0, 1.0]), np.array([1.0, 3.0])).value == 0.875  # a tie is half
    assert estimates.roc_area(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == (1.0, 1.0, 1.0, 2)


def test_delongs_interval_covers_the_area_as_often_as_it_says(rng):
    found = [estimates.roc_area(rng.normal(size=60), rng.normal(1.0, size=40)) for _ in range(1000)]
    assert 0.92 < np.mean([one.low < 0.7602 < one.high for one in found]) < 0.97


def test_delongs_variance_by_hand():
    # ψ of the positives: 1/3, 1, 1; of the negatives: 1, 2/3, 2/3. Variances 4/27 and 1/27, over three images each.
    estimate = estimates.roc_area(np.array([1.0, 2.0, 2.5]), np.array([1.5, 3.0, 4.0]))
    assert estimate.value == pytest.approx(7 / 9)
    assert estimate.high - estimate.value == pytest.approx(1.959964 * np.sqrt((4 / 27 + 1 / 27) / 3))


def test_paired_areas_are_compared_on_the_same_images(rng):
    shared_low, shared_high = rng.normal(size=300), rng.normal(1.0, size=300)
    noise = lambda: 0.3 * rng.normal(size=300)  # noqa: E731
    negatives = shared_low + noise(), shared_low + noise()
    positives = shared_high + noise(), shared_high + noise() + 0.15
    difference = estimates.roc_difference(negatives, positives)
    areas = [estimates.roc_area(*pair) for pair in zip(negatives, positives, strict=True)]
    assert difference.value == pytest.approx(areas[0].value - areas[1].value)
    # Together they tell what apart they cannot.
    assert difference.high < 0
    assert areas[1].low < areas[0].high
    assert estimates.roc_difference((negatives[0],) * 2, (positives[0],) * 2) == (0.0, 0.0, 0.0, 300)


def test_one_value_has_a_mean_and_no_interval():
    found = estimates.mean(np.array([2.5]))
    assert (found.value, found.n) == (2.5, 1)
    assert np.isnan([found.low, found.high]).all()
