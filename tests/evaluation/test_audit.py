"""Verdicts and the rules by which an evaluation is believed, on scores that are made up."""

import numpy as np
import pytest

from inc_tf.evaluation import audit

N = 100


def right(*wrong, n: int = N) -> np.ndarray:
    """Bool [n], false at the places given."""
    answers = np.ones(n, bool)
    answers[list(wrong)] = False
    return answers


FEW, MANY, OTHERS = right(*range(10)), right(*range(40)), right(*range(60, 70))


def test_attack_that_leaves_more_right_beyond_chance_is_weaker():
    assert audit.not_weaker(MANY, FEW) == ("holds", "60.0 % beside 90.0 % right", None)
    assert audit.not_weaker(FEW, FEW).verdict == "holds"
    assert audit.not_weaker(FEW, MANY).verdict == "does not hold"


def test_sign_test_is_exact():
    # Four images against none: p = 1/16; five: 1/32.
    assert audit.above(right(n=40), right(*range(4), n=40)).verdict == "undecided"
    assert audit.above(right(n=40), right(*range(5), n=40)).verdict == "holds"
    assert audit.above(right(*range(5), n=40), right(n=40)).verdict == "does not hold"


def test_two_images_refute_and_prove_nothing():
    one, other = right(0, n=2), right(1, n=2)
    for check in (
        audit.above(one, other),
        audit.not_weaker(one, one),
        audit.in_order([one, other, one]),
        audit.reaches_chance(right(0, 1, n=2), 10),
        audit.converged([one, one]),
        audit.rare(right(0, 1, n=2), "zero"),
    ):
        assert check.verdict == "undecided"


def test_undecided_says_how_many_images_would_decide():
    # Of ten images two are told apart, both in favour: five of 25 would be.
    assert audit.above(right(n=10), right(0, 1, n=10)).images == 25
    assert audit.above(right(n=25), right(*range(5), n=25)).verdict == "holds"
    # None of ten differs; Wilson's interval of none is below 5 % from 73 images on.
    assert audit.not_weaker(right(n=10), right(n=10)).images == 73
    assert audit.not_weaker(right(n=72), right(n=72)).verdict == "undecided"
    assert audit.not_weaker(right(n=73), right(n=73)).verdict == "holds"


def test_no_number_of_images_decides_between_equals_that_often_differ_by_more_than_the_margin():
    assert audit.converged([right(n=10), right(0, n=10)]) == ("undecided", "100.0 % → 90.0 % right", None)


def test_images_are_compared_one_by_one():
    # Equal shares of other images are told apart only by enough of them.
    assert audit.above(FEW, OTHERS).verdict == "undecided"
    assert audit.above(np.tile(FEW, 10), np.tile(OTHERS, 10)).verdict == "does not hold"


def test_scores_of_several_draws_are_compared_too(rng):
    scores = rng.binomial(8, 0.6, size=N) / 8
    assert audit.above(scores + 0.25, scores).verdict == "holds"
    assert audit.not_weaker(scores, scores + 0.25).verdict == "holds"


def test_order_is_refuted_by_one_step_and_undecided_by_one_that_is_open():
    assert audit.in_order([FEW, MANY, right(*range(N))]) == ("holds", "90.0 % → 60.0 % → 0.0 % right", None)
    assert audit.in_order([FEW, MANY, FEW]).verdict == "does not hold"
    assert audit.in_order([right(), right(*range(4)), right(*range(4, 8))]).verdict == "undecided"


@pytest.mark.parametrize(
    ("wrong", "classes", "verdict"),
    [(99, 10, "holds"), (90, 10, "undecided"), (70, 10, "does not hold"), (60, 2, "holds")],
)
def test_guessing_is_a_share_with_its_interval(wrong, classes, verdict):
    assert audit.reaches_chance(right(*range(wrong)), classes).verdict == verdict


def test_restarts_converge_where_the_last_gains_less_than_the_margin():
    assert audit.converged([FEW, MANY, MANY]).verdict == "holds"
    assert audit.converged([FEW, right(*range(25)), MANY]).verdict == "does not hold"


def test_what_should_be_rare_is():
    assert audit.rare(right() & False, "zero") == ("holds", "zero: 0 of 100", None)
    assert audit.rare(right(*range(80)), "zero").verdict == "does not hold"


def test_planted_hole_is_found_and_nothing_else():
    possible = np.array([True, True, False])
    assert audit.found(possible, possible)[:2] == ("holds", "2 of 2 planted, 0 impossible ones")
    assert audit.found(np.array([True, False, False]), possible).verdict == "does not hold"
    assert audit.found(np.array([True, True, True]), possible).verdict == "does not hold"
