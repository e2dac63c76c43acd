"""What breaks the defences beside the paper: the stand-ins agree with them, and their gradients are true."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.attacks import TARGETS, differentiable
from inc_tf.errors import InputError
from inc_tf.models.diffusion import unet
from inc_tf.zoo import Parts


@pytest.fixture(scope="module")
def linear() -> keras.Model:
    """G of codes of three dimensions and 4×3 images, linear."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(12, use_bias=False), keras.layers.Reshape((4, 3, 1))]
    )


@pytest.fixture(scope="module")
def small() -> keras.Model:
    """C of 4×3 images, five classes."""
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((4, 3, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])


def descending(classifier, generator, steps: int) -> inc.InvertAndClassify:
    projector = inc.LatentProjector(generator, inc.Momentum(1.0, steps=steps), inc.Normal(stddev=0.2))
    return inc.InvertAndClassify(classifier, projector, bounds=(-1.0, 1.0))


@pytest.fixture(scope="module")
def diffusing(classifier) -> inc.InvertAndClassify:
    """Four steps of an untrained network, whose last layer is not zero."""
    keras.utils.set_random_seed(0)
    model = unet(width=4)
    model.layers[-1].kernel.assign(tf.random.stateless_normal(model.layers[-1].kernel.shape, [0, 0], stddev=0.1))
    return inc.InvertAndClassify(classifier, inc.DiffusionProjector(model, time=40, steps=4))


def gradient_of(function, images):
    images = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logit = function(images)[:, 1]
    return tape.gradient(logit, images)


def test_unrolled_momentum_is_the_search_itself(linear, small, rng):
    defense = descending(small, linear, 8)
    images = rng.uniform(-1, 1, (3, 4, 3, 1)).astype(np.float32)
    stand_in = differentiable.unrolled(defense, steps=8)
    np.testing.assert_allclose(stand_in(images), defense(images).logits, rtol=1e-4, atol=1e-5)


def test_gradients_through_a_long_search_and_at_its_minimum_are_the_projections(linear, small, rng):
    """Onto a linear generator's range, d(Gz*)/dx is the matrix W(WᵀW)⁻¹Wᵀ."""
    defense = descending(small, linear, 300)
    images = rng.uniform(-1, 1, (2, 4, 3, 1)).astype(np.float32)
    w = linear.get_weights()[0].T.astype(np.float64)
    onto = w @ np.linalg.inv(w.T @ w) @ w.T
    expected = np.broadcast_to((onto @ small.get_weights()[0][:, 1]).reshape(1, 4, 3, 1), images.shape)
    implicit = TARGETS["implicit"].build(defense, Parts({"classifier": small}, (-1.0, 1.0)), 1)
    unrolled = differentiable.unrolled(defense, steps=300, start=lambda x: tf.zeros([tf.shape(x)[0], 3]))
    for stand_in in (implicit, unrolled):
        np.testing.assert_allclose(gradient_of(stand_in, images), expected, atol=1e-3)


def test_reverse_process_is_the_defence_itself(diffusing, digits):
    images = digits.images[:2]
    np.testing.assert_allclose(
        differentiable.reverse(diffusing)(images), diffusing(images).logits, rtol=1e-4, atol=1e-3
    )
    both = differentiable.reverse(diffusing, seeds=range(2))(images)
    mean = np.mean([diffusing(images, seed=s).logits for s in range(2)], axis=0)
    np.testing.assert_allclose(both, mean, rtol=1e-4, atol=1e-3)


def test_surrogate_takes_half_of_the_steps(diffusing, digits):
    images, parts = digits.images[:2], Parts({"classifier": diffusing.classifier}, (0.0, 1.0))
    projector = inc.DiffusionProjector(diffusing.projector.model, time=40, steps=2)
    expected = inc.InvertAndClassify(diffusing.classifier, projector)(images).logits
    surrogate = TARGETS["surrogate-reverse"].build(diffusing, parts, 1)
    np.testing.assert_allclose(surrogate(images), expected, rtol=1e-4, atol=1e-3)
    assert np.isfinite(gradient_of(surrogate, images)).all()


@pytest.mark.slow
def test_an_attack_through_the_process_moves_the_defence(diffusing, digits):
    few = digits.take(3)
    stand_in = differentiable.reverse(diffusing)
    found = inc.attacks.pgd(stand_in, few.images, few.labels, bounds=few.bounds, epsilon=0.3, steps=5)

    def loss(images):
        return np.mean(keras.losses.sparse_categorical_crossentropy(few.labels, stand_in(images), from_logits=True))

    assert loss(found) > loss(few.images) + 1
    assert np.abs(found - few.images).max() <= 0.3 + 1e-6


def test_bpda_passes_a_jpeg_straight_through(classifier, digits):
    defense, images = inc.InvertAndClassify(classifier, inc.JPEG(40)), digits.images[:2]
    stand_in = differentiable.straight_through(defense)
    np.testing.assert_allclose(stand_in(images), defense(images).logits, rtol=1e-5, atol=1e-4)
    expected = gradient_of(classifier, defense(images).projections.numpy())
    np.testing.assert_allclose(gradient_of(stand_in, images), expected, rtol=1e-4, atol=1e-5)


def test_what_has_no_process_or_search_is_refused(classifier, diffusing):
    jpeg = inc.InvertAndClassify(classifier, inc.JPEG())
    with pytest.raises(InputError, match="a JPEG, has no purify"):
        differentiable.reverse(jpeg)
    with pytest.raises(InputError, match="a DiffusionProjector, has no generator"):
        differentiable.unrolled(diffusing)
    with pytest.raises(InputError, match="steps is 3, which does not divide time 40"):
        differentiable.reverse(diffusing, steps=3)(np.zeros((1, 28, 28, 1), np.float32))
    suited = {name for name, target in dict(zip(TARGETS, TARGETS.values(), strict=True)).items() if target.suits(jpeg)}
    assert suited == {"classifier", "autoencoder", "defense", "straight-through"}
