import numpy as np
import pytest

from inc_tf import checkpoints, training
from inc_tf.errors import InputError
from inc_tf.training import classifier


@pytest.mark.slow
def test_a_recipe_writes_a_checkpoint_with_its_card(tmp_path, monkeypatch):
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    written = training.train("digits-vae", seed=1, steps=3, run_dir=tmp_path / "run")
    assert checkpoints.names() == []
    checkpoints.install(written)
    assert [path.stem for path in checkpoints.directory().glob("*.keras")] == ["digits-vae-seed-1"]
    card = checkpoints.card("digits-vae-seed-1")
    assert card["command"] == "inc train digits-vae --seed 1 --steps 3"
    assert (card["steps"], card["images_seen"], card["train_images"]) == (3, 300, 1197)
    assert card["metrics"]["test_reconstruction_mse"]["n"] == 400
    assert 0.02 < card["metrics"]["test_reconstruction_mse"]["value"] < 0.3
    assert checkpoints.load("digits-vae-seed-1").generator(np.zeros((2, 20))).shape == (2, 28, 28, 1)


def test_what_cannot_be_trained_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no recipe 'mnist'; there are mnist-classifier.* Did you mean 'mnist-"):
        training.train("mnist")
    with pytest.raises(InputError, match="steps is 0; it must be at least 1"):
        training.train("digits-vae", steps=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("mnist-classifier", 0.99)])
def test_the_shipped_classifier_is_as_good_as_its_card_says(mnist, name, least):
    measured = classifier.accuracy(checkpoints.load(name), mnist)
    assert measured.value >= least
    assert measured.value == pytest.approx(checkpoints.card(name)["metrics"]["test_accuracy"]["value"], abs=2e-4)
