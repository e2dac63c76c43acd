import numpy as np
import pytest
import tensorflow as tf

from inc_tf.attacks import lagrangian

ascend = tf.function(lagrangian.ascend, autograph=False)


def in_a_disc(codes):
    """x + y on the unit disc: the maximum is √2, at (1, 1)/√2, with λ = −1/√2."""
    return tf.reduce_sum(codes, axis=1), tf.reduce_sum(tf.square(codes), axis=1) - 1.0


def test_finds_the_maximum_on_the_disc_with_a_negative_multiplier():
    state = lagrangian.begin(tf.constant([[0.0, 0.0], [2.0, -1.0], [0.5, 0.9]]))
    state = ascend(in_a_disc, state, 3000, learning_rate=0.01, multiplier_rate=0.01)
    np.testing.assert_allclose(state.value, 2**0.5, rtol=0.01)
    np.testing.assert_allclose(state.best, 0.5**0.5, atol=0.05)
    assert np.all(state.excess <= 0)
    np.testing.assert_allclose(state.multiplier, -(0.5**0.5), rtol=0.05)
    np.testing.assert_array_equal(state.t, 3000)


def test_an_infeasible_row_keeps_the_codes_closest_to_feasible():
    def never(codes):
        return tf.reduce_sum(codes, axis=1), tf.reduce_sum(tf.square(codes), axis=1) + 1.0

    state = ascend(never, lagrangian.begin(tf.constant([[3.0, 0.0]])), 2000, learning_rate=0.01, multiplier_rate=1.0)
    np.testing.assert_allclose(state.excess, 1.0, atol=0.01)
    np.testing.assert_allclose(state.best, 0.0, atol=0.05)


def test_a_row_goes_on_from_where_it_is_whatever_the_others(rng):
    codes = tf.constant(rng.normal(size=(4, 2)).astype(np.float32))
    rates = {"learning_rate": 0.05, "multiplier_rate": 0.1}
    whole = ascend(in_a_disc, lagrangian.begin(codes), 40, **rates)
    half = ascend(in_a_disc, lagrangian.begin(codes[1:3]), 25, **rates)
    again = ascend(in_a_disc, half, 15, **rates)
    for part, other in zip(tf.nest.flatten(whole), tf.nest.flatten(again), strict=True):
        np.testing.assert_allclose(part[1:3], other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inside", [0.0, 0.1])
def test_aims_inside_the_constraint(inside):
    state = lagrangian.begin(tf.constant([[0.1, 0.2]]))
    state = ascend(in_a_disc, state, 5000, learning_rate=0.005, multiplier_rate=0.01, inside=inside)
    _, settled = in_a_disc(state.codes)
    np.testing.assert_allclose(settled, -inside, atol=0.02)
