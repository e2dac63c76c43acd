import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.errors import InputError


def linear_generator(rng, k: int = 3) -> keras.Model:
    """G(z) = Wz on 2×3 images, of which the projection is known."""
    generator = keras.Sequential(
        [keras.layers.Input((k,)), keras.layers.Dense(6, use_bias=False), keras.layers.Reshape((2, 3, 1))]
    )
    generator.layers[0].set_weights([rng.normal(size=(k, 6)).astype(np.float32)])
    return generator


def test_the_defaults_are_the_papers(vae):
    projector = inc.LatentProjector(vae.generator)
    assert projector.solver == inc.Adam(learning_rate=0.1, steps=2000)
    assert projector.start == inc.Normal(restarts=1, stddev=1.0)


def test_a_linear_generators_projection_is_the_least_squares_one(rng):
    generator = linear_generator(rng)
    images = rng.normal(size=(5, 2, 3, 1)).astype(np.float32)
    weights = generator.layers[0].get_weights()[0]
    codes, squares, _, _ = np.linalg.lstsq(weights.T, images.reshape(5, 6).T, rcond=None)
    found = inc.LatentProjector(generator)(images)
    np.testing.assert_allclose(found.codes, codes.T, atol=1e-3)
    np.testing.assert_allclose(found.distances, np.sqrt(squares), rtol=1e-5)


def test_the_distance_belongs_to_the_image_and_the_image_to_the_code(vae, digits):
    images = digits.images[:6]
    found = inc.LatentProjector(vae.generator, inc.Adam(steps=50))(images)
    np.testing.assert_allclose(found.images, vae.generator(found.codes), atol=1e-6)
    distances = np.sqrt(np.square(found.images - images).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(found.distances, distances, rtol=1e-5)


def test_the_best_seen_is_returned_not_the_last(vae, digits):
    # So large a rate throws the codes away: the start stays the best that was seen.
    images = digits.images[:20]
    projector = inc.LatentProjector(vae.generator, inc.Adam(1000.0, steps=10))
    start = vae.generator(tf.reshape(projector.start(tf.constant(images), 20, tf.constant(0)), [20, 20]))
    from_start = np.sqrt(np.square(start - images).sum(axis=(1, 2, 3)))
    assert np.all(projector(images).distances <= from_start * (1 + 1e-5))


@pytest.mark.slow
def test_adam_takes_the_steps_of_keras_adam(vae, digits):
    images, steps = tf.constant(digits.images[:4]), 25
    projector = inc.LatentProjector(vae.generator, inc.Adam(0.1, steps))
    z = tf.Variable(tf.reshape(projector.start(images, 20, tf.constant(0)), [4, 20]))
    optimizer = keras.optimizers.Adam(0.1, epsilon=1e-8)
    best = np.full(4, np.inf)
    for t in range(steps + 1):
        with tf.GradientTape() as tape:
            errors = tf.reduce_sum(tf.square(vae.generator(z) - images), axis=[1, 2, 3])
        best = np.minimum(best, errors)
        if t < steps:
            optimizer.apply([tape.gradient(errors, z)], [z])
    np.testing.assert_allclose(projector(images).distances, np.sqrt(best), rtol=1e-4)


@pytest.mark.slow
def test_restarts_keep_the_best_of_each_image(vae, digits):
    images = digits.images[:8]
    one = inc.LatentProjector(vae.generator, inc.Adam(steps=40), inc.Normal(restarts=1))(images)
    five = inc.LatentProjector(vae.generator, inc.Adam(steps=40), inc.Normal(restarts=5))(images)
    assert five.distances.shape == (8,)
    assert np.mean(five.distances) < np.mean(one.distances)


def test_the_same_seed_gives_the_same_bits_and_another_another(vae, digits):
    projector = inc.LatentProjector(vae.generator, inc.Adam(steps=20))
    first, again, other = (projector(digits.images[:9], seed=seed) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.any(np.all(first.codes.numpy() == other.codes.numpy(), axis=1))
    np.testing.assert_array_equal(projector(digits.images[:9]).codes, projector(digits.images[:9], seed=0).codes)


@pytest.mark.slow
def test_an_image_is_answered_alike_in_any_batch(vae, digits):
    projector = inc.LatentProjector(vae.generator, inc.Adam(steps=30))
    together = projector(digits.images[:11])
    alone = projector(digits.images[4:5])
    turned = projector(digits.images[:11][::-1])
    np.testing.assert_allclose(alone.distances[0], together.distances[4], rtol=1e-4)
    np.testing.assert_allclose(turned.distances[::-1], together.distances, rtol=1e-4)


def test_different_images_start_from_different_codes(digits):
    codes = inc.Normal(restarts=2, stddev=2.0)(tf.constant(digits.images), 50, tf.constant(1)).numpy()
    assert codes.shape == (400, 2, 50)
    assert len(np.unique(codes[:, :, 0])) == 800
    assert abs(codes.mean()) < 0.05
    assert abs(codes.std() - 2.0) < 0.05


@pytest.mark.slow
def test_many_images_go_through_in_batches_with_one_trace(vae, digits):
    projector = inc.LatentProjector(vae.generator, inc.Adam(steps=2))
    projector(digits.images[:2])
    images = np.concatenate([digits.images] * 3)[:1111]
    found = projector(images)
    assert found.images.shape == images.shape
    np.testing.assert_allclose(found.distances[1000:], projector(images[1000:]).distances, rtol=1e-4)
    assert projector._project.experimental_get_tracing_count() <= 2


@pytest.mark.parametrize("shape", [(28, 28), (4, 28, 28), (4, 27, 28, 1), (4, 28, 28, 3), (0, 28, 28, 1)])
def test_images_of_another_shape_are_refused(vae, shape):
    with pytest.raises(InputError, match=r"must"):
        inc.LatentProjector(vae.generator)(np.zeros(shape, np.float32))


def test_a_generator_of_something_else_is_refused():
    with pytest.raises(InputError, match="must map codes"):
        inc.LatentProjector(keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)]))
