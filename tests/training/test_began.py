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
    """Smooth random images in the place of faces."""
    small = np.random.default_rng(len(split)).uniform(-1, 1, (n, 4, 4, 3))
    images = tf.image.resize(small, (64, 64)).numpy().astype(np.float32)
    return Dataset("celeb_a", split, images, np.arange(n) % 2, bounds=(-1.0, 1.0))


@pytest.fixture
def fake_celeba(monkeypatch, tmp_path):
    monkeypatch.setattr(recipes.data, "load", lambda name, split: faces(split, 40))
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.chdir(tmp_path)


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


def test_a_collapse_shows_in_the_diversity():
    real, model = faces("validation", 40), celeba.began(4, 8)
    for weight in model.generator.weights:
        weight.assign(tf.zeros_like(weight))
    assert began.diversity(model, real) == 0.0
    model.sample = lambda n, seed: tf.constant(0.5 * real.images)
    assert began.diversity(model, real) == pytest.approx(0.5, rel=1e-5)


def test_mixed_precision_ships_float32_and_snapshots_hold_the_generator(fake_celeba, monkeypatch, tmp_path):
    monkeypatch.setattr(began, "_SNAPSHOT_EVERY", 2)
    training.train("celeba-began", steps=2, width=4, mixed_precision=True)
    card = checkpoints.card("celeba-began")
    assert card["command"] == "inc train celeba-began --seed 0 --steps 2 --width 4 --mixed-precision"
    assert (card["width"], card["precision"], card["images_seen"]) == (4, "mixed_bfloat16", 32)
    model = checkpoints.load("celeba-began")
    assert {layer.compute_dtype for layer in model.generator.layers} == {"float32"}
    snapshot = celeba.began(4).generator
    snapshot.load_weights(tmp_path / "runs" / "celeba-began" / "snapshots" / "2.weights.h5")
    for a, b in zip(snapshot.get_weights(), model.generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_width_is_refused_and_nothing_is_lost(fake_celeba, tmp_path):
    training.train("celeba-began", steps=1, width=4)
    with pytest.raises(InputError, match=r"holds a run with .*'width': 4.*, not .*'width': 8"):
        training.train("celeba-began", steps=1, width=8)
    with pytest.raises(InputError, match="width is 0; it must be at least 1"):
        training.train("celeba-began", width=0)
    with pytest.raises(InputError, match="width is 64, but this network has one size only"):
        training.train("celeba-gender", width=64)
    assert checkpoints.load("celeba-began").generator.layers[-2].filters == 4


@pytest.mark.skipif(
    "celeba-began" not in checkpoints.names() or not data.tfds.prepared("celeb_a"), reason="CelebA is not on disk"
)
def test_what_ships_has_not_collapsed():
    model, real = checkpoints.load("celeba-began"), data.load("celeb_a", "validation")
    assert began.diversity(model, real) >= 0.5
