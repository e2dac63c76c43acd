from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import inc_tf as inc
from inc_tf.errors import InputError
from inc_tf.projection import Status
from inc_tf.projection.solvers import SOLVERS as DECLARED
from inc_tf.projection.solvers import Step, errors_and_gradients, minimizer, solver
from inc_tf.projection.solvers.levenberg_marquardt import normal_equations
from inc_tf.projection.solvers.protocol import is_dense
from inc_tf.saving import Settings

SOLVERS = {
    "adam": inc.Adam(0.1, steps=30),
    "adam, draining": inc.Adam(0.1, steps=120, tolerance=1e-2),
    "levenberg-marquardt": inc.LevenbergMarquardt(steps=8),
    "l-bfgs": inc.LBFGS(steps=15),
    "momentum": inc.Momentum(0.3, steps=30),
}
# On the digits, what brings each near the best that it can do.
PATIENT = {
    "adam": inc.Adam(0.1, steps=800),
    "adam, draining": inc.Adam(0.1, steps=800, tolerance=1e-3),
    "levenberg-marquardt": inc.LevenbergMarquardt(),
    "l-bfgs": inc.LBFGS(),
    "momentum": inc.Momentum(3.0, steps=1000),
}
every_solver = pytest.mark.parametrize("name", SOLVERS)


def generator_of(k: int, activation: str = "tanh", convolutional: bool = False, scale: float = 1.0) -> keras.Model:
    """A small generator of 4×3 images, with Glorot weights times `scale`."""
    hidden = [keras.layers.Dense(7, activation=activation), keras.layers.Dense(12), keras.layers.Reshape((4, 3, 1))]
    if convolutional:
        hidden = [
            keras.layers.Dense(12),
            keras.layers.Reshape((2, 3, 2)),
            keras.layers.UpSampling2D((2, 1)),
            keras.layers.Conv2D(3, 3, padding="same", activation=activation),
            keras.layers.Conv2D(1, 3, padding="same"),
        ]
    generator = keras.Sequential([keras.layers.Input((k,)), *hidden])
    generator.set_weights([scale * weight for weight in generator.get_weights()])
    return generator


@pytest.fixture(scope="module")
def compiled():
    """The solvers on one generator a shape, whose weights each example of the property test sets anew."""
    made = {}

    def of(name: str, k: int, activation: str, convolutional: bool):
        key = (name, k, activation, convolutional)
        if key not in made:
            generator = generator_of(k, activation, convolutional)
            made[key] = generator, SOLVERS[name].compile(generator)
        return made[key]

    return of


def errors_of(generator, codes, images) -> np.ndarray:
    return np.square(generator(codes) - images).sum(axis=(1, 2, 3))


@pytest.mark.slow
@every_solver
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([(1, "tanh", False), (3, "relu", False), (5, "softplus", False), (3, "elu", True)]),
    batch=st.sampled_from([2, 5]),
    weights=st.sampled_from([0.0, 0.1, 1.0, 5.0]),
    far=st.sampled_from([0.0, 1.0, 10.0]),
    seed=st.integers(0, 2**31 - 1),
)
def test_any_search_ends_finite_no_worse_than_it_started_whatever_the_batch(
    compiled, name, shape, batch, weights, far, seed
):
    generator, minimize = compiled(name, *shape)
    rng = np.random.default_rng(seed)
    generator.set_weights([weights * rng.normal(size=w.shape) / 3 for w in generator.get_weights()])
    images = rng.normal(size=(batch, 4, 3, 1)).astype(np.float32)
    codes = (far * rng.normal(size=(batch, shape[0]))).astype(np.float32)
    found = minimize(images, codes)

    assert np.isfinite(found.codes).all()
    assert np.isfinite(found.errors).all()
    started = errors_of(generator, codes, images)
    assert np.all(found.errors <= started * (1 + 1e-5) + 1e-6)
    np.testing.assert_allclose(errors_of(generator, found.codes, images), found.errors, rtol=1e-3, atol=1e-4)

    turned = minimize(images[::-1].copy(), codes[::-1].copy())
    alone = minimize(images[-1:], codes[-1:])
    # Rounding may send a search another way where the path forks, but rarely far in so few steps.
    allowed = 1e-3 + 1e-2 * started
    assert np.all(np.abs(turned.errors[::-1] - found.errors) <= allowed)
    assert np.abs(alone.errors[0] - found.errors[-1]) <= allowed[-1]


