"""Files that people have: what is loaded, and what is said of the others. Nothing in them is run."""

import keras
import numpy as np
import pytest

from inc_tf import InputError, data
from inc_tf.saving import load_file


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


def test_an_archive_of_one_array_is_refused_and_a_column_of_labels_is_taken(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 3, 1), np.float32))
    with pytest.raises(InputError, match="is not a NumPy archive"):
        data.load_archive(tmp_path / "images.npy")
    np.savez(tmp_path / "both.npz", images=np.zeros((2, 3, 3, 1)), labels=np.array([[1], [2]]))
    np.testing.assert_array_equal(data.load_archive(tmp_path / "both.npz").labels, [1, 2])
