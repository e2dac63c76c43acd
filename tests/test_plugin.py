"""What is declared in one file outside the package is known wherever names are: `plugin/toy.py`."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import inc_tf as inc
from inc_tf import attacks, data, plugins, zoo
from inc_tf.cli.main import main
from inc_tf.data.image_files import write
from inc_tf.errors import InputError
from inc_tf.evaluation.run import Options, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, sweep
from inc_tf.saving import configuration, content_hash
from inc_tf.serving import bulk

TOY = Path(__file__).parent / "plugin" / "toy.py"
N = 5


@pytest.fixture(scope="module", autouse=True)
def _loaded():
    """Loads the plug-in, and forgets it afterwards."""
    plugins.load(TOY)
    yield
    data.SOURCES.discard("toy")
    attacks.METHODS.discard("darken")
    for name in ("toy-search", "toy-levels"):
        zoo.DEFENSES.discard(name)


@pytest.fixture(scope="module")
def few():
    return data.load("toy", "test").take(N)


def run(*words: str) -> str:
    done = CliRunner().invoke(main, ["--plugin", str(TOY), *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_names_are_known(few):
    known = zoo.names()
    assert [name for name in known if name.startswith("toy-toy")] == ["toy-toy-search", "toy-toy-levels"]
    assert {"toy-inc", "digits-toy-search", "mnist-toy-levels"} <= set(known)
    assert "celeb_a-toy-search" in known
    assert zoo.understand("toy").full == "toy-toy-search"
    np.testing.assert_array_equal(few.images, data.load("digits", "test").take(N).images[:, :, ::-1])


@pytest.mark.slow
def test_sweep_runs_all_five(few, tmp_path):
    options = Options("toy", dataset="toy", n=N, out=tmp_path, quiet=True)
    first = experiment(options, "classifier", "generative")
    darkened = Attack("darken", 0.2, against="toy-search")
    defenses = ["undefended", "toy-search", "toy-levels"]
    answers = sweep(first, first.images, [CLEAN, darkened], defenses)
    assert len(list((tmp_path / "units").iterdir())) == 2 * (1 + 2 * 3)  # shards of 3 images, as declared
    seen = {CLEAN: few.images, darkened: np.clip(few.images - np.float32(0.2), 0, 1)}
    for attack, images in seen.items():
        for name in defenses[1:]:
            wanted = inc.load(f"toy-{name}")(images)
            np.testing.assert_allclose(answers[attack, name]["distance"], wanted.distances, rtol=1e-4)
            right = wanted.predictions.numpy() == few.labels
            np.testing.assert_array_equal(answers[attack, name]["correct"], right)
    levels = answers[CLEAN, "toy-levels"]["distance"]
    by_hand = np.linalg.norm((np.rint(few.images) - few.images).reshape(N, -1), axis=1)
    np.testing.assert_allclose(levels, by_hand, rtol=1e-5)


@pytest.mark.slow
def test_inc_attack_counts(few):
    found = json.loads(run("attack", "darken", "--defense", "toy-toy-levels", "--n", str(N), "--json"))
    defense = inc.load("toy-toy-levels")
    for when, images in (("clean", few.images), ("attacked", np.clip(few.images - 0.3, 0, 1))):
        images = images.astype(np.float32)
        right = defense(images).predictions.numpy() == few.labels
        assert found["defended"][when]["value"] == np.mean(right)
    assert (found["defense"], found["epsilon"], found["n"]) == ("toy-toy-levels", 0.3, N)
    printed = run("attack", "darken", "--defense", "toy", "--n", "2", "--epsilon", "0.1")
    assert "darkening by 1·ε, ε = 0.1, n = 2" in printed
    assert "toy-toy-search" in printed


@pytest.mark.slow
def test_evaluate_shows_attack_and_projector(few, short_runs):
    defense = inc.load("toy-toy-levels")
    found = inc.evaluate(defense, few.images, few.labels, epsilons=(0.1, 0.4), searched=N, quiet=True)
    rows = {row["epsilon"]: row for row in found.record.select(attack="darken", defense="defense", metric="accuracy")}
    for epsilon, row in rows.items():
        images = np.clip(few.images - np.float32(epsilon), 0, 1)
        assert row["value"] == np.mean(defense(images).predictions.numpy() == few.labels)
        assert row["n"] == N
    assert rows.keys() == {0.1, 0.4}
    assert "| darkening by 1·ε " in found.table
    assert not found.record.select(attack="implicit")  # which goes through a generator
    assert found.record.select(attack="bpda", defense="defense")
    checks = {check["check"]: check for check in found.record.checks}
    assert checks["a planted hole is found"]["verdict"] == "holds"


@pytest.mark.slow
def test_export_answers_the_same(few, tmp_path):
    for name in ("toy", "toy-toy-levels"):
        defense, written = inc.load(name), Path(run("export", name, str(tmp_path)).strip())
        card = json.loads((written / "assets" / "card.json").read_text())
        assert card["projector"] == configuration(defense.projector)
        found = tf.saved_model.load(str(written)).signatures["serving_default"](
            images=tf.constant(few.images), seed=tf.constant(0)
        )
        wanted = defense(few.images)
        np.testing.assert_allclose(found["distance"], wanted.distances, rtol=1e-6)
        names = [data.SOURCES["toy"].class_names[label] for label in wanted.predictions]
        assert [one.decode() for one in found["class_name"].numpy()] == names


def test_inc_defend_names_classes(few, tmp_path):
    write(tmp_path / "a.png", few.images[0], few.bounds)
    (found,) = json.loads(run("defend", str(tmp_path / "a.png"), "--defense", "toy-toy-levels", "--json"))
    assert found["class_name"] == data.SOURCES["toy"].class_names[found["label"]]


@pytest.mark.slow
def test_workers_know_it(ray_here, few, tmp_path):
    folder = tmp_path / "images"
    for i, image in enumerate(few.images):
        write(folder / f"{i}.png", image, few.bounds)
    found = bulk.project(str(folder), tmp_path / "out", "toy-toy-levels", quiet=True)
    assert (found["images"], found["skipped"]) == (N, [])


def test_another_version_is_filed_apart(tmp_path):
    code = """
from dataclasses import dataclass
from inc_tf import attacks

@dataclass
class Adam:
    steps: int = 2000

attacks.register(attacks.Method("mine", Adam, "mine"))
"""
    for name, more in {"one": "", "same": "", "two": "# changed"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(code + more)
    found = {}
    for name in ("one", "same", "two"):
        plugins.load(tmp_path / name / "mine.py")
        found[name] = content_hash(configuration(attacks.METHODS["mine"].function()))
    attacks.METHODS.discard("mine")
    assert found["one"] == found["same"] != found["two"]
    assert content_hash(configuration(inc.Adam())) not in found.values()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "There is no plug-in"), ("1 / 0", "cannot be run: ZeroDivisionError"), ("def", "cannot be run: SyntaxErr")],
)
def test_rejects_what_cannot_be_run(content, sentence, tmp_path):
    file = tmp_path / "mine.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=sentence):
        plugins.load(file)
    assert str(file) not in plugins.loaded()
    assert "mine" not in attacks.METHODS