@pytest.mark.slow
@every_solver
def test_a_linear_generators_answer_is_the_least_squares_one(name):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Input((3,)), keras.layers.Dense(12, use_bias=False), keras.layers.Reshape((4, 3, 1))]
    generator = keras.Sequential(layers)
    images = np.random.default_rng(0).normal(size=(5, 4, 3, 1)).astype(np.float32)
    weights = generator.layers[0].get_weights()[0]
    codes, squares, _, _ = np.linalg.lstsq(weights.T, images.reshape(5, 12).T, rcond=None)
    solver = inc.LevenbergMarquardt(tolerance=1e-7) if "marquardt" in name else PATIENT[name]
    found = inc.LatentProjector(generator, solver, inc.Zeros())(images)
    np.testing.assert_allclose(found.distances, np.sqrt(squares), rtol=1e-3)
    np.testing.assert_allclose(found.codes, codes.T, atol=0.1)


@pytest.fixture(scope="module")
def least(vae, digits) -> float:
    """The least mean of squared distances that a patient search reaches on the first 20 digits."""
    many = inc.LevenbergMarquardt(steps=60, tolerance=1e-5)
    best = inc.LatentProjector(vae.generator, many, inc.Normal(restarts=8))(digits.images[:20])
    return np.mean(np.square(best.distances))


@pytest.mark.slow
@every_solver
def test_every_solver_comes_near_the_best_on_digits(name, least, vae, digits):
    found = inc.LatentProjector(vae.generator, PATIENT[name], inc.Normal(restarts=3))(digits.images[:20])
    near = 1.4 if name == "momentum" else 1.25  # which takes the same step along every direction
    assert np.mean(np.square(found.distances)) <= near * least


@pytest.mark.slow
@every_solver
def test_a_dead_generator_keeps_the_first_code(name):
    generator = generator_of(3, "relu")
    generator.layers[0].set_weights([np.zeros((3, 7), np.float32), np.full(7, -1, np.float32)])
    codes = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    images = np.ones((2, 4, 3, 1), np.float32)
    found = SOLVERS[name].compile(generator)(images, codes)
    np.testing.assert_allclose(found.codes, codes)
    np.testing.assert_allclose(found.errors, errors_of(generator, codes, images), rtol=1e-6)


@pytest.mark.slow
@every_solver
def test_a_generator_that_overflows_never_gives_nan(name):
    generator = generator_of(2, "exponential", scale=50.0)
    codes = np.array([[0.0, 0.0], [0.5, -0.5]], np.float32)
    images = np.zeros((2, 4, 3, 1), np.float32)
    found = SOLVERS[name].compile(generator)(images, codes)
    assert np.isfinite(found.codes).all()
    assert np.all(found.errors <= errors_of(generator, codes, images) * (1 + 1e-5))


@pytest.mark.slow
@every_solver
def test_rows_without_a_finite_error_keep_their_first_code_and_say_so(name):
    generator = generator_of(2, "exponential", scale=50.0)
    codes = np.array([[0.0, 0.0], [90.0, 90.0], [-90.0, -90.0]], np.float32)
    images = np.zeros((3, 4, 3, 1), np.float32)
    finite = np.isfinite(errors_of(generator, codes, images))
    assert 0 < finite.sum() < 3
    found = SOLVERS[name].compile(generator)(images, codes)
    np.testing.assert_array_equal(found.status[~finite], Status.NOT_FINITE)
    np.testing.assert_array_equal(found.codes[~finite], codes[~finite])
    np.testing.assert_array_equal(found.errors[~finite], np.inf)
    np.testing.assert_array_equal(found.steps[~finite], 0)
    assert np.isfinite(found.errors[finite]).all()


@pytest.mark.slow
@pytest.mark.exact
@every_solver
def test_a_few_images_are_projected_as_among_many(name, vae, digits):
    projector = inc.LatentProjector(vae.generator, PATIENT[name], inc.Zeros())
    many = projector(digits.images[:12])
    for few in (1, 3, 8):
        alone = projector(digits.images[:few])
        np.testing.assert_allclose(alone.distances, many.distances[:few], rtol=1e-2)
        np.testing.assert_allclose(alone.images, many.images[:few], atol=0.1)


@solver("gradient-descent")
@dataclass(frozen=True)
class GradientDescent(Settings):
    """The solver of `protocol`'s documentation."""

    learning_rate: float = 0.01
    steps: int = 1000

    def compile(self, generator):
        def start(images, codes):
            errors, gradient = errors_and_gradients(generator, codes, images)
            return (codes, gradient), errors

        def step(images, state, t):
            codes, gradient = state
            codes = codes - self.learning_rate * gradient
            errors, gradient = errors_and_gradients(generator, codes, images)
            return Step((codes, gradient), codes, errors, tf.norm(gradient, axis=1) < 1e-3)

        return minimizer(generator, start, step, self.steps)

    def width(self, latent_dim):
        return 1


def linear(weights: np.ndarray) -> keras.Model:
    """G(z) = zW as 4×3 images."""
    layers = [keras.layers.Dense(12, use_bias=False), keras.layers.Reshape((4, 3, 1))]
    generator = keras.Sequential([keras.layers.Input((len(weights),)), *layers])
    generator.layers[0].set_weights([weights.astype(np.float32)])
    return generator


