import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from inc_tf import checkpoints, data, training
from inc_tf.data import Dataset
from inc_tf.errors import InputError
from inc_tf.models import celeba
from inc_tf.training import began, recipes


def faces(split: str, n: int) -> Dataset:
    """Smooth random images instead of faces."""
    small = np.random.default_rng(len(split)).uniform(-1, 1, (n, 4, 4, 3))
    images = tf.image.resize(small, (64, 64)).numpy().astype(np.float32)
    return Dataset("celeb_a", split, images, np.arange(n) % 2, bounds=(-1.0, 1.0))


@pytest.fixture
def fake_celeba(monkeypatch, tmp_path):
    monkeypatch.setattr(recipes.data, "load", lambda name, split: faces(split, 40))
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_a_step_moves_k_and_both_networks_as_the_reference(tmp_path):
    keras.utils.set_random_seed(0)
    model, images = celeba.began(4, 8), faces("train", 16)
    untrained = celeba.began(4, 8)
    untrained.set_weights(model.get_weights())
    began.train(
        model,
        images,
        faces("validation", 16),
        settings={},
        steps=1,
        learning_rate=1e-3,
        proportional_gain=10.0,
        directory=tmp_path,
    )
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = {
        tag: tf.make_ndarray(events.Tensors(tag)[0].tensor_proto).item()
        for tag in ("loss/real", "loss/generated", "convergence", "k")
    }
    real = np.abs(untrained(images.images) - images.images).mean()
    assert logged["loss/real"] == pytest.approx(real, rel=1e-5)
    balance = 0.5 * logged["loss/real"] - logged["loss/generated"]
    assert logged["convergence"] == pytest.approx(real + abs(balance), rel=1e-5)
    assert 0 < logged["k"] == pytest.approx(min(1, 10 * balance), rel=1e-4)
    # Adam's first step is the learning rate, up or down, where the gradient is well above its ε of 1e-7.
    for part in ("generator", "encoder", "decoder"):
        before, after = getattr(untrained, part).get_weights(), getattr(model, part).get_weights()
        steps = np.concatenate([np.abs(b - a).ravel() for a, b in zip(before, after, strict=True)])
        assert 0.5e-3 < np.median(steps) < 1.01e-3
    # k was 0, so that the discriminator only learnt to reconstruct real images.
    assert np.abs(model(images.images) - images.images).mean() < real
    assert {"samples", "reconstructions"} <= set(events.Tags()["tensors"])


RATE, GAMMA, GAIN, STEPS, TAKEN = 1e-3, 2.0, 1.0, 6, 4
"""Of the steps that are compared with the same in JAX: the rate is halved once, and k lies within its bounds."""


def small_began() -> celeba.BEGAN:
    """Width 8, codes of 8 dimensions, weights that NumPy drew."""
    model, rng = celeba.began(8, 8), np.random.default_rng(0)
    model.set_weights(
        [rng.normal(0, np.prod(w.shape[:-1]) ** -0.5 if len(w.shape) > 1 else 0.1, w.shape) for w in model.weights]
    )
    return model


def changes(before: list[np.ndarray], after: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([(b - a).ravel() for a, b in zip(before, after, strict=True)])


def steps_of_ours() -> tuple[list[dict[str, float]], dict[str, np.ndarray]]:
    """What four of six steps log, and how far each network's weights have moved."""
    model, images = small_began(), tf.constant(faces("train", 4).images)
    networks = {"generator": model.generator, "encoder": model.encoder, "decoder": model.decoder}
    before = {name: network.get_weights() for name, network in networks.items()}
    update, _ = began.compiled_step(model, 4, STEPS, RATE, GAMMA, GAIN)
    logged = [{name: float(value) for name, value in update(images, [3, t]).items()} for t in range(TAKEN)]
    return logged, {name: changes(before[name], network.get_weights()) for name, network in networks.items()}


def steps_in_jax() -> tuple[list[dict[str, float]], dict[str, np.ndarray]]:
    """The same, by an update that shares nothing with ours but the weights, the images and the codes."""
    jax = pytest.importorskip("jax")
    jnp, elu = jax.numpy, jax.nn.elu

    def convolution(x, kernel, bias, stride=1):
        dimensions = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=dimensions) + bias

    def decode(weights, z):
        dense, *convolutions, out = zip(weights[::2], weights[1::2], strict=True)
        x = (z @ dense[0] + dense[1]).reshape(len(z), 8, 8, 8)
        for i, (kernel, bias) in enumerate(convolutions):
            doubled = x.repeat(2, axis=1).repeat(2, axis=2) if i else x
            x = elu(convolution(doubled, kernel, bias))
        return convolution(x, *out)

    def encode(weights, x):
        *convolutions, dense = zip(weights[::2], weights[1::2], strict=True)
        for (kernel, bias), stride in zip(convolutions, (1, 1, 2, 1, 2, 1, 2, 1), strict=True):
            x = elu(convolution(x, kernel, bias, stride))
        return x.reshape(len(x), -1) @ dense[0] + dense[1]

    def loss(discriminator, x):
        return jnp.abs(decode(discriminator["decoder"], encode(discriminator["encoder"], x)) - x).mean()

    @jax.jit
    def step(weights, moments, k, t, images, codes):
        discriminator = {name: weights[name] for name in ("encoder", "decoder")}

        def of_generated(generator, discriminator):
            return loss(discriminator, decode(generator, codes))

        real, of_real = jax.value_and_grad(loss)(discriminator, images)
        generated, (generator, of_fake) = jax.value_and_grad(of_generated, (0, 1))(weights["generator"], discriminator)
        lowered = jax.tree.map(lambda a, b: a - k * b, of_real, of_fake)
        gradients = {"generator": generator, **lowered}
        rate = RATE / 2 ** (3 * t // STEPS)
        rate *= jnp.sqrt(1 - 0.999 ** (t + 1)) / (1 - 0.9 ** (t + 1))
        momentum = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradients)
        variance = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], gradients)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, momentum, variance)
        balance = GAMMA * real - generated
        k = jnp.clip(k + GAIN * balance, 0, 1)
        logged = {"loss/real": real, "loss/generated": generated, "convergence": real + jnp.abs(balance), "k": k}
        return weights, (momentum, variance), k, logged

    model, images = small_began(), jnp.asarray(faces("train", 4).images)
    before = {name: getattr(model, name).get_weights() for name in ("generator", "encoder", "decoder")}
    weights, zeros = before, jax.tree.map(jnp.zeros_like, before)
    moments, k, log = (zeros, zeros), 0.0, []
    for t in range(TAKEN):
        codes = tf.random.stateless_normal((4, 8), [3, t], stddev=2.0).numpy()
        weights, moments, k, logged = step(weights, moments, k, t, images, codes)
        log.append({name: float(value) for name, value in logged.items()})
    return log, {name: changes(before[name], [np.asarray(w) for w in weights[name]]) for name in before}


