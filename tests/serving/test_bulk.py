"""Many images through a defence on Ray, which starts here with two cores: what `inc project` does."""

import json
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from click.testing import CliRunner
from pyarrow import parquet

import inc_tf as inc
from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.serving import bulk, image_files
from inc_tf.serving.export import named

pytestmark = pytest.mark.slow

N = 10
OPTIONS = ["--model", "digits", "--threshold", "6", "--seed", "1", "--block", "4", "--quiet"]


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
    found = [row for path in out.glob("*.parquet") for row in parquet.read_table(path).to_pylist()]
    assert len({row["id"] for row in found}) == len(found)
    return {row["id"]: row for row in found}


def test_each_row_is_the_librarys_answer(run, encoded):
    _, summary, out = run
    found = rows(out)
    assert sorted(path.name[-13:] for path in out.glob("*.parquet")) == ["00003.parquet", *["00004.parquet"] * 2]
    defense = named("digits", solver="lm", threshold=6.0)
    images = np.stack([image_files.decode(content, "", (28, 28, 1), (0.0, 1.0)) for content in encoded])
    answer = defense(images, seed=1)
    for i in range(N):
        row = found[f"more/{i}.png" if i % 2 else f"{i}.png"]
        assert row["label"] == int(answer.predictions[i])
        assert row["accepted"] == (not bool(answer.rejected[i]))
        assert row["distance"] == pytest.approx(float(answer.distances[i]), rel=1e-4)
        np.testing.assert_allclose(row["code"], answer.codes[i], atol=1e-2)
        np.testing.assert_allclose(row["projection"], answer.projections[i].numpy().ravel(), atol=1e-2)
    accepted = sum(row["accepted"] for row in found.values())
    assert summary == {"images": N, "accepted": accepted, "skipped": ["3-torn.png"]}


def test_a_killed_run_does_what_is_missing_and_nothing_twice(run):
    folder, summary, out = run
    before, kept = rows(out), sorted(out.glob("*.parquet"))
    kept[1].unlink()
    times = {path: os.stat(path).st_mtime_ns for path in (kept[0], kept[2])}
    again = CliRunner().invoke(main, ["project", str(folder), str(out), *OPTIONS], catch_exceptions=False)
    assert again.stdout == f"{N} images, of which {summary['accepted']} accepted, in {out}\n"
    assert "1 cannot be read and were skipped: 3-torn.png" in again.stderr
    assert rows(out) == before
    assert {path: os.stat(path).st_mtime_ns for path in times} == times


def test_another_runs_projections_are_not_overwritten(run):
    folder, _, out = run
    before = rows(out)
    with pytest.raises(InputError, match="another run, with seed 1 in the place of 2"):
        bulk.project(str(folder), out, "digits", threshold=6.0, block=4, seed=2)
    assert rows(out) == before


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


def test_tfds_is_read_block_by_block(mnist):
    cut = list(bulk.blocks("mnist:test", 4096))
    assert [block.count for block in cut] == [4096, 4096, 1808]
    last = list(bulk.read(replace(cut[2], first=9998, count=2)))
    assert [name for name, _ in last] == ["mnist:test#9998", "mnist:test#9999"]
    for (_, content), image in zip(last, mnist.images[-2:], strict=True):
        np.testing.assert_allclose(image_files.decode(content, "", (28, 28, 1), (0.0, 1.0)), image, atol=1e-6)


def test_bad_input_is_one_sentence_before_any_work(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    parquet.write_table(pa.table({"picture": [b""]}), tmp_path / "other.parquet")
    (tmp_path / "torn.tfrecord").write_bytes(b"TF" * 20)
    for source, sentence in {
        "nowhere": "no file or folder .*nowhere",
        "empty": "has no image, Parquet or TFRecord file",
        "torn.parquet": "is no Parquet file",
        "other.parquet": "has the columns picture; it must have image",
        "torn.tfrecord": "is no TFRecord file, or a damaged one",
    }.items():
        with pytest.raises(InputError, match=sentence):
            bulk.project(str(tmp_path / source), tmp_path / "out", "digits", threshold=6.0)
    assert not (tmp_path / "out").exists()
