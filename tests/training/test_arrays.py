import json
from collections.abc import Callable

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from inc_tf import checkpoints
from inc_tf.data import Dataset
from inc_tf.errors import InputError
from inc_tf.models import celeba
from inc_tf.training import arrays

LAST = {"t": 500, "real": 0.08, "gen": 0.04, "M": 0.0815, "k": 0.045, "s": 1.25}


def images_of(name: str, split: str) -> Dataset:
    images = np.random.default_rng(len(split)).uniform(-1, 1, (20, 64, 64, 3)).astype(np.float32)
    return Dataset(name, split, images, np.arange(20) % 2, bounds=(-1.0, 1.0))


def named(network: keras.Model, last: str | None) -> dict[str, np.ndarray]:
    """The network's arrays by the names that the files give them, written out by hand."""
    convolutions = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    names = [f"conv{i}" for i in range(len(convolutions))]
    if last:
        names[-1] = last
    (dense,) = (layer for layer in network.layers if isinstance(layer, keras.layers.Dense))
    return {
        f"{name}/{part}": getattr(layer, part).numpy()
        for name, layer in {"dense": dense, **dict(zip(names, convolutions, strict=True))}.items()
        for part in ("kernel", "bias")
    }


@pytest.fixture
def model() -> celeba.BEGAN:
    keras.utils.set_random_seed(0)
    made = celeba.began(4, 8)
    made.set_weights([np.float16(weight + 0.01) for weight in made.get_weights()])
    return made


@pytest.fixture
def folder(tmp_path, model):
    """What training elsewhere leaves, of width 4: the generator in float32, the discriminator in float16."""
    np.savez(tmp_path / "generator.npz", **named(model.generator, "out"))
    np.savez(tmp_path / "decoder.npz", **{k: np.float16(v) for k, v in named(model.decoder, "out").items()})
    encoder = {k: np.float16(v) for k, v in named(model.encoder, None).items()}
    np.savez(tmp_path / "encoder_dense.npz", **{"dense/kernel": encoder.pop("dense/kernel")})
    np.savez(tmp_path / "encoder_convolutions.npz", **encoder)
    lines = [json.dumps({**LAST, "t": 250, "real": 0.2}), json.dumps(LAST)]
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def changed(path, change: Callable[[dict], None]) -> None:
    with np.load(path) as file:
        held = dict(file)
    change(held)
    np.savez(path, **held)


def test_arrays_become_the_model(folder, model):
    for found, expected in zip(arrays.began(folder).get_weights(), model.get_weights(), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_they_are_saved_with_a_card_that_says_where_they_come_from(folder, model, monkeypatch, tmp_path):
    monkeypatch.setattr(arrays.data, "load", images_of)
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    answer = CliRunner().invoke(arrays.main, [str(folder)], catch_exceptions=False)
    assert answer.output.endswith("celeba-began.keras\n")
    card = checkpoints.card("celeba-began")
    assert card["command"] == "inc train celeba-began --seed 0 --steps 500 --width 4 --mixed-precision"
    assert (card["steps"], card["images_seen"], card["seconds"], card["last"]["convergence"]) == (
        500,
        8000,
        2.5,
        0.0815,
    )
    assert "JAX" in card["origin"]
    images = images_of("celeb_a", "test").images
    expected = np.square(model(images) - images).mean()
    assert card["metrics"]["test_reconstruction_mse"]["value"] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(checkpoints.load("celeba-began")(images), model(images), atol=1e-6)


def test_a_generator_alone_has_the_width_of_its_arrays(folder, model):
    found = arrays.generator(folder / "generator.npz")
    np.testing.assert_array_equal(found(np.ones((2, 8))), model.generator(np.ones((2, 8))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("generator", lambda held: held.pop("dense/kernel"), r"generator.npz' lacks the array 'dense/kernel'"),
        ("generator", lambda held: held.pop("conv3/bias"), r"generator.npz' lacks the array 'conv3/bias', of \(4,\)\."),
        (
            "encoder_convolutions",
            lambda held: held.pop("conv7/kernel"),
            r"lacks the array 'conv7/kernel', of \(3, 3, 16,",
        ),
        ("encoder_dense", lambda held: held.pop("dense/kernel"), r"encoder_dense.npz' lacks the array 'dense/kernel'"),
        (
            "decoder",
            lambda held: held.update(named(celeba.began(8, 8).decoder, "out")),
            r"decoder.npz' has dense/kernel of \(8, 512\), where the decoder of this generator's width has \(8, 256\)",
        ),
        (
            "generator",
            lambda held: held.update(named(celeba.began(4, 8, convolutions=2).generator, "out")),
            r"generator.npz' also holds conv4/bias, .*: it is of another architecture\.",
        ),
        ("generator", lambda held: held.update({"dense/kernel": np.zeros((8, 100))}), r"of width n has \(k, 64·n\)\."),
        ("decoder", lambda held: held["out/bias"].fill(np.nan), r"values in out/bias that are not finite"),
    ],
)
def test_arrays_of_another_network_are_refused_in_one_sentence(folder, name, change, message):
    changed(folder / f"{name}.npz", change)
    with pytest.raises(InputError, match=message):
        arrays.began(folder)


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut off", b"a text"])
def test_what_is_not_an_npz_file_is_refused(folder, content):
    path = folder / "decoder.npz"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=r"There is no file .*decoder.npz'|decoder.npz' is not an \.npz file"):
        arrays.began(folder)


def test_pickles_are_not_loaded(folder):
    np.savez(folder / "decoder.npz", **{"dense/kernel": np.array([print], dtype=object)})
    with pytest.raises(InputError, match=r"decoder.npz' is not an \.npz file of plain arrays"):
        arrays.began(folder)


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "", "not JSON", "{}", "3"])
def test_a_log_that_says_nothing_is_refused(folder, content):
    path = folder / "log.jsonl"
    path.unlink() if content is None else path.write_text(content)
    answer = CliRunner().invoke(arrays.main, [str(folder)])
    assert answer.exit_code == 1
    assert "log.jsonl' is not a log of training" in answer.output
