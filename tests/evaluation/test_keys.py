"""Finished work is filed by content: what changes an answer changes its key, and what does not, does not."""

import importlib.util
import inspect
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import inc_tf as inc
from inc_tf import attacks, data, zoo
from inc_tf.attacks import METHODS
from inc_tf.cli.main import main
from inc_tf.evaluation.run import Options, Run
from inc_tf.evaluation.sweep import CLEAN, Attack, attack_images, attacking, sweep
from inc_tf.evaluation.units import Bench
from inc_tf.models.skip import skip_network
from inc_tf.saving import configuration, content_hash, digest, load_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two(files) -> data.Dataset:
    return data.load_archive(files / "two.npz").take(4)


@pytest.fixture(scope="module")
def parts(files) -> zoo.Parts:
    generative = zoo.GenerativeModel(load_file(files / "generator.keras"), load_file(files / "encoder.keras"))
    return zoo.Parts({"classifier": load_file(files / "classifier.keras"), "generative": generative}, (0.0, 1.0))


@pytest.fixture
def filed(two, parts, tmp_path):
    """How many units are filed after an attack and an answer on these images."""

    def count(images: data.Dataset = two, attack: Attack = Attack("pgd", 0.1, {"steps": 2}), parts=parts) -> int:
        options = Options("keys", out=tmp_path, quiet=True)
        run = Run(options, images, Bench(parts, 0), checkpoints={}, quick=True)
        sweep(run, images, [attack], ["undefended"])
        return len(list((tmp_path / "units").iterdir()))

    return count


def test_same_content_is_filed_once_whatever_it_is_called(filed, two, parts, files):
    assert filed() == filed() == 2
    assert filed(replace(two, name="other", split="test", start=7)) == 2
    again = load_file(files / "classifier.keras")
    again.name = "another_name"
    assert filed(parts=replace(parts, models={**parts.models, "classifier": again})) == 2


def test_models_that_an_attack_does_not_go_through_do_not_change_its_key(two, parts):
    def key(name: str, against: str, *models: str) -> dict:
        known = {**parts.models, "wgan": parts.models["generative"]}
        bench = Bench(replace(parts, models={model: known[model] for model in ("classifier", *models)}), 0)
        return attacking(bench, Attack(name, 0.1, against=against), two).key

    for name in ("bpda", "unrolled", "implicit", "square"):
        assert key(name, "defense-gan", "wgan") == key(name, "defense-gan", "wgan", "generative")
    assert key("autoencode-pgd", "inc", "generative") == key("autoencode-pgd", "defense-gan", "generative", "wgan")
    assert key("pgd", "inc", "generative") == key("pgd", "undefended")
    assert key("bpda", "inc", "generative") != key("bpda", "inc-fast", "generative")


def test_other_pixels_labels_or_bounds_are_filed_apart(filed, two):
    assert filed() == 2
    pixels = two.images.copy()
    pixels[3, 5, 5, 0] += np.float32(1e-7) * 8
    assert filed(replace(two, images=pixels)) == 4
    labels = two.labels.copy()
    labels[3] = 1 - labels[3]
    assert filed(replace(two, labels=labels)) == 6
    assert filed(replace(two, bounds=(-0.5, 1.0))) == 8
    assert filed() == 8


def test_other_weights_are_filed_apart(filed, parts, files):
    assert filed() == 2
    other = load_file(files / "classifier.keras")
    other.layers[-1].set_weights([1.5 * other.layers[-1].get_weights()[0]])
    assert filed(parts=replace(parts, models={**parts.models, "classifier": other})) == 4


def defaults(name: str) -> dict:
    """The arguments of an attack that have a default, but the seed."""
    given = inspect.unwrap(METHODS[name].function).__kwdefaults__ or {}
    return {argument: value for argument, value in given.items() if argument != "seed"}


@pytest.mark.parametrize("name", list(METHODS))
def test_every_argument_of_an_attack_is_in_its_key(name):
    method = METHODS[name]
    settings = method.settings(epsilon=0.1)
    assert settings == {**defaults(name), **method.arguments, "epsilon": 0.1}
    before = content_hash(configuration(settings))
    for argument, value in settings.items():
        other = "another" if isinstance(value, str) else 2 if value == np.inf else 1.5 + (value or 0)
        assert content_hash(configuration({**settings, argument: other})) != before


def test_another_default_of_an_attack_is_filed_apart(filed, monkeypatch):
    attack, bim = Attack("bim", 0.1, {}), inspect.unwrap(attacks.bim)
    assert filed(attack=attack) == 2
    monkeypatch.setitem(bim.__kwdefaults__, "steps", bim.__kwdefaults__["steps"] + 1)
    assert filed(attack=attack) > 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "defense"),
    [
        (inc.Adam, "inc"),
        (inc.Normal, "inc"),
        (inc.LevenbergMarquardt, "inc-fast"),
        (inc.Nearest, "inc-fast"),
        (inc.LBFGS, "inc-lbfgs"),
    ],
)
def test_another_default_of_a_solver_or_start_is_filed_apart(part, defense, parts, monkeypatch):
    before = Bench(parts, 0).digest(defense)
    assert Bench(parts, 0).digest(defense) == before
    other = tuple(2 * value or 0.5 for value in part.__init__.__defaults__)
    monkeypatch.setattr(part.__init__, "__defaults__", other)
    assert Bench(parts, 0).digest(defense) != before


