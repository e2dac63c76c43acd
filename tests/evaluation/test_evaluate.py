"""A user's own models: the page of attacks, from the command line and from a notebook, and what is refused."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.saving import load_file


def run(files, *words: str, **replaced: str):
    given = {"classifier": "classifier.keras", "generator": "generator.keras", "data": "two.npz", **replaced}
    parts = [word for option, name in given.items() for word in (f"--{option}", str(files / name))]
    return CliRunner().invoke(main, ["evaluate", *parts, "--out", str(files / "out"), "--quiet", *words])


def accuracies(rows: list[dict]) -> dict[tuple, float]:
    return {(r["defense"], r["attack"], r["epsilon"]): r["value"] for r in rows if r["metric"] == "accuracy"}


@pytest.mark.slow
def test_page_of_ones_own_models(files, short_runs):
    answer = run(files, "--encoder", str(files / "encoder.keras"), "--epsilon", "0.05", "--epsilon", "0.3")
    assert answer.exit_code == 0, answer.output
    record = json.loads((files / "out" / "evaluate-two.json").read_text())
    found = accuracies(record["rows"])
    assert {defense for defense, *_ in found} == {"undefended", "autoencode", "inc", "inc-fast"}
    for defense in ("undefended", "autoencode", "inc", "inc-fast"):
        assert found[defense, "clean", 0.0] == 1.0
        # The classes are hardly ever more than 0.4 apart, of which 0.3 on either half is more than enough.
        assert found[defense, "worst-case", 0.3] <= 0.25 < found[defense, "worst-case", 0.05]
    checks = {check["check"]: check["verdict"] for check in record["checks"]}
    assert checks["a planted hole is found"] == "holds"
    assert record["checkpoints"].keys() == {"classifier", "generator", "encoder"}
    assert "| a planted hole is found " in answer.output
    assert re.search(r"\| INC withstands who knows it +\| (does not hold|undecided)", answer.output)


@pytest.mark.slow
def test_ones_own_defence_from_a_notebook(files, tmp_path, few_attacks):
    models = {part: load_file(files / f"{part}.keras") for part in ("classifier", "generator", "encoder")}
    projector = inc.LatentProjector(models["generator"], inc.Adam(0.05, steps=60), inc.Zeros())
    defense = inc.InvertAndClassify(models["classifier"], projector)
    two = inc.data.load_archive(files / "two.npz")
    given = {"encoder": models["encoder"], "epsilons": (0.05, 0.3), "searched": 3, "out": tmp_path, "quiet": True}
    settings = {"square": {"queries": 3}}
    found = inc.evaluate(defense, two.images, two.labels, settings=settings, **given)
    rows = accuracies(found.record.rows)
    assert {name for name, *_ in rows} == {"defense", "inc-fast", "undefended", "autoencode"}
    attacked = inc.attacks.fgsm(models["classifier"], two.images, two.labels, bounds=two.bounds, epsilon=0.3)
    for name, right in {
        "defense": defense(attacked).predictions.numpy() == two.labels,
        "undefended": models["classifier"](attacked).numpy().argmax(axis=1) == two.labels,
    }.items():
        assert rows[name, "fgsm", 0.3] == pytest.approx(np.mean(right))
        assert rows[name, "worst-case", 0.3] <= np.mean(right)
    # What has no search is attacked through its own answers, each by itself.
    answers = models["classifier"]
    square = inc.attacks.square(
        answers, two.images[:3], two.labels[:3], bounds=two.bounds, seed=0, epsilon=0.3, queries=3
    )
    assert rows["undefended", "square", 0.3] == np.mean(answers(square).numpy().argmax(axis=1) == two.labels[:3])
    assert str(found) == found.table
    assert "| defense " in found.table
    assert "worst case of all attacks, n = 3" in found.plot().axes[0].get_title()
    before = {path.name for path in (tmp_path / "units").iterdir()}
    again = inc.evaluate(defense, two.images, two.labels, settings=settings, **given)
    assert again.record.rows == found.record.rows
    assert {path.name for path in (tmp_path / "units").iterdir()} == before
    inc.evaluate(defense, two.images, two.labels, settings={"square": {"queries": 4}}, **given)
    assert {path.name for path in (tmp_path / "units").iterdir()} > before


@pytest.mark.parametrize("number", range(4))
def test_rejects_images_and_labels_that_do_not_fit(files, number):
    defense = load_file(files / "classifier.keras")
    images, labels = np.full((6, 6, 6, 1), 0.5, np.float32), np.zeros(6, np.int64)
    late = np.where(np.arange(6) == 5, 99, labels)
    dark = np.where(np.arange(6)[:, None, None, None] == 5, np.float32("nan"), images)
    given, sentence = [
        ((images + 1, labels), r"must lie in \[0, 1\]"),
        ((images[..., 0], labels), "shape"),
        ((images, late), "The labels contain 99"),
        ((dark, labels), "NaN"),
    ][number]
    with pytest.raises(InputError, match=sentence):
        inc.evaluate(defense, *given, quiet=True)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epsilons": 2.0}, "epsilon is 2; it must be between 0"),
        ({"epsilons": ["much"]}, "epsilon is 'much'; it must be a number"),
        ({"searched": "3"}, "searched is '3'; it must be a whole number"),
    ],
)
def test_rejects_settings_of_other_types(files, settings, sentence):
    images, labels = np.full((2, 6, 6, 1), 0.5, np.float32), np.zeros(2, np.int64)
    with pytest.raises(InputError, match=sentence):
        inc.evaluate(load_file(files / "classifier.keras"), images, labels, quiet=True, **settings)


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
        ({"data": "late.npz"}, "The labels contain 99"),
    ],
)
def test_what_does_not_fit_is_one_sentence(files, replaced, sentence):
    np.savez(files / "wrong.npz", pictures=np.zeros(3))
    np.savez(files / "bytes.npz", images=np.zeros((4, 6, 6, 1), np.uint8), labels=np.zeros(4, int))
    np.savez(files / "other.npz", images=np.zeros((4, 7, 6, 1), np.float32), labels=np.zeros(4, int))
    np.savez(files / "late.npz", images=np.zeros((4, 6, 6, 1), np.float32), labels=[0, 0, 0, 99])
    answer = run(files, **replaced)
    assert answer.exit_code == 1
    assert answer.output.strip().splitlines()[-1].startswith("Error: ")
    assert sentence in answer.output
    assert not (files / "out" / "evaluate-other.json").exists()


def test_archive_comes_back_as_it_was_saved(files):
    data = inc.data.load_archive(files / "two.npz", (0.0, 1.0))
    assert (data.name, len(data), data.bounds) == ("two", 12, (0.0, 1.0))
    assert data.images.dtype == np.float32
    assert data.labels.dtype == np.int64
