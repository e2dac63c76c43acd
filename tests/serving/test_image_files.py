"""Image files through a defence: what `inc defend` does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.data.image_files import read, write
from inc_tf.errors import InputError
from inc_tf.serving import image_files

DIGITS = ["--defense", "digits", "--threshold", "6"]


@pytest.fixture(scope="module")
def digits() -> inc.data.Dataset:
    return inc.data.load("digits", "test").take(6)


@pytest.fixture(scope="module")
def defense() -> inc.InvertAndClassify:
    return inc.load("digits", threshold=6.0)


@pytest.fixture
def paths(digits, tmp_path):
    found = [tmp_path / f"{i}.png" for i in range(len(digits))]
    for path, image in zip(found, digits.images, strict=True):
        write(path, image, digits.bounds)
    return found


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0)])
def test_image_comes_back_as_it_was_written(bounds, tmp_path):
    image = np.linspace(*bounds, 2 * 4 * 4 * 3, dtype=np.float32).reshape(4, 8, 3)
    write(tmp_path / "folder" / "a.png", image, bounds)
    found = read(tmp_path / "folder" / "a.png", (4, 8, 3), bounds)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, image, atol=(bounds[1] - bounds[0]) / 255)


def test_size_and_colour_become_the_models(tmp_path):
    red = np.zeros((20, 30, 3), np.float32)
    red[..., 0] = 1.0
    write(tmp_path / "red.png", red, (0.0, 1.0))
    grey = read(tmp_path / "red.png", (28, 28, 1), (0.0, 1.0))
    np.testing.assert_allclose(grey, np.full((28, 28, 1), 0.2989), atol=3e-3)  # BT.601's weight of red


def test_defend_returns_what_the_defense_does(defense, paths, tmp_path):
    out = tmp_path / "out"
    found = image_files.defend(defense, paths, seed=3, out=out)
    answer = defense(np.stack([read(path, (28, 28, 1), (0.0, 1.0)) for path in paths]), seed=3)
    assert [one["label"] for one in found] == answer.predictions.numpy().tolist()
    assert [one["class_name"] for one in found] == [str(label) for label in answer.predictions.numpy()]
    np.testing.assert_allclose([one["distance"] for one in found], answer.distances, rtol=1e-6)
    assert [one["accepted"] for one in found] == (~answer.rejected.numpy()).tolist()
    assert [one["remarks"] for one in found] == [[]] * len(paths)
    written = [read(out / f"{path.stem}-projection.png", (28, 28, 1), (0.0, 1.0)) for path in paths]
    np.testing.assert_allclose(written, answer.projections, atol=3e-3)


@pytest.mark.slow
def test_command_line_exits_with_3_where_an_image_is_rejected(paths):
    answer = CliRunner().invoke(main, ["defend", *map(str, paths), *DIGITS, "--json"])
    assert answer.exit_code == 0
    assert [row["file"] for row in json.loads(answer.stdout)] == [str(path) for path in paths]
    strict = CliRunner().invoke(main, ["defend", str(paths[0]), "--defense", "digits", "--threshold", "0.01"])
    assert strict.exit_code == 3
    assert "False" in strict.stdout


@pytest.mark.slow
def test_names_what_is_not_an_image_beside_what_is(defense, paths, tmp_path):
    text = tmp_path / "text.png"
    text.write_text("no image")
    found = image_files.defend(defense, [paths[0], text, Path("nowhere.png"), paths[1]])
    assert [row["file"] for row in found] == [str(paths[0]), str(text), "nowhere.png", str(paths[1])]
    assert "text.png' is not an image that can be read" in found[1]["error"]
    assert found[2] == {"file": "nowhere.png", "error": "There is no file 'nowhere.png'."}
    assert found[3] == image_files.defend(defense, [paths[0], paths[1]])[1]
    done = CliRunner().invoke(main, ["defend", str(paths[0]), str(text), *DIGITS])
    assert done.exit_code == 1
    assert str(paths[0]) in done.stdout
    assert "text.png' is not an image" in done.stderr


def test_json_is_whole_where_no_file_can_be_read(tmp_path):
    missing = str(tmp_path / "nowhere.png")
    sentence = f"There is no file {missing!r}."
    done = CliRunner().invoke(main, ["defend", missing, *DIGITS, "--json"])
    assert (done.exit_code, done.stderr) == (1, f"{sentence}\n")
    assert json.loads(done.stdout) == [{"file": missing, "error": sentence}]
    done = CliRunner().invoke(main, ["defend", missing, *DIGITS])
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"{sentence}\n")


def test_says_that_dark_ink_on_paper_is_the_other_way_round(defense, digits, tmp_path):
    write(tmp_path / "ink.png", 1 - digits.images[0], digits.bounds)
    write(tmp_path / "digit.png", digits.images[0], digits.bounds)
    (ink,) = image_files.defend(defense, [tmp_path / "ink.png"])
    assert "dark on bright" in ink["remarks"][0]
    (turned,) = image_files.defend(defense, [tmp_path / "ink.png"], invert=True)
    (digit,) = image_files.defend(defense, [tmp_path / "digit.png"])
    assert turned["remarks"] == []
    assert turned["label"] == digit["label"]
    assert turned["distance"] == pytest.approx(digit["distance"], rel=1e-3)
    assert ink["distance"] > 3 * digit["distance"]


def test_names_of_any_bytes_and_any_length_are_shown_and_written(defense, paths, tmp_path):
    for name in (
        b"\xff\xfe.png",
        b"two\nlines.png",
        b"\x1b[31m\r.png",
        "\u202egnp.png".encode(),
        "ü".encode() * 120 + b".png",
    ):
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        odd.write_bytes(paths[0].read_bytes())
    odd = sorted(set(tmp_path.glob("*.png")) - set(paths))
    found = image_files.defend(defense, odd, out=tmp_path / "out")
    shown = {row["file"].removeprefix(f"{tmp_path}/") for row in found}
    assert shown == {r"\xff\xfe.png", r"two\nlines.png", r"\x1b[31m\r.png", r"\u202egnp.png", "ü" * 120 + ".png"}
    assert len(list((tmp_path / "out").iterdir())) == 5


@pytest.mark.parametrize("out", ["0.png", "0.png/out"])
def test_says_before_the_search_that_the_output_is_not_a_folder(defense, paths, out):
    with pytest.raises(InputError, match="is not a folder and cannot be made one"):
        image_files.defend(defense, paths, out=paths[0].parent / out)