def test_a_solver_written_elsewhere_is_registered_drained_and_saved(rng):
    generator = linear(np.eye(3, 12))
    images = rng.normal(size=(6, 4, 3, 1)).astype(np.float32)
    images[:3].reshape(3, 12)[:, :3] = 0  # these are at their minimum at once
    assert DECLARED["gradient-descent"] is GradientDescent
    mine = GradientDescent(learning_rate=0.1)
    found = inc.LatentProjector(generator, mine, inc.Zeros())(images)
    np.testing.assert_allclose(found.codes, images.reshape(6, 12)[:, :3], atol=1e-3)
    assert np.all(found.converged)
    np.testing.assert_array_equal(found.steps[:3], 1)
    assert np.all(found.steps[3:] > 10)
    config = keras.saving.serialize_keras_object(mine)
    assert config["registered_name"] == "inc_tf>GradientDescent"
    assert keras.saving.deserialize_keras_object(config) == mine


def test_the_best_code_is_kept_where_a_search_diverges(rng):
    # Each step overshoots the minimum, to twice the distance on the other side, and at last beyond what float32 holds.
    generator = linear(np.eye(3, 12))
    images = np.zeros((10, 4, 3, 1), np.float32)
    codes = rng.normal(size=(10, 3)).astype(np.float32)
    few, many = (GradientDescent(learning_rate=1.5, steps=n).compile(generator)(images, codes) for n in (5, 500))
    for found, status, steps in ((few, Status.OUT_OF_STEPS, range(5, 6)), (many, Status.NOT_FINITE, range(30, 100))):
        np.testing.assert_array_equal(found.codes, codes)
        np.testing.assert_allclose(found.errors, np.square(codes).sum(axis=1), rtol=1e-5)
        np.testing.assert_array_equal(found.status, status)
        assert set(found.steps.numpy()) <= set(steps)


def test_the_solvers_have_names():
    kinds = {"adam": inc.Adam, "lbfgs": inc.LBFGS, "levenberg-marquardt": inc.LevenbergMarquardt}
    assert {name: DECLARED[name] for name in kinds} == kinds
    with pytest.raises(InputError, match=r"There is no solver 'lgfgs'.*Did you mean 'lbfgs'\?"):
        DECLARED["lgfgs"]


@pytest.mark.parametrize(("convolutional", "dense"), [(False, True), (True, False)])
def test_a_convolution_is_known_by_its_kernel(convolutional, dense):
    inner = generator_of(3, convolutional=convolutional)
    assert is_dense(inner) == dense
    assert is_dense(keras.Sequential([keras.layers.Input((3,)), inner])) == dense


@pytest.mark.slow
@every_solver
def test_the_projection_reports_steps_and_convergence(name, vae, digits):
    found = inc.LatentProjector(vae.generator, SOLVERS[name], inc.Normal(restarts=2))(digits.images[:7])
    assert (found.steps.dtype, found.status.dtype) == (tf.int32, tf.int32)
    assert found.steps.shape == found.status.shape == (7,)
    np.testing.assert_array_equal(found.converged, found.status == Status.CONVERGED)
    limit = SOLVERS[name].steps
    assert np.all((found.steps >= 1) & (found.steps <= limit))
    assert np.all(found.converged | (found.status == Status.OUT_OF_STEPS) & (found.steps == limit))


@pytest.mark.parametrize("solver", [inc.Adam, inc.LevenbergMarquardt, inc.LBFGS])
@pytest.mark.parametrize("steps", [0, -1, 1.5])
def test_rejects_fewer_steps_than_one(solver, steps):
    with pytest.raises(InputError, match=rf"steps is {steps}; it must be a whole number, at least 1"):
        solver(steps=steps)


@pytest.mark.slow
@every_solver
def test_a_projector_survives_saving(name, vae, digits, classifier, tmp_path):
    projector = inc.LatentProjector(vae.generator, SOLVERS[name], inc.Zeros())
    defense = inc.InvertAndClassify(classifier, projector)
    before = defense(digits.images[:3])
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    assert loaded.projector.solver == SOLVERS[name]
    np.testing.assert_allclose(loaded(digits.images[:3]).distances, before.distances, rtol=1e-6)


def test_adams_default_takes_all_steps_on_every_image(vae, digits):
    found = inc.LatentProjector(vae.generator, inc.Adam(steps=12))(digits.images[:5])
    np.testing.assert_array_equal(found.steps, 12)
    assert np.all(found.status == Status.OUT_OF_STEPS)


