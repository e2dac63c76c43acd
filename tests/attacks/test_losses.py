import numpy as np
import tensorflow as tf

from inc_tf.attacks.losses import cross_entropy


def test_a_sure_classifiers_gradient_is_not_rounded_away():
    logits = tf.constant([[20.0, 0.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = cross_entropy(tf.constant([0]), logits)
    p = np.exp([0.0, -20.0, -19.0])
    p /= p.sum()
    np.testing.assert_allclose(tape.gradient(loss, logits), [p - [1, 0, 0]], rtol=1e-5)
    np.testing.assert_allclose(loss, [-np.log(p[0])], rtol=1e-7)
