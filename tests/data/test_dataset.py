import http.server
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from inc_tf import data
from inc_tf.data import celeba as celeba_source
from inc_tf.data import mnist as mnist_source
from inc_tf.errors import InputError

NOWHERE = "http://127.0.0.1:9/"  # the discard port: refuses at once


def test_digits_are_split_without_overlap_and_lie_within_their_bounds():
    splits = {split: data.load("digits", split) for split in data.SPLITS}
    assert {split: part.images.shape for split, part in splits.items()} == {
        "train": (1197, 28, 28, 1),
        "validation": (200, 28, 28, 1),
        "test": (400, 28, 28, 1),
    }
    everything = np.concatenate([part.images for part in splits.values()])
    assert everything.dtype == np.float32
    assert everything.min() == 0.0
    assert everything.max() == 1.0
    # scikit-learn's digits hold no image twice, so overlapping splits would show here.
    assert len(np.unique(everything.reshape(1797, -1), axis=0)) == 1797


def test_digits_are_the_same_every_time():
    first, second = data.load("digits"), data.load("digits")
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.labels.dtype == np.int64


def test_mnist_is_the_real_one(mnist):
    assert mnist.images.shape == (10000, 28, 28, 1)
    assert mnist.images.dtype == np.float32
    assert mnist.bounds == (0.0, 1.0)
    assert (mnist.images.min(), mnist.images.max()) == (0.0, 1.0)
    # The published counts of the ten classes of the test set.
    assert np.bincount(mnist.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.slow
def test_mnist_keeps_5000_training_images_back(mnist):
    last = tfds.load("mnist", split="train[55000:]", data_dir=os.environ["TFDS_DATA_DIR"], batch_size=-1)
    validation = data.load("mnist", "validation")
    np.testing.assert_array_equal(validation.images, np.asarray(last["image"], np.float32) / 255)
    np.testing.assert_array_equal(validation.labels, last["label"])
    assert (len(validation), len(data.load("mnist", "train"))) == (5000, 55000)


def test_celeba_is_cropped_and_scaled_as_the_paper_says(celeba):
    assert celeba.images.shape == (2500, 64, 64, 3)
    assert celeba.bounds == (-1.0, 1.0)
    builder = tfds.builder("celeb_a", data_dir=os.environ["TFDS_DATA_DIR"])
    for i, example in enumerate(builder.as_dataset(split="test").take(3)):
        crop = example["image"].numpy()[50:178, 25:153].astype(np.float64)
        halved = crop.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        # Decoding a crop may differ from cropping a decoded image by a grey level.
        np.testing.assert_allclose(celeba.images[i], halved / 127.5 - 1, atol=2.1 / 127.5)
        assert celeba.labels[i] == int(example["attributes"]["Male"])


@pytest.fixture
def celeba_folder(tmp_path, monkeypatch):
    """CelebA as its authors hand it out, with four grey images: two to train on, one for each other split."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    lines = ["4", "Bald Male Young"]
    for number, male, level in ((1, -1, 0), (2, 1, 255), (162_771, 1, 51), (202_599, -1, 204)):
        image = np.full((218, 178, 3), level, np.uint8)
        (folder / f"{number:06}.jpg").write_bytes(tf.io.encode_jpeg(image).numpy())
        lines.append(f"{number:06}.jpg 1 {male:2} -1")
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_celeba_may_be_a_plain_folder(celeba_folder):
    train = data.load("celeb_a", "train")
    assert train.labels.tolist() == [0, 1]
    np.testing.assert_allclose(train.images.mean(axis=(1, 2, 3)), [-1, 1], atol=1e-6)
    validation, test = data.load("celeb_a", "validation"), data.load("celeb_a", "test")
    assert (validation.labels.tolist(), test.labels.tolist()) == ([1], [0])
    np.testing.assert_allclose([validation.images.mean(), test.images.mean()], [-0.6, 0.6], atol=1e-6)


def test_rejects_celeba_folder_that_is_not_whole(celeba_folder):
    first = celeba_folder / "000001.jpg"
    whole = first.read_bytes()
    first.write_bytes(tf.io.encode_jpeg(np.zeros((64, 64, 3), np.uint8)).numpy())
    with pytest.raises(InputError, match=r"000001.jpg.* has shape \[64 64 3\]; aligned CelebA has 218×178×3"):
        data.load("celeb_a", "train")
    first.write_bytes(whole[:200])
    with pytest.raises(InputError, match="cannot be read after image 0 of 2"):
        data.load("celeb_a", "train")
    first.unlink()
    with pytest.raises(InputError, match=r"lacks 1 of the 2 images of 'train'.* first '000001.jpg'"):
        data.load("celeb_a", "train")
    (celeba_folder.parent / "list_attr_celeba.txt").unlink()
    with pytest.raises(InputError, match=r"no list_attr_celeba\.txt beside it"):
        data.load("celeb_a", "train")


def test_celeba_that_is_nowhere_to_be_had_says_where_to_put_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(celeba_source, "_DOWNLOAD", NOWHERE)
    with pytest.raises(InputError, match=r"has no data set 'celeb_a'.*img_align_celeba/"):
        data.load("celeb_a")


def test_rejects_partial_celeba(monkeypatch, tmp_path, celeba):
    source = next(Path(os.environ["TFDS_DATA_DIR"]).glob("celeb_a/*"))
    target = tmp_path / "celeb_a" / source.name
    target.mkdir(parents=True)
    for file in source.iterdir():
        if "test" not in file.name:
            (target / file.name).symlink_to(file)
        elif file.name.endswith(tuple("0123456789")):
            (target / file.name).write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(InputError, match=r"celeb_a in .* incomplete or damaged"):
        data.load("celeb_a", "test")


@pytest.fixture
def photographs(tmp_path):
    """A folder of four images, wider or higher than what is cut out of them, and their list."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    rows = np.linspace(0, 255, 60).astype(np.uint8)[:, np.newaxis, np.newaxis]
    wide = np.broadcast_to(rows, (60, 100, 3))
    (folder / "wide 1.png").write_bytes(tf.io.encode_png(wide).numpy())
    (folder / "high.png").write_bytes(tf.io.encode_png(wide.transpose(1, 0, 2)).numpy())
    (folder / "grey.jpg").write_bytes(tf.io.encode_jpeg(np.full((50, 50, 1), 204, np.uint8)).numpy())
    (folder / "broken.jpg").write_bytes((folder / "grey.jpg").read_bytes()[:150])
    (folder / "labels.txt").write_text("wide 1.png 3\nbroken.jpg 1\nhigh.png 0\n\ngrey.jpg 999\n")
    return folder


def test_photographs_come_from_a_folder(photographs):
    found = data.load_folder(photographs, size=28)
    assert found.images.shape == (3, 28, 28, 3)
    assert found.images.dtype == np.float32
    assert (found.name, found.bounds, found.skipped) == ("photographs", (-1.0, 1.0), ("broken.jpg",))
    assert found.labels.tolist() == [3, 0, 999]
    # The shorter side becomes 32, of which the middle 28 are kept: 28/32 of a ramp from −1 to 1, one level a row.
    ramp = found.images[0, :, 14, 0]
    assert ramp[0] == pytest.approx(-28 / 32, abs=0.06)
    assert ramp[-1] == pytest.approx(28 / 32, abs=0.06)
    np.testing.assert_allclose(
        found.images[0], np.broadcast_to(ramp[:, np.newaxis, np.newaxis], (28, 28, 3)), atol=1e-5
    )
    np.testing.assert_allclose(found.images[1], found.images[0].transpose(1, 0, 2), atol=1e-5)
    np.testing.assert_allclose(found.images[2], 204 / 127.5 - 1, atol=0.02)


def test_the_first_photographs_are_those_that_can_be_read(photographs):
    assert data.load_folder(photographs, n=2, size=28).labels.tolist() == [3, 0]
    with pytest.raises(InputError, match=r"4 images were asked for; photographs has 3, and 1 .*'broken.jpg' first"):
        data.load_folder(photographs, n=4, size=28)


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ("high.png\n", "has the line 'high.png'; it must be a file name and a class"),
        ("high.png -1\n", "has the line 'high.png -1'"),
        ("low.png 1\n", "lists 'low.png', which is not in the folder"),
        (None, r"has no labels\.txt"),
    ],
)
def test_rejects_folder_whose_list_is_wrong(photographs, listed, sentence):
    (photographs / "labels.txt").unlink()
    if listed is not None:
        (photographs / "labels.txt").write_text(listed)
    with pytest.raises(InputError, match=sentence):
        data.load_folder(photographs)


