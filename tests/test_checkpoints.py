import json
from pathlib import Path

import keras
import numpy as np
import pytest

from inc_tf import checkpoints
from inc_tf.errors import InputError
from inc_tf.models import mnist
from inc_tf.training import recipes

CARD = Path(__file__).parent.parent / "checkpoints" / "digits-classifier.json"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path))
    return tmp_path


def small_model(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])


def test_a_checkpoint_comes_back_with_its_card(folder):
    model = small_model()
    checkpoints.save(model, "small", {"dataset": "none"})
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(checkpoints.load("small")(x), model(x))
    card = checkpoints.card("small")
    assert card["name"] == "small"
    assert card["dataset"] == "none"
    assert card["sha256"] == checkpoints.sha256(folder / "small.keras")
    assert sorted(path.name for path in folder.iterdir()) == ["small.json", "small.keras"]


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:]])
def test_a_truncated_or_altered_file_is_refused(folder, damage):
    path = checkpoints.save(small_model(), "small", {})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"small\.keras' is truncated or altered: its SHA-256 is"):
        checkpoints.load("small")


def test_a_card_without_its_file_is_refused(folder):
    checkpoints.save(small_model(), "small", {}).unlink()
    with pytest.raises(InputError, match="has a card but no file"):
        checkpoints.load("small")


@pytest.mark.parametrize("name", ["smal", "../small", ""])
def test_an_unknown_name_is_refused_with_those_that_there_are(folder, name):
    checkpoints.save(small_model(), "small", {})
    with pytest.raises(InputError, match=r"There is no checkpoint .* there are: small"):
        checkpoints.load(name)


def test_a_save_that_fails_leaves_the_earlier_checkpoint(folder):
    checkpoints.save(small_model(seed=0), "small", {})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError):
        checkpoints.save(small_model(seed=1), "small", {"not JSON": object()})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_code_in_a_file_is_not_run(folder):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    checkpoints.save(model, "lambda", {})
    with pytest.raises(Exception, match=r"[Ll]ambda"):
        checkpoints.load("lambda")


@pytest.mark.parametrize("name", checkpoints.names())
def test_what_ships_is_intact_and_its_card_complete(name):
    card = checkpoints.card(name)
    trained = name.partition("-seed-")[0]
    assert f"{card['command']} ".startswith(f"inc train {trained} --seed {card['seed']} ")
    assert name == (f"{trained}-seed-{card['seed']}" if card["seed"] else trained)
    assert {"architecture", "dataset", "seed", "steps", "images_seen", "seconds", "metrics", "versions"} <= set(card)
    for metric in card["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert json.dumps(card)


@pytest.mark.parametrize("name", checkpoints.names())
def test_what_ships_measures_what_its_card_says(name):
    found = recipes.remeasure(name)  # which also compares the hash, and raises where either differs
    if found is None:
        pytest.skip(f"the data set of {name} is not on disk")
    assert found.n == 200


def test_a_checkpoint_that_measures_something_else_is_refused(folder):
    checkpoints.save(mnist.classifier(), "digits-classifier", {"metrics": json.loads(CARD.read_text())["metrics"]})
    with pytest.raises(InputError, match=r"where its card says 0.99"):
        recipes.remeasure("digits-classifier")
