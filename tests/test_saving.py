"""Files that people have: what is loaded, and what is said of the others. Nothing in them is run."""

import io
import json
import math
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from inc_tf import InputError, data
from inc_tf.saving import load_file, to_json


class Unregistered(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2


def doubled(inputs):
    return inputs * 2


def model(*middle) -> keras.Model:
    return keras.Sequential([keras.Input((3,)), *middle, keras.layers.Dense(2)])


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_loads_what_keras_saved(name, tmp_path):
    saved = model()
    saved.save(tmp_path / name)
    loaded = load_file(tmp_path / name)
    np.testing.assert_array_equal(loaded(np.ones((1, 3))), saved(np.ones((1, 3))))


@pytest.mark.parametrize(
    ("name", "write", "sentence"),
    [
        ("a.keras", lambda path: model(Unregistered()).save(path), "Keras does not know its 'Unregistered'; decorate"),
        ("a.keras", lambda path: model(keras.layers.Activation(doubled)).save(path), "does not know its 'doubled'"),
        ("a.keras", lambda path: model(keras.layers.Lambda(lambda x: x * 2)).save(path), "it has a Lambda layer"),
        ("a.h5", lambda path: model(keras.layers.Lambda(lambda x: x * 2)).save(path), "it has a Lambda layer"),
        ("a.weights.h5", lambda path: model().save_weights(path), "it holds weights alone"),
        ("a", lambda path: model().export(path, verbose=False), "is a folder, as a SavedModel is"),
        ("a.keras", lambda path: path.write_text("no model"), "it is not a .keras file"),
        ("a.pt", lambda path: path.write_text("no model"), "it is not a .keras file"),
        ("a.keras", lambda path: None, "There is no file"),
    ],
)
def test_says_what_a_file_is_that_cannot_be_loaded(name, write, sentence, tmp_path):
    write(tmp_path / name)
    with pytest.raises(InputError, match=sentence) as error:
        load_file(tmp_path / name)
    assert "\n" not in str(error.value)
    assert len(str(error.value).replace(str(tmp_path), "")) < 300


def test_an_archive_of_one_array_is_refused_and_a_column_of_labels_beside_objects_is_taken(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 3, 1), np.float32))
    with pytest.raises(InputError, match="is not a NumPy archive"):
        data.load_archive(tmp_path / "images.npy")
    np.savez(tmp_path / "both.npz", images=np.zeros((2, 3, 3, 1)), labels=np.array([[1], [2]]), files=np.array([None]))
    np.testing.assert_array_equal(data.load_archive(tmp_path / "both.npz").labels, [1, 2])


def of_bytes(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images", "no array")
        file.writestr("labels", "no array")


def of_a_huge_shape(path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", header.getvalue())


def cut_short(path):
    header = io.BytesIO()
    np.save(header, np.zeros((2, 3, 3, 1), np.float32))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", header.getvalue()[:30])


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (Path.mkdir, "is a folder; it must be a NumPy archive"),
        (lambda path: path.write_bytes(b""), "is not a NumPy archive, or is damaged; np.savez"),
        (cut_short, "is not a NumPy archive, or is damaged; np.savez"),
        (of_bytes, r"holds images bytes64 \[\] and labels bytes64 \[\]; they must be float"),
        (of_a_huge_shape, "holds more than this machine's memory does"),
        (lambda path: np.savez(path, images=np.array([{}]), labels=[0]), "holds an array of Python objects; np.savez"),
        (lambda path: np.savez(path, images=np.zeros((0, 3, 3, 1)), labels=np.zeros(0, int)), r"integers \[N\], N ≥ 1"),
        (lambda path: np.savez(path, images=np.float32(3), labels=[0]), r"holds images float32 \[\]"),
        (lambda path: np.savez(path, np.zeros(3)), "holds arr_0; it must hold images and labels"),
    ],
)
def test_says_what_an_archive_of_another_kind_holds(write, sentence, tmp_path):
    write(tmp_path / "data.npz")
    with pytest.raises(InputError, match=sentence):
        data.load_archive(tmp_path / "data.npz")


def test_json_has_no_nan():
    found = to_json({"rows": [{"value": 1.5, "low": math.nan, "high": math.inf}], "n": (1, -math.inf)})
    assert json.loads(found, parse_constant=pytest.fail) == {
        "rows": [{"value": 1.5, "low": None, "high": None}],
        "n": [1, None],
    }
