"""Image files through a defence, and one attack by its name: what `inc defend` and `inc attack` do."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.evaluation import single
from inc_tf.serving import image_files
from inc_tf.serving.export import named

DIGITS = ["--model", "digits", "--threshold", "6"]


@pytest.fixture(scope="module")
def digits() -> inc.data.Dataset:
    return inc.data.load("digits", "test").take(6)


@pytest.fixture(scope="module")
def defense() -> inc.InvertAndClassify:
    return named("digits", solver="lm", threshold=6.0)


@pytest.fixture
def paths(digits, tmp_path):
    found = [tmp_path / f"{i}.png" for i in range(len(digits))]
    for path, image in zip(found, digits.images, strict=True):
        image_files.write(path, image, digits.bounds)
    return found


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_an_image_comes_back_as_it_was_written(bounds, tmp_path):
    image = np.linspace(*bounds, 2 * 4 * 4 * 3, dtype=np.float32).reshape(4, 8, 3)
    image_files.write(tmp_path / "folder" / "a.png", image, bounds)
    (read,) = image_files.read([tmp_path / "folder" / "a.png"], (4, 8, 3), bounds)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, image, atol=(bounds[1] - bounds[0]) / 255)


def test_another_size_and_colour_become_the_models(tmp_path):
    red = np.zeros((20, 30, 3), np.float32)
    red[..., 0] = 1.0
    image_files.write(tmp_path / "red.png", red, (0.0, 1.0))
    (grey,) = image_files.read([tmp_path / "red.png"], (28, 28, 1), (0.0, 1.0))
    np.testing.assert_allclose(grey, np.full((28, 28, 1), 0.2989), atol=3e-3)  # BT.601's weight of red


def test_defend_answers_as_the_defense_does(defense, digits, paths, tmp_path):
    out = tmp_path / "out"
    found = image_files.defend(defense, paths, seed=3, out=out)
    answer = defense(image_files.read(paths, (28, 28, 1), (0.0, 1.0)), seed=3)
    assert [one["label"] for one in found] == answer.predictions.numpy().tolist()
    np.testing.assert_allclose([one["distance"] for one in found], answer.distances, rtol=1e-6)
    assert [one["accepted"] for one in found] == (~answer.rejected.numpy()).tolist()
    written = image_files.read([out / f"{path.stem}-projection.png" for path in paths], (28, 28, 1), (0.0, 1.0))
    np.testing.assert_allclose(written, answer.projections, atol=3e-3)


def test_the_command_line_says_so_with_its_exit_code(paths):
    answer = CliRunner().invoke(main, ["defend", *map(str, paths), *DIGITS, "--json"])
    assert answer.exit_code == 0
    assert [row["file"] for row in json.loads(answer.output)] == [str(path) for path in paths]
    strict = CliRunner().invoke(main, ["defend", str(paths[0]), "--model", "digits", "--threshold", "0.01"])
    assert strict.exit_code == 3
    assert "False" in strict.output


def test_what_is_no_image_is_refused(defense, paths, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("no image")
    with pytest.raises(InputError, match=r"text.png' is no image that can be read"):
        image_files.defend(defense, [*paths, text])
    with pytest.raises(InputError, match=r"There is no file 'nowhere.png'"):
        image_files.defend(defense, [Path("nowhere.png")])


def test_an_attack_by_name_counts_what_is_left(defense, digits):
    found = single.attack("pgd", defense, digits, epsilon=0.3)
    attacked = inc.attacks.pgd(
        defense.classifier, digits.images, digits.labels, bounds=digits.bounds, epsilon=0.3, seed=0
    )
    right = np.argmax(defense.classifier.predict(attacked, verbose=0), axis=1) == digits.labels
    assert found["undefended"]["attacked"]["value"] == np.mean(right)
    answer = tf.equal(defense(attacked).predictions, digits.labels)
    assert found["defended"]["attacked"]["value"] == pytest.approx(np.mean(answer))
    assert found["n"] == 6


@pytest.mark.parametrize("name", ["latent", "bpda"])
def test_an_attack_on_the_defense_leaves_no_more_than_there_was(name, defense, digits):
    found = single.attack(name, defense, digits.take(2), epsilon=0.1)
    assert found["defended"]["attacked"]["value"] <= found["defended"]["clean"]["value"]


def test_what_is_no_attack_is_refused(defense, digits):
    with pytest.raises(InputError, match=r"There is no attack 'psd'; there are fgsm, bim"):
        single.attack("psd", defense, digits)
    with pytest.raises(InputError, match=r"epsilon is 0.3, but cw_l2 has none"):
        single.attack("cw_l2", defense, digits, epsilon=0.3)