def test_every_setting_of_a_defence_is_in_its_configuration(parts):
    projector = inc.LatentProjector(parts.generator, inc.Adam(), inc.Normal())
    before = inc.InvertAndClassify(parts["classifier"], projector)
    others = [
        inc.InvertAndClassify(parts["classifier"], projector, threshold=2.0),
        inc.InvertAndClassify(parts.encoder, projector),
        *(
            inc.InvertAndClassify(parts["classifier"], inc.LatentProjector(parts.generator, solver, start))
            for solver, start in [
                (inc.Adam(0.2), inc.Normal()),
                (inc.Adam(steps=7), inc.Normal()),
                (inc.Adam(tolerance=0.1), inc.Normal()),
                (inc.Adam(), inc.Normal(restarts=2)),
                (inc.Adam(), inc.Normal(stddev=2.0)),
                (inc.Adam(), inc.Zeros()),
                (inc.LBFGS(), inc.Normal()),
            ]
        ),
    ]
    assert configuration(before)["bounds"] == [0.0, 1.0]
    hashes = {content_hash(configuration(one)) for one in (before, *others)}
    assert len(hashes) == 1 + len(others)


def test_names_of_layers_are_not_in_a_digest():
    def network(units: int = 3, activation: str = "relu", name: str | None = None) -> keras.Model:
        inputs = keras.layers.Input((4,))
        hidden = keras.layers.Dense(units, activation=activation, kernel_initializer="ones", name=name)(inputs)
        return keras.Model(inputs, keras.layers.Add()([hidden, hidden]))

    first, again = network(), network()
    assert first.layers[1].name != again.layers[1].name
    assert digest(first) == digest(again)
    assert digest(network(name="relu")) == digest(first)
    assert digest(network(activation="tanh")) != digest(first)
    assert digest(network(activation="tanh", name="tanh")) != digest(network(name="relu"))
    assert digest(network(units=4)) != digest(first)
    again.layers[1].kernel.assign_add(np.eye(4, 3, dtype=np.float32) * 1e-6)
    assert digest(again) != digest(first)


def test_weights_that_are_drawn_for_each_image_are_not_in_a_digest():
    def prior(**settings) -> inc.DeepImagePrior:
        return inc.DeepImagePrior(skip_network((32, 32, 1), 2), **settings)

    first, again = prior(), prior()
    assert not np.array_equal(first.network.weights[0], again.network.weights[0])
    assert configuration(first) == configuration(again)
    assert configuration(prior(steps=7)) != configuration(first)
    own = next(weight for weight in again.network.weights if weight.path not in again.drawn)
    own.assign(own + 1e-3)
    assert configuration(again) != configuration(first)


@pytest.mark.slow
def test_attack_on_a_defence_is_filed_by_that_defence(two, parts, tmp_path):
    options = Options("keys", out=tmp_path, quiet=True)
    run = Run(options, two, Bench(parts, 0), checkpoints={}, quick=True)
    for n, against in enumerate(("inc-fast", "inc-lbfgs", "undefended"), start=1):
        attack_images(run, Attack("square", 0.1, {"queries": 2}, against=against), two)
        assert len(list((tmp_path / "units").iterdir())) == n
    assert attack_images(run, CLEAN, two) is two


@pytest.mark.slow
def test_inc_evaluate_computes_anew_where_data_or_bounds_change(files, tmp_path, few_attacks):
    shutil.copy(files / "two.npz", tmp_path / "two.npz")
    words = [f"--{part}={files / part}.keras" for part in ("classifier", "generator")]
    words += ["--data", str(tmp_path / "two.npz"), "--n=6", "--n-search=2", "--epsilon=0.3", "--quiet"]

    def clean(*more: str) -> tuple[float, int]:
        out = ["--out", str(tmp_path / "out"), "--json"]
        done = CliRunner().invoke(main, ["evaluate", *words, *out, *more], catch_exceptions=False)
        rows = json.loads(done.stdout)["rows"]
        wanted = ("undefended", "clean", "accuracy")
        (value,) = (r["value"] for r in rows if (r["defense"], r["attack"], r["metric"]) == wanted)
        return value, len(list((tmp_path / "out" / "units").iterdir()))

    first = clean()
    assert first[0] == 1.0
    assert clean() == first
    with np.load(files / "two.npz") as file:
        np.savez(tmp_path / "two.npz", images=file["images"], labels=1 - file["labels"])
    flipped = clean()
    assert flipped[0] == 0.0
    assert flipped[1] > first[1]
    # Nor does it print what it found within other bounds, which this generator cannot have.
    refused = CliRunner().invoke(main, ["evaluate", *words, "--out", str(tmp_path / "out"), "--bounds", "-1", "1"])
    assert refused.exit_code == 1
    assert "Rescaling" in refused.output


def environment_of(checkout: Path) -> dict:
    """What the `records` in a folder says of itself."""
    specification = importlib.util.spec_from_file_location(
        "records_elsewhere", checkout / "inc_tf/evaluation/records.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.environment()


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def library(tmp_path):
    """Copies what tells a checkout of the library into a folder."""

    def copy(folder: Path, *more: str) -> None:
        for name in ("inc_tf/__init__.py", "inc_tf/evaluation/records.py", *more):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)

    return copy


def test_commit_is_that_of_the_librarys_checkout(library, tmp_path):
    library(tmp_path, "reproduce/figure_3.py")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "all")
    assert environment_of(tmp_path)["commit"] == git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "inc_tf" / "__init__.py").write_text("")
    assert environment_of(tmp_path)["commit"] == git(tmp_path, "rev-parse", "HEAD") + "-dirty"


@pytest.mark.parametrize("where", [".", "venv/lib/python3/site-packages"])
def test_commit_is_never_that_of_a_users_repository(library, tmp_path, where):
    git(tmp_path, "init", "--quiet")
    library(tmp_path / where)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "everything, the environment too")
    assert environment_of(tmp_path / where)["commit"] == "unknown"
