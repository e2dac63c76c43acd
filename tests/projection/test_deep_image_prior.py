import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import inc_tf as inc
from inc_tf.errors import InputError
from inc_tf.models.skip import skip_network
from inc_tf.projection import Status
from inc_tf.projection.deep_image_prior import box_muller

pytestmark = pytest.mark.slow

SIZE = 32


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Three smooth pictures in [−1, 1]."""
    coarse = np.random.default_rng(3).uniform(-1, 1, size=(3, 4, 4, 3))
    return tf.image.resize(coarse, (SIZE, SIZE)).numpy().astype(np.float32)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return skip_network((SIZE, SIZE, 3), 8)


@pytest.fixture(scope="module")
def projector(network) -> inc.DeepImagePrior:
    """Stops at a threshold that some of the images reach and others do not."""
    return inc.DeepImagePrior(network, steps=60, stop_mse=0.12)


@pytest.fixture(scope="module")
def found(projector, images):
    return projector(images)


@pytest.fixture(scope="module")
def trajectory(projector, images):
    rules = (inc.ErrorBelow(0.12), inc.MovingVariance(window=5, patience=10))
    return projector.trajectory(images[0], [1, 10, 40, 60], rules)


def mse(reconstructed, images) -> np.ndarray:
    return np.square(reconstructed - images).mean(axis=(1, 2, 3))


def test_the_defaults_are_the_papers():
    projector = inc.DeepImagePrior()
    assert projector.network.count_params() == 2_214_591
    assert projector.image_shape == (224, 224, 3)
    assert (projector.steps, projector.stop_mse, projector.learning_rate) == (500, 0.005, 0.01)
    assert (projector.code, projector.moving_variance) == ("uniform", None)


def test_the_noise_is_normal():
    drawn = box_muller(tf.TensorShape([1, 101, 33, 15]), tf.constant([0, 1])).numpy()
    assert drawn.shape == (1, 101, 33, 15)
    kolmogorov_smirnov = scipy.stats.kstest(drawn.ravel(), "norm")
    assert kolmogorov_smirnov.pvalue > 0.01
    halves = drawn.ravel()[:24997], drawn.ravel()[24998:]  # a pair's numbers lie half of the vector apart
    assert abs(np.corrcoef(*halves)[0, 1]) < 0.03
    assert abs(np.corrcoef(np.square(halves))[0, 1]) < 0.03


def test_the_distance_is_of_the_image_and_there_is_no_code(found, images):
    assert found.images.shape == images.shape
    assert found.codes.shape == (3, 0)
    np.testing.assert_allclose(
        found.distances, np.sqrt(np.square(found.images - images).sum(axis=(1, 2, 3))), rtol=1e-5
    )
    assert np.all(np.abs(found.images) <= 1)


def test_the_search_fits_the_image_and_stops_at_the_threshold(projector, found, images):
    errors = mse(found.images, images)
    assert np.all(found.converged == (errors < 0.12))
    assert np.any(found.converged)
    stopped = int(np.argmax(found.converged))
    steps = int(found.steps[stopped])
    assert 0 < steps < 60
    # One step before, it was above the threshold.
    before = projector.trajectory(images[stopped], [steps - 1, steps]).checkpoints
    assert before[0].error >= 0.12 > before[1].error
    np.testing.assert_array_equal(before[1].image, found.images[stopped])
    at_limit = ~found.converged.numpy()
    assert np.all(found.steps.numpy()[at_limit] == 60)


def test_more_steps_fit_better(projector, images):
    errors = [seen.error for seen in projector.trajectory(images[0], [1, 20, 60]).checkpoints]
    assert errors[0] > errors[1] > errors[2]


def test_one_trajectory_answers_for_every_limit_and_rule(projector, network, trajectory, images):
    alone = inc.DeepImagePrior(network, steps=10, stop_mse=None)(images[:1])
    np.testing.assert_array_equal(alone.images[0], trajectory.checkpoints[1].image)
    assert (int(alone.steps[0]), bool(alone.converged[0])) == (10, False)
    assert [seen.steps for seen in trajectory.checkpoints] == [1, 10, 40, 60]
    below = projector(images[:1])
    np.testing.assert_array_equal(below.images[0], trajectory.answers[0].image)
    assert (int(below.steps[0]), bool(below.converged[0])) == (trajectory.answers[0].steps, trajectory.stopped[0])
    rule = inc.MovingVariance(window=5, patience=10)
    moving = inc.DeepImagePrior(network, steps=60, moving_variance=rule)(images[:1])
    np.testing.assert_array_equal(moving.images[0], trajectory.answers[1].image)
    assert bool(moving.converged[0]) == trajectory.stopped[1]


def test_the_same_seed_gives_the_same_bits_and_another_another(projector, found, images):
    again, other = projector(images, seed=0), projector(images, seed=1)
    for a, b in zip(found, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.any(np.isclose(found.distances, other.distances, rtol=1e-4))


def test_an_image_is_answered_alike_in_any_batch(projector, found, images):
    np.testing.assert_array_equal(projector(images[::-1]).images[::-1], found.images)
    np.testing.assert_array_equal(projector(images[1:2]).images[0], found.images[1])
    assert projector._project.experimental_get_tracing_count() == 1


def test_each_image_has_weights_of_its_own(projector, network):
    seeds = tf.constant([[0, 1], [0, 2]])
    first, second = (projector._draw(seed).numpy() for seed in seeds)
    assert first.shape == (network.count_params(),)
    # All but the normalisations' γ and β, which start at 1 and 0.
    drawn = sum(np.prod(v.shape) for v in network.trainable_variables if v.path.endswith(("kernel", "bias")))
    assert np.sum(first != second) == pytest.approx(drawn, abs=2)
    assert set(first[first == second]) == {0.0, 1.0}
    # PyTorch's U(±1/√fan-in): the first kernel listed has a fan-in of 3·3·32.
    reach = (9 * 32) ** -0.5
    parts = projector._parts(tf.constant(first))
    (kernel,) = [p.numpy() for p, v in zip(parts, network.trainable_variables, strict=True) if v.shape == (3, 3, 32, 8)]
    assert 0.95 * reach < np.abs(kernel).max() <= reach
    assert kernel.std() == pytest.approx(reach / np.sqrt(3), rel=0.05)


@pytest.mark.parametrize(("code", "low", "high", "mean"), [("uniform", 0.0, 0.1, 0.05), ("normal", -7, 7, 0.0)])
def test_z_is_drawn_as_asked(network, code, low, high, mean):
    projector = inc.DeepImagePrior(network, code=code)
    z = projector._start(tf.constant([0, 1]), ()).code.numpy()
    assert z.shape == (1, SIZE, SIZE, 32)
    assert low <= z.min() < z.max() <= high
    assert z.mean() == pytest.approx(mean, abs=0.02)
    assert z.std() == pytest.approx(1.0 if code == "normal" else 0.1 / np.sqrt(12), rel=0.05)


def root_network() -> keras.Model:
    """One drawn weight w: √w, NaN for half of all draws, behind a convolution and a sigmoid."""
    noise = keras.layers.Input((4, 4, 1))
    w = keras.layers.Conv2D(1, 1, use_bias=False)(keras.ops.ones_like(noise))
    return keras.Model(noise, keras.ops.sigmoid(keras.ops.sqrt(w)))


def test_nan_begins_once_more_from_other_weights():
    projector = inc.DeepImagePrior(root_network(), steps=3, stop_mse=None, learning_rate=1e-4)
    images = np.random.default_rng(0).uniform(-1, 1, size=(24, 4, 4, 1)).astype(np.float32)
    restarts = np.array([projector.trajectory(image, [3]).restarts for image in images])
    found = projector(images)
    assert np.all(np.isfinite(found.distances))
    # A quarter meets NaN twice: nothing was ever seen, which 0 steps cannot be taken for.
    twice = found.steps.numpy() == -1
    assert set(restarts[~twice]) == {0, 1}
    assert np.all(restarts[twice] == 1)
    assert np.all(found.steps.numpy()[~twice] == 3)
    np.testing.assert_array_equal(found.status, np.where(twice, Status.NOT_FINITE, Status.OUT_OF_STEPS))
    assert np.any(twice)


def test_nan_later_on_leaves_the_last_finite_reconstruction(images, network):
    projector = inc.DeepImagePrior(network, steps=5, stop_mse=None, learning_rate=1e38)
    found = projector(images[:1])
    assert (int(found.steps[0]), int(found.status[0])) == (0, Status.NOT_FINITE)
    assert np.all(np.isfinite(found.images))
    np.testing.assert_allclose(found.distances[0], np.linalg.norm(found.images[0] - images[0]), rtol=1e-5)


def test_it_stands_behind_a_classifier_and_is_saved_with_it(tmp_path, network, images):
    classifier = keras.Sequential([keras.layers.Input((SIZE, SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    rule = inc.MovingVariance(3, 4)
    projector = inc.DeepImagePrior(network, 6, None, 0.02, "normal", rule)
    defense = inc.InvertAndClassify(classifier, projector)
    assert defense.bounds == (-1.0, 1.0)
    answer = defense(images)
    np.testing.assert_allclose(answer.logits, classifier(answer.projections), atol=1e-5)
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras", safe_mode=True)
    for name in ("steps", "stop_mse", "learning_rate", "code", "moving_variance"):
        assert getattr(loaded.projector, name) == getattr(projector, name)
    np.testing.assert_array_equal(loaded(images).logits, answer.logits)
    predicted = defense.predict(images, batch_size=2, verbose=0)
    np.testing.assert_array_equal(predicted.predictions, answer.predictions)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.zeros((1, SIZE, SIZE, 1), np.float32), "1 channels .* must have 3"),
        (np.zeros((1, SIZE, 40, 3), np.float32), r"must be \[N, 32, 32, 3\]"),
        (np.full((1, SIZE, SIZE, 3), 1.5, np.float32), r"must lie in \[-1, 1\]"),
        (np.zeros((1, SIZE, SIZE, 3), np.uint8), r"must be float32, scaled to \[-1, 1\]"),
    ],
)
def test_images_that_do_not_fit_are_refused(projector, images, sentence):
    with pytest.raises(InputError, match=sentence):
        projector(images)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"learning_rate": 0.0}, "learning_rate 0.0"),
        ({"stop_mse": -1.0}, "stop_mse -1.0"),
        ({"code": "gauss"}, "code is 'gauss'"),
    ],
)
def test_settings_out_of_range_are_refused(network, arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        inc.DeepImagePrior(network, **arguments)


def test_a_network_of_something_else_is_refused():
    with pytest.raises(InputError, match="must map noise"):
        inc.DeepImagePrior(keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)]))


def test_gradient_of_a_reconstruction_leads_where_the_search_follows(network, images):
    projector = inc.DeepImagePrior(network, steps=30, stop_mse=None)
    image = tf.constant(images[0])
    window = np.s_[8:16, 8:16]
    with tf.GradientTape() as tape:
        tape.watch(image)
        found = projector.reconstruct(image)
        value = tf.reduce_sum(found[window])
    np.testing.assert_array_equal(found, projector(images[:1]).images[0])
    gradient = tape.gradient(value, image).numpy()
    # What is read in the window comes from the image there.
    assert np.abs(gradient[window]).mean() > 1.5 * np.abs(gradient).mean()
    both = [np.clip(image + sign * 0.2 * np.sign(gradient), -1, 1).astype(np.float32) for sign in (1, -1)]
    up, down = projector(np.stack(both)).images.numpy()
    assert up[window].mean() > down[window].mean() + 0.05
