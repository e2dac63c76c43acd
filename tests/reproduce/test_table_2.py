"""Table 2 and Figure 10 on a folder of small pictures, with a classifier of one layer and a network of two."""

import json
import pickle
import shlex
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.evaluation import photographs
from inc_tf.evaluation.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:1 files are not images")]

SIZE, N, STEPS = 32, 4, 60
CLASSES = 3


def small_network(shape: tuple[int, int, int], channels: int) -> keras.Model:
    """Instead of the skip network, which is slow to build and is tested on its own."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((*shape[:2], 4)),
            layers.Conv2D(channels, 3, padding="same", activation="relu"),
            layers.Conv2D(shape[2], 3, padding="same", activation="sigmoid"),
        ]
    )


@pytest.fixture(scope="module", autouse=True)
def _small_network():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photographs, "skip_network", small_network)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of one of three colours, one that is no picture, their list, and a classifier that knows the colours."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    lines = ["broken.png 0"]
    (folder / "broken.png").write_text("no picture")
    for i in range(N):
        pixels = rng.integers(0, 120, size=(40, 50, 3)).astype(np.uint8)
        pixels[..., i % CLASSES] += 100
        (folder / f"{i}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        lines.append(f"{i}.png {i % CLASSES}")
    (folder / "labels.txt").write_text("\n".join(lines))
    classifier = keras.Sequential(
        [
            keras.layers.Input((SIZE, SIZE, 3)),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES, use_bias=False),
        ],
        name="colours",
    )
    classifier.layers[-1].set_weights([np.eye(CLASSES, dtype=np.float32)])
    classifier.save(folder / "classifier.keras")
    return folder


def run(name, folder, out, *words, steps=STEPS):
    options = {
        "--folder": folder,
        "--classifier": folder / "classifier.keras",
        "--channels": 2,
        "--n": N,
        "--steps": steps,
    }
    typed = [str(word) for pair in options.items() for word in pair]
    return CliRunner().invoke(main, ["reproduce", name, *typed, "--out", str(out), "--quiet", *words])


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    """The results of two shards."""
    outs = [tmp_path_factory.mktemp(f"shard-{i}") for i in (1, 2)]
    for i, out in enumerate(outs, start=1):
        with pytest.warns(UserWarning, match=r"1 files are not images and were skipped: broken\.png\."):
            done = run("table_2", folder, out, "--shard", f"{i}/2")
        assert done.exit_code == 0, done.output
    return outs


@pytest.fixture(scope="module")
def out(folder, shards, tmp_path_factory):
    """The results of the whole: the shards', merged."""
    out = tmp_path_factory.mktemp("whole")
    done = run("table_2", folder, out, "--merge", str(shards[0]), "--merge", str(shards[1]))
    assert done.exit_code == 0, done.output
    return out


def not_again(prior, unit, bar):
    """Instead of the computation, where all is there."""
    raise AssertionError(f"{unit.name} is computed again")


def record_in(out, folder, name="table_2", shard=""):
    return json.loads((out / f"{name}-2-channels{shard}-{folder.name}.json").read_text())


def test_record_says_its_command_as_one_would_type_it(shards, out, folder):
    words = shlex.split(record_in(out, folder)["command"])
    assert [words[i + 1] for i, word in enumerate(words) if word == "--merge"] == [str(path) for path in shards]
    shard = shlex.split(record_in(shards[0], folder, shard="-shard-1-of-2")["command"])
    assert shard[shard.index("--shard") + 1] == "1/2"