LOGGED_IN_JAX = {
    "loss/real": [0.38527787, 0.35645190, 0.35028267, 0.34787822],
    "loss/generated": [0.66319710, 0.44816077, 0.41545334, 0.45352960],
    "convergence": [0.49263650, 0.62119496, 0.63539469, 0.59010506],
    "k": [0.10735863, 0.37210166, 0.65721369, 0.89944053],
}
MOVED_IN_JAX = {"generator": 0.19121832, "encoder": 0.39339617, "decoder": 0.15746295}
"""`steps_in_jax`, with JAX 0.10.2: what each step logs, and the length of what each network has moved."""


def test_steps_are_those_of_the_same_update_in_jax():
    (expected, moved), (logged, ours) = steps_in_jax(), steps_of_ours()
    for one, other in zip(logged, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    for name in moved:
        assert np.linalg.norm(ours[name] - moved[name]) < 5e-5 * np.linalg.norm(moved[name])
        assert np.linalg.norm(moved[name]) == pytest.approx(MOVED_IN_JAX[name], rel=1e-4)


@pytest.mark.slow
def test_steps_have_the_values_that_were_computed_in_jax():
    logged, moved = steps_of_ours()
    for name, values in LOGGED_IN_JAX.items():
        assert [scalars[name] for scalars in logged] == pytest.approx(values, rel=1e-4)
    assert {name: np.linalg.norm(change) for name, change in moved.items()} == pytest.approx(MOVED_IN_JAX, rel=1e-4)


def test_a_collapse_shows_in_the_diversity():
    real, model = faces("validation", 40), celeba.began(4, 8)
    for weight in model.generator.weights:
        weight.assign(tf.zeros_like(weight))
    assert began.diversity(model, real) == 0.0
    model.sample = lambda n, seed: tf.constant(0.5 * real.images)
    assert began.diversity(model, real) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.slow
def test_mixed_precision_ships_float32_and_snapshots_hold_the_generator(fake_celeba, monkeypatch, tmp_path):
    monkeypatch.setattr(began, "_SNAPSHOT_EVERY", 2)
    checkpoints.install(training.train("celeba-began", steps=2, width=4, mixed_precision=True))
    card = checkpoints.card("celeba-began")
    assert card["command"] == "inc train celeba-began --seed 0 --steps 2 --width 4 --mixed-precision"
    assert (card["width"], card["precision"], card["images_seen"]) == (4, "mixed_bfloat16", 32)
    model = checkpoints.load("celeba-began")
    assert {layer.compute_dtype for layer in model.generator.layers} == {"float32"}
    snapshot = celeba.began(4).generator
    snapshot.load_weights(tmp_path / "runs" / "celeba-began" / "snapshots" / "2.weights.h5")
    for a, b in zip(snapshot.get_weights(), model.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_another_width_is_refused_and_nothing_is_lost(fake_celeba, tmp_path):
    checkpoints.install(training.train("celeba-began", steps=1, width=4))
    with pytest.raises(InputError, match=r"holds a run with .*'width': 4.*, not .*'width': 8"):
        training.train("celeba-began", steps=1, width=8)
    with pytest.raises(InputError, match="width is 0; it must be at least 1"):
        training.train("celeba-began", width=0)
    with pytest.raises(InputError, match="width is 64, but this network has one size only"):
        training.train("celeba-gender", width=64)
    assert checkpoints.load("celeba-began").generator.layers[-2].filters == 4


@pytest.mark.slow
@pytest.mark.skipif(
    "celeba-began" not in checkpoints.names() or not data.tfds.prepared("celeb_a"), reason="CelebA is not on disk"
)
def test_what_ships_has_not_collapsed():
    model, real = checkpoints.load("celeba-began"), data.load("celeb_a", "validation")
    assert began.diversity(model, real) >= 0.5


@pytest.mark.parametrize("name", [name for name in checkpoints.names() if name.startswith("celeba-began")])
def test_what_ships_is_of_its_recipes_size_and_small_enough_to_ship(name):
    card, recipe = checkpoints.card(name), recipes.RECIPES[name]
    assert (card["width"], card["steps"]) == (recipe.width, recipe.arguments["steps"])
    generator = checkpoints.load(name).generator
    assert generator.layers[-2].filters == card["width"]
    assert (checkpoints.directory() / f"{name}.keras").stat().st_size < 40e6