def test_draining_adam_takes_the_same_steps(vae, digits):
    images = digits.images[:6]
    whole = inc.LatentProjector(vae.generator, inc.Adam(steps=110))(images)
    drained = inc.LatentProjector(vae.generator, inc.Adam(steps=110, tolerance=1e-9))(images)
    np.testing.assert_array_equal(drained.steps, 110)
    np.testing.assert_allclose(drained.distances, whole.distances, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [inc.Adam(steps=2000, tolerance=1e-2), inc.LevenbergMarquardt(200), inc.LBFGS(500, 1e-2)]
)
def test_images_that_are_done_stop_while_others_go_on(solver, vae, digits):
    # Codes of the range's own images need no search; the others do.
    easy = vae.generator(np.zeros((6, 20), np.float32)).numpy()
    found = inc.LatentProjector(vae.generator, solver, inc.Zeros())(np.concatenate([easy, digits.images[:6]]))
    assert np.all(found.converged)
    assert np.max(found.steps[:6]) < np.min(found.steps[6:])


@pytest.mark.parametrize("convolutional", [False, True])
def test_the_normal_equations_are_those_of_the_jacobian(convolutional):
    keras.utils.set_random_seed(1)
    generator = generator_of(4, "softplus", convolutional)
    rng = np.random.default_rng(1)
    codes = tf.constant(rng.normal(size=(5, 4)), tf.float32)
    images = tf.constant(rng.normal(size=(5, 4, 3, 1)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(codes)
        output = generator(codes)
    jacobian = tf.reshape(tape.batch_jacobian(output, codes), [5, 12, 4]).numpy()
    residual = tf.reshape(output - images, [5, 12]).numpy()
    normal, gradient = normal_equations(generator, codes, images)
    np.testing.assert_allclose(normal, np.einsum("npk,npl->nkl", jacobian, jacobian), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient, np.einsum("npk,np->nk", jacobian, residual), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_levenberg_marquardt_needs_a_twentieth_of_adams_steps(vae, digits):
    images = digits.images[:20]
    adam = inc.LatentProjector(vae.generator, inc.Adam(steps=400), inc.Zeros())(images)
    newton = inc.LatentProjector(vae.generator, inc.LevenbergMarquardt(20), inc.Zeros())(images)
    assert np.mean(np.square(newton.distances)) <= 1.02 * np.mean(np.square(adam.distances))


def test_a_second_derivative_that_is_missing_is_named():
    def enlarged(features):
        return tf.image.resize(features, (4, 3), method="nearest")

    layers = [keras.layers.Dense(6), keras.layers.Reshape((2, 3, 1)), keras.layers.Lambda(enlarged, (4, 3, 1))]
    generator = keras.Sequential([keras.layers.Input((2,)), *layers])
    with pytest.raises(InputError, match="cannot be differentiated"):
        inc.LatentProjector(generator, inc.LevenbergMarquardt())
    inc.LatentProjector(generator, inc.LBFGS(3))(np.zeros((1, 4, 3, 1), np.float32))


def test_a_generator_without_a_gradient_is_refused():
    layers = [keras.layers.Dense(12), keras.layers.Lambda(tf.stop_gradient), keras.layers.Reshape((4, 3, 1))]
    generator = keras.Sequential([keras.layers.Input((2,)), *layers])
    with pytest.raises(InputError, match="no gradient with respect to its code"):
        inc.LatentProjector(generator)


def test_a_code_of_zero_size_is_refused():
    code = keras.Input((0,))
    image = keras.layers.Reshape((1, 1, 1))(keras.layers.Lambda(lambda z: tf.ones([tf.shape(z)[0], 1]), (1,))(code))
    with pytest.raises(InputError, match="0 dimensions; they must have at least 1"):
        inc.LatentProjector(keras.Model(code, image))


def test_momentum_is_keras_sgd_until_its_rate_falls():
    """By the steps of Keras's optimizer on the mean squared error a value; after 0.8 L the rate is a tenth."""
    keras.utils.set_random_seed(0)
    generator, images = generator_of(3), np.random.default_rng(0).normal(size=(2, 4, 3, 1)).astype(np.float32)
    search = inc.Momentum(0.5, steps=10)
    optimizer, z = keras.optimizers.SGD(0.5, momentum=0.7), keras.Variable(np.ones((2, 3), np.float32))
    codes, velocity = tf.ones((2, 3)), tf.zeros((2, 3))
    for t in range(8):
        with tf.GradientTape() as tape:
            errors = tf.reduce_mean(tf.math.squared_difference(generator(z.value), images), axis=[1, 2, 3])
        optimizer.apply([tape.gradient(errors, z.value)], [z])
        _, codes, velocity = search.descend(generator, tf.constant(images), codes, velocity, tf.constant(t))
        np.testing.assert_allclose(codes, z, rtol=1e-5, atol=1e-6)
    assert [float(search.rate(tf.constant(t))) for t in (0, 7, 8, 9)] == pytest.approx([0.5, 0.5, 0.05, 0.05])
