"""What is exported answers what the library answers, in a process that has TensorFlow and not inc_tf."""

import json
import math
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import inc_tf as inc
from inc_tf import checkpoints
from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.models import celeba
from inc_tf.serving import export

pytestmark = [pytest.mark.slow, pytest.mark.exact]

SEED = 3

CHILD = """
import contextlib, sys
sys.modules["inc_tf"] = None  # importing it fails
import numpy as np, tensorflow as tf
from tensorflow.python.tools import saved_model_cli

seed = np.load("seed.npy")
for model in sys.argv[1:]:
    images = np.load(f"{model}.npy")
    loaded = tf.saved_model.load(f"{model}/1")
    for name in ("serving_default", "project"):
        answer = loaded.signatures[name](images=tf.constant(images), seed=tf.constant(seed))
        np.savez(f"{model}-{name}.npz", **{key: part.numpy() for key, part in answer.items()})
    name, more = ("project", "") if model == "adam" else ("serving_default", ";seed=seed.npy")
    which = ["--dir", f"{model}/1", "--tag_set", "serve", "--signature_def", name]
    files = ["--inputs", f"images={model}.npy{more}", "--outdir", f"{model}-cli"]
    sys.argv = ["saved_model_cli", "run", *which, *files]
    with contextlib.suppress(SystemExit):
        saved_model_cli.main()
"""

SEARCHES = {"adam": ("digits-inc", 40, 1.8, "float32"), "lm": ("digits-inc-fast", 5, 1.2, "uint8")}
"""Defence, steps, threshold and type of images by the exported name."""