def test_writes_record_table_and_plot(out, folder):
    record = record_in(out, folder)
    assert record["deviations"] == [
        "colours instead of ResNet152.",
        f"A folder of images, '{folder.name}', instead of ImageNet's validation images.",
        "1 files are not images and were skipped: broken.png.",
        "A skip network of 2 channels instead of 128.",
        "At most 60 steps instead of the paper's 500.",
    ]
    assert record["checkpoints"]["colours"] == inc.checkpoints.sha256(folder / "classifier.keras")
    accuracies = {
        (row["defense"], row["epsilon"]): row["paper"] for row in record["rows"] if row["metric"] == "accuracy"
    }
    assert len(accuracies) == 4 * 4
    assert [accuracies["undefended", e] for e in (0.0, 0.01, 0.05, 0.1)] == [0.71, 0.05, 0.02, 0.01]
    assert [accuracies["dip", e] for e in (0.0, 0.01, 0.05, 0.1)] == [0.52, 0.49, 0.40, None]
    assert [accuracies["dip-100", e] for e in (0.0, 0.1)] == [0.35, 0.30]
    assert {row["metric"] for row in record["rows"]} == {
        "accuracy", "mse", "steps", "restarted", "accuracy@50", "mse@50", "accuracy@60", "mse@60"
    }  # fmt: skip
    assert all(row["n"] == N for row in record["rows"])
    (clean,) = [
        r for r in record["rows"] if (r["defense"], r["metric"], r["attack"]) == ("undefended", "accuracy", "clean")
    ]
    assert clean["value"] == 1.0
    stem = out / f"table_2-2-channels-{folder.name}"
    assert "undefended" in stem.with_suffix(".md").read_text()
    assert stem.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_its_figures_are_those_of_the_library(out, folder):
    images = inc.data.load_folder(folder, N, SIZE)
    classifier = keras.saving.load_model(folder / "classifier.keras")
    attacked = inc.attacks.bim(classifier, images.images, images.labels, bounds=images.bounds, epsilon=0.1)
    projector = inc.DeepImagePrior(small_network((SIZE, SIZE, 3), 2), steps=STEPS)
    defense = inc.InvertAndClassify(classifier, projector)
    answer = defense(attacked)
    rows = {(r["defense"], r["metric"]): r for r in record_in(out, folder)["rows"] if r["epsilon"] == 0.1}
    assert rows["undefended", "accuracy"]["value"] == np.mean(np.argmax(classifier(attacked), axis=1) == images.labels)
    assert rows["dip", "accuracy"]["value"] == np.mean(answer.predictions == images.labels)
    assert rows["dip", "mse"]["value"] == pytest.approx(
        np.mean(np.square(answer.distances)) / (SIZE * SIZE * 3), rel=1e-4
    )
    assert rows["dip", "steps"]["value"] == pytest.approx(np.mean(projector(attacked).steps))


