import http.server
import threading

import numpy as np
import pytest

from inc_tf import data
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


def test_mnist_keeps_5000_training_images_back(mnist):
    train, validation = data.load("mnist", "train"), data.load("mnist", "validation")
    assert (len(train), len(validation)) == (55000, 5000)


def test_take_and_batches(digits):
    assert len(digits.take(7)) == 7
    assert [len(labels) for _, labels in digits.take(7).batches(3)] == [3, 3, 1]
    for n in (0, -1, 401):
        with pytest.raises(InputError, match=f"{n} images were asked for"):
            digits.take(n)


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match="no data set 'mnits'; there are mnist, digits"):
        data.load("mnits")
    with pytest.raises(InputError, match="no split 'dev'; there are train, validation, test"):
        data.load("digits", "dev")


def test_without_data_and_network_the_digits_stand_in(monkeypatch, tmp_path):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(data, "_MNIST_SOURCE", NOWHERE)
    assert data.mnist_or_digits() == "digits"


def test_a_data_directory_without_mnist_is_a_mistake_not_a_wish_for_digits(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(data, "_MNIST_SOURCE", NOWHERE)
    for ask in (data.mnist_or_digits, lambda: data.load("mnist")):
        with pytest.raises(InputError, match="has no data set 'mnist'") as error:
            ask()
        assert str(tmp_path) in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_answers_is_reachable_and_one_that_does_not_is_not():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert data._reachable(f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()
    assert not data._reachable(NOWHERE)