@pytest.fixture(scope="module")
def loaded_elsewhere(tmp_path_factory, digits):
    """A folder with what each export answered in a process that has TensorFlow and not inc_tf; the images by name."""
    folder = tmp_path_factory.mktemp("models")
    images = {"float32": digits.images[:5], "uint8": np.rint(digits.images[:5] * 255).astype(np.uint8)}
    np.save(folder / "seed.npy", np.int32(SEED))
    for name, (defense, steps, threshold, dtype) in SEARCHES.items():
        np.save(folder / f"{name}.npy", images[dtype])
        export.export_named(defense, folder, name=name, steps=steps, threshold=threshold, dtype=dtype)
    done = subprocess.run([sys.executable, "-c", CHILD, *SEARCHES], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, {name: images[dtype] for name, (*_, dtype) in SEARCHES.items()}


@pytest.mark.parametrize("name", SEARCHES)
def test_answers_bit_for_bit_where_there_is_only_tensorflow(loaded_elsewhere, name):
    folder, images = loaded_elsewhere
    defended, steps, threshold, _ = SEARCHES[name]
    defense = inc.load(defended, steps=steps, threshold=threshold)
    scaled = export.scaled(tf.constant(images[name]), defense.bounds)
    answer, seedless = defense(scaled, seed=SEED), defense(scaled)
    assert np.any(answer.rejected)
    assert not np.all(answer.rejected)
    assert not np.array_equal(seedless.codes, answer.codes)

    def classified(answer):
        probabilities = tf.nn.softmax(answer.logits)
        return {
            "label": answer.predictions,
            "class_name": np.array([str(label).encode() for label in answer.predictions.numpy()], object),
            "probability": tf.reduce_max(probabilities, axis=1),
            "probabilities": probabilities,
            "distance": answer.distances,
            "accepted": ~answer.rejected,
        }

    def projected(answer):
        return {**classified(answer), "projection": answer.projections, "code": answer.codes}

    for signature, wanted in (("serving_default", classified(answer)), ("project", projected(answer))):
        loaded = np.load(folder / f"{name}-{signature}.npz", allow_pickle=True)
        assert sorted(loaded.files) == sorted(wanted)
        for part, values in wanted.items():
            np.testing.assert_array_equal(loaded[part], values)
            assert loaded[part].dtype == values.dtype
    # By saved_model_cli: one without a seed, one with it.
    for part, values in (projected(seedless) if name == "adam" else classified(answer)).items():
        np.testing.assert_array_equal(np.load(folder / f"{name}-cli" / f"{part}.npy", allow_pickle=True), values)


def test_card_names_what_is_baked_in(tmp_path, classifier, vae):
    projector = inc.LatentProjector(vae.generator, inc.Adam(steps=7), inc.Normal(restarts=2))
    defense = inc.InvertAndClassify(classifier, projector, threshold=2.5)
    assert export.export(defense, tmp_path, "mine") == tmp_path / "mine" / "1"
    written = export.export(defense, tmp_path, "mine", dtype="uint8", dataset="digits", checkpoints={"a": "b"})
    assert written == tmp_path / "mine" / "2"
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["1", "2"]
    card = json.loads((written / "assets" / "card.json").read_text())
    assert (card["name"], card["version"], card["dataset"], card["checkpoints"]) == ("mine", 2, "digits", {"a": "b"})
    assert card["images"] == {"dtype": "uint8", "shape": [None, 28, 28, 1], "range": [0, 255]}
    assert (card["threshold"], card["bounds"]) == (2.5, [0.0, 1.0])
    assert card["projector"]["solver"] == {"class": "Adam", "learning_rate": 0.1, "steps": 7, "tolerance": 0.0}
    assert card["projector"]["start"] == {"class": "Normal", "restarts": 2, "stddev": 1.0}


def test_saved_defence_is_exported_as_it_is(tmp_path, classifier, vae, digits):
    defense = inc.InvertAndClassify(classifier, inc.EncoderProjector(vae.encoder, vae.generator), threshold=3.0)
    before = defense(digits.images[:4])
    defense.save(tmp_path / "mine.keras")
    written = export.export_named(str(tmp_path / "mine.keras"), tmp_path / "models")
    assert written == tmp_path / "models" / "mine" / "1"
    answer = tf.saved_model.load(str(written)).signatures["serving_default"](
        images=tf.constant(digits.images[:4]), seed=tf.constant(0)
    )
    np.testing.assert_allclose(answer["distance"], before.distances, rtol=1e-6)  # without a search nothing is a graph
    np.testing.assert_array_equal(answer["label"], before.predictions)


@pytest.mark.parametrize("name", ["jpeg", "bit-depth", "median", "total-variation", "diffusion"])
def test_purifiers_are_exported(name, tmp_path, digits):
    written = export.export_named(f"digits-{name}", tmp_path)
    images = tf.constant(digits.images[:3])
    found = tf.saved_model.load(str(written)).signatures["project"](images=images, seed=tf.constant(SEED))
    wanted = inc.load(f"digits-{name}")(images, seed=SEED)
    np.testing.assert_allclose(found["distance"], wanted.distances, rtol=1e-4)
    np.testing.assert_array_equal(found["label"], wanted.predictions)


def test_deep_image_prior_is_exported_with_any_classifier(tmp_path):
    layers = [keras.layers.Input((32, 32, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    keras.Sequential(layers).save(tmp_path / "three.keras")
    defense = inc.load("imagenet2012", steps=3, classifier=str(tmp_path / "three.keras"))
    written = export.export(defense, tmp_path, "dip")
    card = json.loads((written / "assets" / "card.json").read_text())
    assert (card["bounds"], card["threshold"]) == ([-1.0, 1.0], None)
    assert (card["projector"]["class"], card["projector"]["steps"]) == ("DeepImagePrior", 3)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    found = tf.saved_model.load(str(written)).signatures["project"](images=tf.constant(images), seed=tf.constant(SEED))
    wanted = defense(images, seed=SEED)
    np.testing.assert_array_equal(found["projection"], wanted.projections)
    np.testing.assert_array_equal(found["distance"], wanted.distances)
    assert found["code"].shape == (2, 0)


def test_celeba_is_exported_once_its_checkpoints_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path))
    checkpoints.save(celeba.classifier(), "celeba-gender", {})
    with pytest.raises(InputError, match="There is no checkpoint 'celeba-began'"):
        inc.load("celeb_a-inc", threshold=9.0)
    checkpoints.save(celeba.began(width=4, latent_dim=8, latent_stddev=3.0), "celeba-began", {})
    written = export.export_named("celeb_a-inc", tmp_path / "models", steps=3, threshold=9.0, dtype="uint8")
    assert written == tmp_path / "models" / "celeb_a-inc" / "1"
    card = json.loads((written / "assets" / "card.json").read_text())
    assert card["class_names"] == ["female", "male"]
    assert card["checkpoints"].keys() == {"celeba-gender", "celeba-began"}
    assert card["projector"]["solver"] == {"class": "Adam", "learning_rate": 0.01, "steps": 3, "tolerance": 0.0}
    assert card["projector"]["start"]["stddev"] == 3.0
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    found = tf.saved_model.load(str(written)).signatures["project"](images=tf.constant(images), seed=tf.constant(0))
    wanted = inc.load("celeb_a-inc", steps=3)(export.scaled(tf.constant(images), (-1.0, 1.0)))
    np.testing.assert_array_equal(found["distance"], wanted.distances)
    assert {name.decode() for name in found["class_name"].numpy()} <= {"female", "male"}


def test_candidates_of_seed_0_are_exported_and_those_of_others_made_anew(tmp_path, classifier, vae, digits):
    projector = inc.LatentProjector(vae.generator, inc.LevenbergMarquardt(2), inc.Nearest(candidates=37))
    defense = inc.InvertAndClassify(classifier, projector)
    loaded = tf.saved_model.load(str(export.export(defense, tmp_path, "nearest")))
    assert [37, 20] in [weight.shape.as_list() for weight in loaded.weights]
    images = tf.constant(digits.images[:9])
    for seed in (0, 1):
        found = loaded.signatures["project"](images=images, seed=tf.constant(seed))
        np.testing.assert_array_equal(found["code"], defense(images, seed=seed).codes)
    vae_before = vae.generator.get_weights()
    try:
        vae.generator.set_weights([weight / 2 for weight in vae_before])
        again = tf.function(lambda images: defense(images, seed=0).codes, autograph=False)
        np.testing.assert_array_equal(again(images), defense(images, seed=0).codes)  # nothing is held any more
    finally:
        vae.generator.set_weights(vae_before)


def test_rejects_seeds_that_differ(classifier, vae, digits):
    projector = inc.LatentProjector(vae.generator, inc.Adam(steps=2))
    graphs = export.signatures(inc.InvertAndClassify(classifier, projector))
    images = tf.constant(digits.images[:2])
    same, one = graphs["project"](images, tf.constant([5, 5])), graphs["project"](images, tf.constant(5))
    np.testing.assert_array_equal(same["code"], one["code"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="the same seed"):
        graphs["project"](images, tf.constant([5, 6]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"model": "minst"}, "There is no defence 'minst'; there are celeb_a-inc-fast"),
        ({"model": "digits-newton"}, "There is no defence 'digits-newton'"),
        ({"model": "digits-undefended"}, "is a Sequential; it must be a defence that projects"),
        ({"model": "digits-vae"}, "There is no defence 'digits-vae'"),
        ({"model": "imagenet2012", "classifier": "a.keras"}, "There is no file 'a.keras'"),
        ({"model": "digits", "steps": 0}, "steps is 0; it must be at least 1"),
        ({"model": "digits-autoencode", "steps": 3}, "this defence has no search"),
        ({"model": "digits", "threshold": -1.0}, "threshold η is -1.0"),
        ({"model": "digits", "threshold": float("nan")}, "threshold η is nan"),
        ({"model": "digits", "threshold": math.inf}, "threshold η is inf; it must be above 0 and finite"),
        ({"model": "digits", "threshold": 1.0, "dtype": "int8"}, "type is 'int8'; it must be float32 or uint8"),
        ({"model": "digits", "threshold": 1.0, "name": "a:b"}, "The name is 'a:b'"),
        ({"model": "digits", "threshold": 1.0, "name": ""}, "The name is ''; it must consist of letters"),
        ({"model": "nowhere.keras"}, "There is no file 'nowhere.keras'"),
        ({"model": "nowhere.keras", "steps": 3}, "they cannot be replaced"),
        ({"model": "digits-classifier.keras"}, "is a Sequential; it must be a defence that projects"),
        ({"model": "text.keras"}, r"text.keras' cannot be loaded"),
    ],
)
def test_mistake_is_one_sentence_and_nothing_is_written(tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.keras").write_text("no zip file")
    (tmp_path / "digits-classifier.keras").symlink_to(checkpoints.directory() / "digits-classifier.keras")
    with pytest.raises(InputError, match=sentence) as error:
        export.export_named(directory=tmp_path / "models", **arguments)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "models").exists()


@pytest.fixture
def small(classifier, vae):
    return inc.InvertAndClassify(classifier, inc.EncoderProjector(vae.encoder, vae.generator), threshold=3.0)


@pytest.mark.parametrize("size", [1000, 200_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, small, size):
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # no file may be larger
    try:
        with pytest.raises(InputError, match="mine' cannot be written") as error:
            export.export(small, tmp_path / "models", "mine")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("directory", "name"), [("/proc/models", "mine"), (None, "x" * 300)])
def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path, small, directory, name):
    with pytest.raises(InputError, match="cannot be written"):
        export.export(small, Path(directory) if directory else tmp_path / "models", name)
    assert list(tmp_path.iterdir()) == []


def test_two_exports_at_once_take_two_versions(tmp_path, small):
    with ThreadPoolExecutor(3) as threads:
        written = list(threads.map(lambda _: export.export(small, tmp_path, "mine"), range(3)))
    assert sorted(written) == [tmp_path / "mine" / str(version) for version in (1, 2, 3)]
    for path in written:
        assert json.loads((path / export.CARD).read_text())["version"] == int(path.name)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["1", "2", "3"]


def test_command_line_exports(tmp_path):
    done = CliRunner().invoke(main, ["export", "digits", str(tmp_path), "--steps", "3", "--threshold", "2", "--uint8"])
    assert done.output.splitlines()[-1] == str(tmp_path / "digits" / "1")
    card = json.loads((tmp_path / "digits" / "1" / "assets" / "card.json").read_text())
    assert (card["projector"]["solver"]["class"], card["projector"]["solver"]["steps"]) == ("LevenbergMarquardt", 3)
    assert set(card["checkpoints"]) == {"digits-classifier", "digits-vae"}
    assert card["threshold"] == 2.0
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["export", "digits", str(tmp_path / "file"), "--threshold", "2"])
    assert done.exit_code == 1
    assert "is not a folder" in done.output
