"""η belongs to the checkpoint: `inc calibrate` puts it into a card, and whatever loads the defence reads it there."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import inc_tf as inc
from inc_tf import checkpoints, data, zoo
from inc_tf.cli.main import main
from inc_tf.data.image_files import write
from inc_tf.errors import InputError
from inc_tf.saving import configuration


@pytest.fixture(autouse=True)
def cards(tmp_path, monkeypatch):
    """A folder of checkpoints of this test's own, none of them calibrated."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for path in checkpoints.directory().iterdir():
        if path.stem in ("digits-classifier", "digits-vae", "mnist-classifier", "mnist-vae"):
            shutil.copy(path, folder)
    monkeypatch.setenv("INC_CHECKPOINTS", str(folder))
    for name in ("digits-vae", "mnist-vae"):
        checkpoints.update_card(name, thresholds={})
    return folder


def run(*words: str):
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("rate", ["1", "1.5", "-0.1", "nan"])
def test_a_rate_that_is_not_a_share_sets_nothing(rate):
    done = run("calibrate", "digits-autoencode", "--rate", rate, "--n", "2")
    assert done.exit_code in (1, 2)
    assert rate in done.stderr
    assert checkpoints.card("digits-vae")["thresholds"] == {}


@pytest.mark.slow
def test_calibrated_threshold_rejects_one_clean_image_in_twenty():
    weights = checkpoints.card("digits-vae")["sha256"]
    value = zoo.calibrate("digits")
    defense = inc.load("digits-inc-fast")
    assert defense.threshold == value
    clean = data.load("digits", "validation").images
    assert len(clean) == 200
    assert np.sum(defense(clean).rejected) == 10
    card = checkpoints.card("digits-vae")
    assert card["sha256"] == weights
    assert card["thresholds"] == {
        "inc-fast": {
            **{"value": value, "false_rejection_rate": 0.05, "split": "validation", "n": 200, "seed": 0},
            "projector": json.loads(json.dumps(configuration(defense.projector))),
        }
    }


@pytest.mark.slow
def test_each_defence_has_a_threshold_of_its_own():
    first = zoo.calibrate("digits-autoencode", n=40)
    second = zoo.calibrate("digits-inc-100", n=40, rate=0.5)
    assert inc.load("digits-autoencode").threshold == first
    assert inc.load("digits-inc-100").threshold == second < first
    assert inc.load("digits-inc-fast").threshold is None
    assert inc.load("digits-autoencode", threshold=7.0).threshold == 7.0
    assert zoo.calibrate("digits-autoencode", n=40, rate=0.5) < first
    assert inc.load("digits-inc-100").threshold == second


@pytest.mark.slow
def test_inc_defend_needs_no_data_set(mnist, cards, tmp_path, monkeypatch):
    done = run("calibrate", "mnist", "--n", "20")
    assert done.exit_code == 0, done.output
    value = checkpoints.card("mnist-vae")["thresholds"]["inc-fast"]["value"]
    assert done.stdout == f"{value:g}\n"
    (tmp_path / "no data").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no data"))
    write(tmp_path / "digit.png", mnist.images[0], mnist.bounds)
    write(tmp_path / "noise.png", np.random.default_rng(0).uniform(size=(28, 28, 1)), mnist.bounds)
    words = ["defend", str(tmp_path / "digit.png"), "--defense", "mnist", "--json"]
    done = run(*words)
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    assert (row["label"], row["class_name"], row["accepted"], row["threshold"]) == (9, "9", True, value)
    assert 0 < row["distance"] < value
    assert 0.5 < row["probability"] <= 1
    done = run(*words, "--threshold", "0.001")
    assert done.exit_code == 3
    assert json.loads(done.stdout) == [{**row, "accepted": False, "threshold": 0.001}]
    done = run("defend", str(tmp_path / "noise.png"), "--defense", "mnist", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)[0]["distance"] > value
    assert list((tmp_path / "no data").iterdir()) == []


def test_rejects_what_cannot_be_calibrated(monkeypatch, tmp_path):
    for name, sentence in {
        "digits-undefended": "projects onto no checkpoint, so no card can keep its threshold",
        "imagenet2012": "projects onto no checkpoint",
        "digtis": "There is no defence 'digtis'",
    }.items():
        with pytest.raises(InputError, match=sentence):
            zoo.calibrate(name)
    for rate in (1.0, -0.1, float("nan")):
        with pytest.raises(InputError, match=rf"The false-rejection rate is {rate}; it must be"):
            zoo.calibrate("no such defence", rate=rate)  # before anything is loaded or searched
    assert checkpoints.card("digits-vae")["thresholds"] == {}
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="has no data set 'mnist'"):
        zoo.calibrate("mnist")
