"""Many images through a defence on Ray, which starts here with two cores: what `inc project` does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from click.testing import CliRunner
from pyarrow import parquet

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.data.image_files import decode
from inc_tf.errors import InputError
from inc_tf.serving import bulk

pytestmark = [pytest.mark.system, pytest.mark.exact]

N = 10
HERE = {"PYTHONPATH": str(Path(inc.__file__).parents[1])}
OPTIONS = ["--defense", "digits", "--threshold", "6", "--seed", "1", "--block", "4", "--quiet"]


@pytest.fixture(scope="module")
def encoded() -> list[bytes]:
    digits = inc.data.load("digits", "test").take(N)
    return [tf.io.encode_png(np.rint(255 * image).astype(np.uint8)).numpy() for image in digits.images]


@pytest.fixture(scope="module")
def run(ray_here, encoded, tmp_path_factory):
    """A folder with one file that is torn, what `project` says of it, and where its answer is."""
    folder, out = tmp_path_factory.mktemp("images"), tmp_path_factory.mktemp("out")
    (folder / "more").mkdir()
    for i, content in enumerate(encoded):
        (folder / ("more" if i % 2 else "") / f"{i}.png").write_bytes(content)
    (folder / "3-torn.png").write_bytes(encoded[0][:40])
    words = ["project", str(folder), str(out), *OPTIONS, "--json"]
    return folder, json.loads(CliRunner().invoke(main, words, catch_exceptions=False).stdout), out


def rows(out) -> dict[str, dict]:
    """The output by id, from all of its files."""
    found = [row for path in out.glob("[!_]*.parquet") for row in parquet.read_table(path).to_pylist()]
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


def test_each_row_is_the_librarys_answer(run, encoded):
    _, summary, out = run
    found = rows(out)
    assert sorted(path.name[-13:] for path in out.glob("[!_]*.parquet")) == ["00003.parquet", *["00004.parquet"] * 2]
    defense = inc.load("digits", threshold=6.0)
    images = np.stack([decode(content, "", (28, 28, 1), (0.0, 1.0)) for content in encoded])
    answer = defense(images, seed=1)
    for i in range(N):
        row = found[f"more/{i}.png" if i % 2 else f"{i}.png"]
        assert row["label"] == int(answer.predictions[i])
        assert row["accepted"] == (not bool(answer.rejected[i]))
        assert row["distance"] == pytest.approx(float(answer.distances[i]), rel=1e-4)
        assert (row["class_name"], row["threshold"]) == (str(row["label"]), 6.0)
        assert row["probability"] == pytest.approx(float(tf.reduce_max(tf.nn.softmax(answer.logits[i]))), rel=1e-3)
        np.testing.assert_allclose(row["code"], answer.codes[i], atol=1e-2)
        np.testing.assert_allclose(row["projection"], answer.projections[i].numpy().ravel(), atol=1e-2)
    accepted = sum(row["accepted"] for row in found.values())
    assert summary == {"images": N, "accepted": accepted, "skipped": ["3-torn.png"]}


def test_a_quiet_run_writes_nothing_to_stderr(encoded, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "digit.png").write_bytes(encoded[0])
    words = [sys.executable, "-m", "inc_tf.cli", "project", "in", "out", *OPTIONS]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **HERE})
    assert done.stdout.endswith(" of 1; the results are in out\n")
    assert done.stderr == ""


def test_a_file_without_an_image_is_one_sentence(tmp_path):
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.tfrecord' has no image in it"):
        bulk.project(str(tmp_path / "empty.tfrecord"), tmp_path / "out", "digits")
    assert not (tmp_path / "out").exists()


def test_a_run_that_reads_nothing_exits_with_1_and_names_what_it_skipped(ray_here, tmp_path):
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/\xff.png")).write_bytes(b"no image")
    (tmp_path / "in" / "unreadable.png").symlink_to("/proc/self/mem")
    done = CliRunner().invoke(main, ["project", str(tmp_path / "in"), str(tmp_path / "out"), *OPTIONS])
    assert done.exit_code == 1
    assert done.stdout.startswith("Accepted 0 of 0;")
    assert r"2 cannot be read and were skipped: unreadable.png, \xff.png" in done.stderr


def test_killed_run_does_what_is_missing_and_nothing_twice(run):
    folder, summary, out = run
    before, kept = rows(out), sorted(out.glob("[!_]*.parquet"))
    kept[1].unlink()
    times = {path: os.stat(path).st_mtime_ns for path in (kept[0], kept[2])}
    again = CliRunner().invoke(main, ["project", str(folder), str(out), *OPTIONS], catch_exceptions=False)
    assert again.stdout == f"Accepted {summary['accepted']} of {N}; the results are in {out}\n"
    assert "1 cannot be read and were skipped: 3-torn.png" in again.stderr
    assert rows(out) == before
    assert {path: os.stat(path).st_mtime_ns for path in times} == times


def test_does_not_overwrite_another_runs_projections(run):
    folder, _, out = run
    before = rows(out)
    with pytest.raises(InputError, match="projections of a run with another seed"):
        bulk.project(str(folder), out, "digits", threshold=6.0, block=4, seed=2)
    assert rows(out) == before


@pytest.fixture
def claimed(encoded, tmp_path):
    """A folder of images whose run has begun and got no further, for want of a cluster; and how it is run again."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for i, content in enumerate(encoded[:4]):
        (folder / ("more" if i % 2 else "") / f"{i}.png").write_bytes(content)

    def again(out: str = "out", **options) -> str:
        """What is refused, and why."""
        with pytest.raises(InputError) as refused:
            bulk.project(str(folder), tmp_path / out, "digits-autoencode", address="127.0.0.1:1", **options)
        return str(refused.value)

    assert "There is no Ray cluster" in again()
    return folder, again