def test_imagenet_comes_through_tfds(imagenet):
    few = data.load_imagenet("train", n=3, size=64)
    assert few.images.shape == (3, 64, 64, 3)
    assert (few.name, few.split, few.bounds) == ("imagenet2012", "train", (-1.0, 1.0))
    assert -1 <= few.images.min() < -0.5 < 0.5 < few.images.max() <= 1
    assert np.all((few.labels >= 0) & (few.labels < 1000))
    assert len(np.unique(few.labels)) == 3
    with pytest.raises(InputError, match=r"imagenet2012 has no split 'val' here; it has .*train"):
        data.load_imagenet("val")


def test_imagenet_that_is_not_there_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(
        InputError, match="has no data set 'imagenet2012', which cannot be downloaded without an account"
    ):
        data.load_imagenet()


def test_take_and_batches(digits):
    assert len(digits.take(7)) == 7
    assert [len(labels) for _, labels in digits.take(7).batches(3)] == [3, 3, 1]
    for n in (0, -1, 401):
        with pytest.raises(InputError, match=f"{n} images were asked for"):
            digits.take(n)


def test_rejects_unknown_names():
    with pytest.raises(InputError, match=r"no data set 'mnits'; there are .*mnist.* Did you mean 'mnist'"):
        data.load("mnits")
    with pytest.raises(InputError, match="no split 'dev'; there are train, validation, test"):
        data.load("digits", "dev")


def test_without_data_and_network_the_digits_stand_in(monkeypatch, tmp_path):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(mnist_source, "_DOWNLOAD", NOWHERE)
    assert data.mnist_or_digits() == "digits"


def test_data_directory_without_mnist_is_a_mistake_not_a_wish_for_digits(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(mnist_source, "_DOWNLOAD", NOWHERE)
    for ask in (data.mnist_or_digits, lambda: data.load("mnist")):
        with pytest.raises(InputError, match="has no data set 'mnist'") as error:
            ask()
        assert str(tmp_path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_host_that_answers_is_reachable_and_one_that_does_not_is_not():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert data.tfds.reachable(f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()
    assert not data.tfds.reachable(NOWHERE)
