import numpy as np
import tensorflow as tf

from inc_tf.rows import column, select


def test_column_broadcasts_along_rows(rng):
    images = rng.normal(size=(3, 2, 2, 1)).astype(np.float32)
    scaled = images * column(tf.constant([1.0, 0.0, -2.0]))
    np.testing.assert_array_equal(scaled, images * np.array([1.0, 0.0, -2.0], np.float32).reshape(3, 1, 1, 1))
    assert column(tf.constant([1.0, 2.0]), rank=2).shape == (2, 1)
    assert column(tf.constant([1.0, 2.0]), rank=1).shape == (2,)


def test_select_chooses_rows_of_every_tensor_of_a_structure(rng):
    yes = {"codes": rng.normal(size=(3, 2)), "rest": (np.arange(3), rng.normal(size=(3, 2, 1, 4)))}
    no = tf.nest.map_structure(np.zeros_like, yes)
    picked = select(tf.constant([True, False, True]), tf.nest.map_structure(tf.constant, yes), no)
    for found, one in zip(tf.nest.flatten(picked), tf.nest.flatten(yes), strict=True):
        np.testing.assert_array_equal(found[::2], one[::2])
        assert not np.any(found[1])


def test_select_by_a_scalar_chooses_a_whole_structure():
    one, other = (tf.constant([1.0, 2.0]), tf.constant(3)), (tf.constant([4.0, 5.0]), tf.constant(6))
    for condition, expected in ((True, one), (False, other)):
        for found, part in zip(select(tf.constant(condition), one, other), expected, strict=True):
            assert found.shape == part.shape
            np.testing.assert_array_equal(found, part)
