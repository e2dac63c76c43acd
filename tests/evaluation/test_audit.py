"""The rules by which an evaluation is believed, on outcomes that are made up."""

import numpy as np
import pytest

from inc_tf.evaluation import audit

N = 100


def right(*wrong) -> np.ndarray:
    """Bool [N], false at the places given."""
    answers = np.ones(N, bool)
    answers[list(wrong)] = False
    return answers


FEW, MANY, OTHERS = right(*range(10)), right(*range(40)), right(*range(60, 70))


def test_an_attack_that_leaves_more_right_beyond_chance_is_weaker():
    assert audit.not_weaker(MANY, FEW) == (True, "60.0 % beside 90.0 % right")
    assert audit.not_weaker(FEW, FEW).passed
    assert not audit.not_weaker(FEW, MANY).passed
    # Four images against none: p = 1/16; five: 1/32.
    assert audit.not_weaker(right(), right(*range(4))).passed
    assert not audit.not_weaker(right(), right(*range(5))).passed


def test_the_images_are_compared_one_by_one():
    # Equal shares, other images: neither is weaker, and the seeds agree within chance.
    assert audit.not_weaker(FEW, OTHERS).passed
    assert audit.same(FEW, OTHERS).passed
    assert not audit.same(FEW, MANY).passed
    assert not audit.same(MANY, FEW).passed


def test_order():
    assert audit.in_order([FEW, MANY, right(*range(N))]) == (True, "90.0 % → 60.0 % → 0.0 % right")
    assert not audit.in_order([FEW, MANY, FEW]).passed


@pytest.mark.parametrize(
    ("wrong", "classes", "passed"), [(95, 10, True), (85, 10, True), (70, 10, False), (45, 2, True)]
)
def test_chance(wrong, classes, passed):
    assert audit.reaches_chance(right(*range(wrong)), classes).passed is passed


def test_restarts():
    assert audit.converged([FEW, right(*range(37)), MANY]).passed
    assert not audit.converged([FEW, right(*range(36)), MANY]).passed


def test_planted():
    possible = np.array([True, True, False])
    assert audit.found(possible, possible) == (True, "2 of 2 planted, 0 impossible ones")
    assert not audit.found(np.array([True, False, False]), possible).passed
    assert not audit.found(np.array([True, True, True]), possible).passed
