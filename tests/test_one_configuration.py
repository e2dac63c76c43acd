"""One name is one defence: the command line, a notebook and the records' bench build the same."""

import json

import pytest
from click.testing import CliRunner

import inc_tf as inc
from inc_tf import attacks, data, zoo
from inc_tf.cli.main import main
from inc_tf.data.image_files import write
from inc_tf.errors import InputError
from inc_tf.evaluation.run import Options, experiment
from inc_tf.saving import configuration, content_hash
from inc_tf.serving import image_files

pytestmark = pytest.mark.slow

DATASETS = ("digits", "mnist")
NAMES = [name for name in zoo.names() if name.split("-")[0] in DATASETS]
ALONE = ("undefended", "manifold-trained", "pgd-trained", "smoothed")
# What a command does with a name does not depend on the data set, so each defence goes through it once.
PROJECTING = [
    name
    for name in NAMES
    if not name.endswith(ALONE) and (name.startswith("digits") or name.replace("mnist", "digits") not in NAMES)
]
REGISTERED = ((attacks.METHODS, "stop"), (attacks.TARGETS, "whole"))
FIRST_SEARCHES = {
    "inc": ("Adam", "Normal"),
    "inc-fast": ("LevenbergMarquardt", "Nearest"),
    "inc-lbfgs": ("LBFGS", "Nearest"),
}


def run(*words: str):
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def expected():
    """The configuration of each name, from its declaration."""
    found = {}
    for name in NAMES:
        source, named = zoo.understand(name)
        found[name] = configuration(zoo.build(named.name, zoo.parts(source, named.parts)))
    return found


def without_threshold(model) -> dict:
    return {**configuration(model), "threshold": None} if hasattr(model, "threshold") else configuration(model)


def test_names_are_those_of_the_tables():
    assert [name.removeprefix("digits-") for name in NAMES if name.startswith("digits-")] == [
        *("inc-fast", "undefended", "autoencode", "manifold-trained", "inc", "inc-lbfgs", "inc-500", "inc-100"),
        *("jpeg", "bit-depth", "median", "total-variation", "diffusion"),
    ]
    assert set(NAMES) - {name.replace("digits", "mnist") for name in NAMES} == {
        name for name in NAMES if name.startswith("digits")
    }
    assert "mnist-pgd-trained" in NAMES


@pytest.mark.parametrize("dataset", DATASETS)
def test_each_name_is_another_defence(dataset, expected):
    hashes = {content_hash(expected[name]) for name in NAMES if name.startswith(dataset)}
    assert len(hashes) == len([name for name in NAMES if name.startswith(dataset)])
    for name, (solver, start) in FIRST_SEARCHES.items():
        projector = expected[f"{dataset}-{name}"]["projector"]
        assert (projector["solver"]["class"], projector["start"]["class"]) == (solver, start)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_builds_it(name, expected):
    assert without_threshold(inc.load(name)) == expected[name]


@pytest.mark.parametrize("dataset", DATASETS)
def test_data_sets_name_is_its_fast_search(dataset, expected):
    assert without_threshold(inc.load(dataset)) == expected[f"{dataset}-inc-fast"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_records_bench_builds_it(dataset, expected, request, tmp_path):
    request.getfixturevalue(dataset)
    options = Options("one", dataset=dataset, n=1, out=tmp_path, quiet=True)
    optional = tuple({part for named in zoo.DEFENSES.values() for part in named.parts})
    bench = experiment(options, "classifier", "generative", optional=optional).bench
    for name in NAMES:
        if name.startswith(dataset):
            built = bench.defense(zoo.understand(name).defense.name)
            assert configuration(built) == expected[name]
            assert bench.digest(zoo.understand(name).defense.name) == content_hash(expected[name])


@pytest.mark.parametrize("name", PROJECTING)
def test_inc_export_and_project_take_it(name, expected, tmp_path, digits):
    done = run("export", name, str(tmp_path / "models"), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["projector"] == expected[name]["projector"]
    write(tmp_path / "images" / "0.png", digits.images[0], digits.bounds)
    # No cluster is there: the run has been claimed by then, and nothing computed.
    done = run("project", str(tmp_path / "images"), str(tmp_path / "out"), "--defense", name, "--ray", "127.0.0.1:1")
    assert "There is no Ray cluster" in done.stderr
    claimed = json.loads((tmp_path / "out" / "_run.json").read_text())["defense"]
    assert {**claimed, "threshold": None} == json.loads(json.dumps(expected[name]))


@pytest.mark.parametrize("name", PROJECTING)
def test_inc_defend_and_attack_take_it(name, expected, monkeypatch, request):
    request.getfixturevalue(name.partition("-")[0])
    seen = []

    def stop(model, *given, **more):
        seen.append(without_threshold(model))
        raise InputError("Seen.")

    monkeypatch.setattr(image_files, "defend", stop)
    attacks.register_target(attacks.Target("whole", lambda defense, parts, draws: defense))
    attacks.register(attacks.Method("stop", stop, "stops", target="whole"))
    request.addfinalizer(lambda: [registry.discard(name) for registry, name in REGISTERED])
    assert run("defend", "a.png", "--defense", name).stderr == "Error: Seen.\n"
    assert run("attack", "stop", "--defense", name, "--n", "1").stderr == "Error: Seen.\n"
    assert seen == [expected[name]] * 2


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(ALONE)])
def test_classifier_alone_cannot_project(name, tmp_path, digits):
    write(tmp_path / "images" / "0.png", digits.images[0], digits.bounds)
    image, out = str(tmp_path / "images" / "0.png"), str(tmp_path / "out")
    for words in (
        ["defend", image, "--defense", name],
        ["project", image[:-6], out, "--defense", name],
        ["export", name, out],
    ):
        done = run(*words)
        assert done.exit_code == 1
        assert "it must be a defence that projects" in done.stderr
    assert not (tmp_path / "out").exists()


def test_classifier_of_ones_own_stands_instead(tmp_path, expected):
    inc.load("digits-classifier-overpowered").save(tmp_path / "own.keras")
    model = inc.load("digits", classifier=str(tmp_path / "own.keras"))
    found = without_threshold(model)
    assert found["classifier"] == expected["digits-manifold-trained"]
    assert {**found, "classifier": None} == {**expected["digits-inc-fast"], "classifier": None}
    assert model.class_names == data.SOURCES["digits"].class_names