def test_runs_again_on_the_same_input(claimed):
    folder, again = claimed
    assert "There is no Ray cluster" in again()
    (folder / "notes.txt").write_text("Not an image, and not read.")
    assert "There is no Ray cluster" in again()


def test_refuses_folder_to_which_an_image_was_added(claimed, encoded):
    folder, again = claimed
    (folder / "more" / "0.png").write_bytes(encoded[4])
    assert "'more/0.png' is new" in again()
    assert "There is no Ray cluster" in again("another")


def test_refuses_folder_from_which_an_image_was_removed(claimed):
    folder, again = claimed
    (folder / "more" / "3.png").rename(folder.parent / "3.png")
    assert "'more/3.png' is gone" in again()
    (folder.parent / "3.png").rename(folder / "more" / "3.png")
    assert "There is no Ray cluster" in again()


def test_refuses_folder_in_which_an_image_was_renamed(claimed):
    folder, again = claimed
    (folder / "2.png").rename(folder / "20.png")
    assert "'20.png' is new" in again()


@pytest.mark.parametrize("same_time", [False, True])
def test_refuses_folder_in_which_an_image_has_changed(claimed, encoded, same_time):
    folder, again = claimed
    before = (folder / "2.png").stat()
    (folder / "2.png").write_bytes(encoded[5] + b"0" * same_time)  # of another size, in the other case of another time
    if same_time:
        os.utime(folder / "2.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "'2.png' has changed" in again()


@pytest.mark.parametrize(
    ("options", "which"), [({"seed": 1}, "seed"), ({"block": 3}, "block"), ({"threshold": 2.0}, "defense")]
)
def test_refuses_another_run_in_the_same_folder(claimed, options, which):
    _, again = claimed
    assert f"holds projections of a run with another {which}" in again(**options)


@pytest.mark.parametrize("out", ["images", "images/out", "images/more/../out"])
def test_refuses_output_within_the_input(claimed, out):
    folder, again = claimed
    before = sorted(folder.rglob("*"))
    assert "lies in the input" in again(out)
    assert sorted(folder.rglob("*")) == before


def test_refuses_folder_with_parquet_of_others(claimed, tmp_path):
    (tmp_path / "theirs").mkdir()
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "theirs" / "a.parquet")
    assert "holds Parquet files that `inc project` did not write" in claimed[1]("theirs")
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("size", [3, 4, 512])
def test_parquet_and_tfrecord_are_read_block_by_block(size, encoded, tmp_path):
    (tmp_path / "p").mkdir()
    parquet.write_table(pa.table({"image": encoded[:5]}), tmp_path / "p" / "a.parquet", row_group_size=2)
    parquet.write_table(pa.table({"image": [{"bytes": e} for e in encoded[5:]]}), tmp_path / "p" / "b.parquet")
    with tf.io.TFRecordWriter(str(tmp_path / "p" / "c.tfrecord-00000-of-00001")) as file:
        for content in encoded:
            feature = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))}
            file.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    cut = list(bulk.blocks(str(tmp_path / "p"), size))
    read = [list(bulk.read(block)) for block in cut]
    assert [len(images) for images in read] == [block.count for block in cut]
    names = [f"{file}.parquet#{i}" for file in "ab" for i in range(5)]
    names += [f"c.tfrecord-00000-of-00001#{i}" for i in range(N)]
    assert [image for images in read for image in images] == list(zip(names, [*encoded, *encoded], strict=True))
    assert len({block.file for block in cut}) == len(cut)


def test_a_folder_is_read_for_files_of_every_format_and_no_others(encoded, tmp_path):
    names = ["a.BMP", "a.gif", "a.jpeg", "a.jpg", "a.png", "a.tif", "a.tiff", "a.webp"]
    for name in (*names, "a.txt", "a.json"):
        (tmp_path / name).write_bytes(encoded[0])
    (block,) = bulk.blocks(str(tmp_path))
    assert [name for name, _ in bulk.read(block)] == names


def test_tfds_is_read_block_by_block(mnist):
    cut = list(bulk.blocks("mnist:test", 4096))
    assert [block.count for block in cut] == [4096, 4096, 1808]
    last = list(bulk.read(replace(cut[2], first=9998, count=2)))
    assert [name for name, _ in last] == ["mnist:test#9998", "mnist:test#9999"]
    for (_, content), image in zip(last, mnist.images[-2:], strict=True):
        np.testing.assert_allclose(decode(content, "", (28, 28, 1), (0.0, 1.0)), image, atol=1e-6)


def test_bad_input_is_one_sentence_before_any_work(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    parquet.write_table(pa.table({"picture": [b""]}), tmp_path / "other.parquet")
    (tmp_path / "torn.tfrecord").write_bytes(b"TF" * 20)
    for source, sentence in {
        "nowhere": "no file or folder .*nowhere",
        "empty": "has no image, Parquet or TFRecord file",
        "torn.parquet": "is not a Parquet file",
        "other.parquet": "has the columns picture; it must have image",
        "torn.tfrecord": "is not a TFRecord file, or is damaged",
    }.items():
        with pytest.raises(InputError, match=sentence):
            bulk.project(str(tmp_path / source), tmp_path / "out", "digits", threshold=6.0)
    assert not (tmp_path / "out").exists()
