"""Others' attacks on a whole defence: as they are, and with the same answers."""

import art
import foolbox
import numpy as np
import pytest
import tensorflow as tf
from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack

import inc_tf as inc
from inc_tf.attacks.differentiable import implicit
from inc_tf.attacks.toolboxes import Logits

EPSILON = 0.3
N = 8


@pytest.fixture(scope="module")
def data() -> inc.data.Dataset:
    return inc.data.load("digits", "test").take(N)


@pytest.fixture(scope="module")
def defense() -> inc.InvertAndClassify:
    projector = inc.LatentProjector(inc.load("digits-vae").generator, inc.LevenbergMarquardt(), inc.Zeros())
    return inc.InvertAndClassify(inc.load("digits-classifier"), projector)


def accuracy(defense, images, labels) -> float:
    return float(np.mean(defense(images).predictions.numpy() == labels))


@pytest.mark.parametrize("stand_in", [None, implicit])
def test_the_answers_are_the_defenses_and_the_gradient_is_the_stand_ins(stand_in, defense, data):
    wrapped = Logits(defense, stand_in and stand_in(defense))
    images = tf.constant(data.images)
    np.testing.assert_allclose(wrapped(images), defense(images).logits, rtol=1e-5, atol=1e-4)
    assert wrapped.input_shape == (None, 28, 28, 1)

    @tf.function  # as AutoAttack's adapter asks
    def gradient(images, labels):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, wrapped(images, training=False))
        return tape.gradient(loss, images)

    with tf.GradientTape() as tape:
        tape.watch(images)
        own = (stand_in or inc.attacks.differentiable.straight_through)(defense)(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(data.labels, own)
    expected = tape.gradient(loss, images).numpy()
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(gradient(images, data.labels), expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())


def test_arts_attacks_run_on_a_defense(defense, data):
    assert accuracy(defense, data.images, data.labels) >= 0.75
    np.random.seed(0)  # noqa: NPY002  (ART draws from it)
    estimator = inc.to_art(defense, implicit(defense))
    assert isinstance(estimator, art.estimators.classification.TensorFlowV2Classifier)
    found = AutoProjectedGradientDescent(
        estimator, eps=EPSILON, eps_step=EPSILON / 2, max_iter=5, nb_random_init=1, verbose=False
    ).generate(data.images, data.labels)
    assert np.abs(found - data.images).max() <= EPSILON + 1e-6
    assert accuracy(defense, found, data.labels) <= 0.25
    free = SquareAttack(estimator, eps=EPSILON, max_iter=5, verbose=False).generate(data.images, data.labels)
    assert accuracy(defense, free, data.labels) <= accuracy(defense, data.images, data.labels)


def test_foolboxs_attacks_run_on_a_defense(defense, data):
    tf.random.set_seed(0)
    model = inc.to_foolbox(defense, implicit(defense))
    attack = foolbox.attacks.LinfPGD(steps=8, abs_stepsize=0.08)
    _, found, broken = attack(model, tf.constant(data.images), tf.constant(data.labels), epsilons=EPSILON)
    assert np.mean(broken) >= 0.75
    assert accuracy(defense, found, data.labels) <= 0.25