def test_shard_has_a_record_of_its_own(shards, folder):
    for i, shard in enumerate(shards, start=1):
        record = record_in(shard, folder, shard=f"-shard-{i}-of-2")
        assert {row["n"] for row in record["rows"]} == {N // 2}
        assert record["deviations"][-1] == f"Shard {i} of 2 of the images."


def test_merge_that_lacks_a_shard_computes_nothing(folder, shards, tmp_path):
    done = run("table_2", folder, tmp_path, "--merge", str(shards[0]))
    assert done.exit_code == 1
    assert "Image 1 under clean 0 is in none of the merged folders" in done.stderr


def test_killed_run_carries_on_with_the_image_where_it_was(folder, tmp_path, monkeypatch):
    searched = []
    search = inc.DeepImagePrior.trajectory

    def dies(self, image, *how):
        if len(searched) == 3:
            searched.append(None)
            raise KeyboardInterrupt
        searched.append(np.asarray(image).tobytes())
        return search(self, image, *how)

    few = ["--n", "2", "--steps", "50"]
    monkeypatch.setattr(inc.DeepImagePrior, "trajectory", dies)
    assert run("table_2", folder, tmp_path, *few).exit_code == 130
    assert len(searched) == 4
    assert run("table_2", folder, tmp_path, *few).exit_code == 0
    # Two images under four attacks, each searched for once.
    assert len(searched) == 1 + len(set(searched) - {None}) == 9


def test_worker_makes_the_same_of_what_it_is_sent(folder, out, tmp_path, monkeypatch):
    def elsewhere(self, units, total, file):
        blueprint, sent = pickle.loads(pickle.dumps((self._blueprint, list(units))))
        bench = blueprint.bench()
        assert len(sent) == total
        for unit in sent:
            file(unit, unit.compute(bench), 1.0)

    monkeypatch.setattr(Run, "ahead", elsewhere)
    monkeypatch.setattr(photographs.Photographs, "_compute", not_again)
    assert run("table_2", folder, tmp_path).exit_code == 0
    assert record_in(tmp_path, folder, "table_2")["rows"] == record_in(out, folder, "table_2")["rows"]


def test_rejects_worker_with_another_classifier(folder):
    with pytest.raises(InputError, match=r"A worker has another classifier '.*classifier\.keras'"):
        photographs.PhotographParts(str(folder / "classifier.keras"), 2, STEPS, "0" * 64)()


def test_figure_10_draws_on_table_2s_work(out, folder, monkeypatch):
    monkeypatch.setattr(photographs.Photographs, "_compute", not_again)
    done = run("figure_10", folder, out)
    assert done.exit_code == 0, done.output
    rows = record_in(out, folder, "figure_10")["rows"]
    assert {(row["defense"], row["epsilon"]) for row in rows} == {
        (defense, epsilon) for defense in ("undefended", "dip") for epsilon in (0.0, 0.05)
    }
    assert (out / f"figure_10-2-channels-{folder.name}.png").read_bytes().startswith(b"\x89PNG")


def test_attack_that_knows_the_prior_starts_from_table_2s_work(out, folder, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    done = run("adaptive_dip", folder, tmp_path / "out")
    assert done.exit_code == 0, done.output
    rows = {
        (row["defense"], row["attack"], row["epsilon"]): row["value"]
        for row in record_in(tmp_path / "out", folder, "adaptive_dip")["rows"]
        if row["metric"] == "accuracy"
    }
    before = {
        (row["defense"], row["attack"], row["epsilon"]): row["value"]
        for row in record_in(out, folder)["rows"]
        if row["metric"] == "accuracy"
    }
    shared = rows.keys() & before.keys()
    assert len(shared) == 6
    assert all(rows[case] == before[case] for case in shared)
    for epsilon in (0.05, 0.1):
        under = [rows["dip", attack, epsilon] for attack in ("bim", "low-pass")]
        assert rows["dip", "worst-case", epsilon] <= min(under)
    found = {}
    for file in (tmp_path / "out" / "pictures").glob("*.npz"):
        with np.load(file) as picture:
            key = json.loads(str(picture["key"]))
            epsilon = key["crafted"].get("method", key["crafted"]).get("epsilon", 0.0)
            found[key["images"], key["attack"], epsilon] = picture["attacked"]
    clean = {image: picture for (image, attack, _), picture in found.items() if attack == "clean"}
    assert len(clean) == N
    for image, picture in clean.items():
        change = np.abs(found[image, "low-pass", 0.05] - picture)
        assert 0.04 < change.max() <= 0.05 + 1e-6


def test_finished_work_may_be_passed_on_without_the_photographs(out, folder, tmp_path):
    images = inc.data.load_folder(folder, N, SIZE).images
    for file in (out / "units").glob("*.npz"):
        with np.load(file) as unit:
            assert sum(unit[name].size for name in unit.files if name != "key") < images[0].size
    shutil.copytree(out / "units", tmp_path / "units")
    assert run("table_2", folder, tmp_path, "--merge", str(tmp_path)).exit_code == 0
    assert record_in(tmp_path, folder)["rows"] == record_in(out, folder)["rows"]
    done = run("figure_10", folder, tmp_path)
    assert done.exit_code == 1
    assert "The pictures of image 0 under clean 0 are not in" in done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shard", "3/2"], "'3/2' is not i/n with 1 ≤ i ≤ n"),
        (["--steps", "10"], "--steps is 10; it must be at least 50."),
        (["--shard", "1/4"], "There are 1 images to run on; an interval needs at least 2"),
        (["--merge", "nowhere"], "'nowhere' holds no finished work"),
        (["--classifier", "nowhere.keras"], "There is no file 'nowhere.keras'."),
        (["--n", "9"], "9 images were asked for"),
    ],
)
def test_mistake_is_one_sentence(folder, tmp_path, words, sentence):
    done = run("table_2", folder, tmp_path / "out", *words)
    assert done.exit_code != 0
    assert sentence in done.stderr
    assert done.exc_info[0] is SystemExit
    assert not (tmp_path / "out").exists()


def test_rejects_labels_that_do_not_fit_the_classifier(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for i in range(2):
        (other / f"{i}.png").write_bytes((folder / f"{i}.png").read_bytes())
    (other / "labels.txt").write_text("0.png 0\n1.png 3\n")
    words = ["--folder", str(other), "--n", "2"]
    done = run("table_2", folder, tmp_path / "out", *words)
    assert done.exit_code == 1
    assert "The labels contain 3; the classifier has classes 0 to 2." in done.stderr
