"""A user's own classifier and generator: the page of attacks, and what is no model or no data."""

import json
import re

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.evaluation import page


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two classes of 6×6 images, brighter above or below, a generator of just such, and an encoder."""
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("files")
    above = np.zeros((6, 6, 1), np.float32)
    above[:3] = 1 / 18
    basis = np.stack([above.ravel(), above[::-1].ravel()])
    generator = keras.Sequential(
        [keras.layers.Input((2,)), keras.layers.Dense(36, activation="sigmoid"), keras.layers.Reshape((6, 6, 1))]
    )
    generator.layers[0].set_weights([18 * basis, np.zeros(36, np.float32)])
    flat = [keras.layers.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(2, use_bias=False)]
    classifier, encoder = keras.Sequential(flat), keras.models.clone_model(keras.Sequential(flat))
    classifier.layers[1].set_weights([20 * basis.T])
    encoder.layers[1].set_weights([4 * basis.T])
    for name, model in (("classifier", classifier), ("generator", generator), ("encoder", encoder)):
        model.save(folder / f"{name}.keras")
    means = np.random.default_rng(0).uniform(0.3, 0.7, (12, 2)).astype(np.float32)
    images = np.repeat(means, 18, axis=1).reshape(-1, 6, 6, 1)
    np.savez(folder / "two.npz", images=images, labels=(means[:, 1] > means[:, 0]).astype(np.int64))
    return folder


def run(files, *words: str, **replaced: str):
    given = {"classifier": "classifier.keras", "generator": "generator.keras", "data": "two.npz", **replaced}
    parts = [word for option, name in given.items() for word in (f"--{option}", str(files / name))]
    return CliRunner().invoke(main, ["evaluate", *parts, "--out", str(files / "out"), "--quiet", *words])


def test_the_page_of_ones_own_models(files, monkeypatch):
    found_on = (page.ON_CLASSIFIER, page.ON_AUTOENCODER, page.ON_SEARCH, page.ON_ITSELF)
    for attacks in (*found_on, page.WITHOUT_GRADIENT):
        for attack, settings in attacks.items():
            if attack == "fgsm":
                continue
            efforts = {"queries", "steps", "probes"} & settings.keys() or {"steps"}
            monkeypatch.setitem(attacks, attack, {**settings, **dict.fromkeys(efforts, 3)})
    monkeypatch.setattr(page, "CHECK_STEPS", (1, 3))
    answer = run(files, "--encoder", str(files / "encoder.keras"), "--epsilon", "0.05", "--epsilon", "0.3")
    assert answer.exit_code == 0, answer.output
    record = json.loads((files / "out" / "evaluate-two.json").read_text())
    found = {(r["defense"], r["attack"], r["epsilon"]): r["value"] for r in record["rows"] if r["metric"] == "accuracy"}
    assert {defense for defense, *_ in found} == {"undefended", "autoencode", "inc", "inc-fast"}
    for defense in ("undefended", "autoencode", "inc", "inc-fast"):
        assert found[defense, "clean", 0.0] == 1.0
        # The classes are hardly ever more than 0.4 apart, of which 0.3 on either half is more than enough.
        assert found[defense, "worst-case", 0.3] <= 0.25 < found[defense, "worst-case", 0.05]
    checks = {check["check"]: check["passed"] for check in record["checks"]}
    assert len(checks) == 9
    assert checks["a planted hole is found"]
    assert checks["accuracy falls with ε"]
    assert record["checkpoints"].keys() == {"classifier", "generator", "encoder"}
    assert "| a planted hole is found " in answer.output
    assert re.search(r"INC withstands who knows it +\| (holds in part|does not hold)", answer.output)


@pytest.mark.parametrize(
    ("replaced", "sentence"),
    [
        ({"classifier": "nowhere.keras"}, "There is no file"),
        ({"generator": "two.npz"}, "cannot be loaded"),
        ({"generator": "classifier.keras"}, "generator"),
        ({"data": "classifier.keras"}, "holds"),
        ({"data": "wrong.npz"}, "it must hold images and labels"),
        ({"data": "bytes.npz"}, "holds images uint8 [4, 6, 6, 1]"),
        ({"data": "other.npz"}, "shape"),
    ],
)
def test_what_does_not_fit_is_one_sentence(files, replaced, sentence):
    np.savez(files / "wrong.npz", pictures=np.zeros(3))
    np.savez(files / "bytes.npz", images=np.zeros((4, 6, 6, 1), np.uint8), labels=np.zeros(4, int))
    np.savez(files / "other.npz", images=np.zeros((4, 7, 6, 1), np.float32), labels=np.zeros(4, int))
    answer = run(files, **replaced)
    assert answer.exit_code == 1
    assert answer.output.strip().splitlines()[-1].startswith("Error: ")
    assert sentence in answer.output
    assert not (files / "out" / "evaluate-other.json").exists()


def test_an_archive_comes_back_as_it_was_saved(files):
    data = inc.data.load_archive(files / "two.npz", (0.0, 1.0))
    assert (data.name, len(data), data.bounds) == ("two", 12, (0.0, 1.0))
    assert data.images.dtype == np.float32
    assert data.labels.dtype == np.int64
