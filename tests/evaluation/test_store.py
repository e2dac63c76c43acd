import json

import numpy as np
import pytest

from inc_tf.errors import InputError
from inc_tf.evaluation import store
from inc_tf.evaluation.records import Record, environment
from inc_tf.evaluation.store import Store


class Counter:
    def __init__(self, value: float = 1.0):
        self.calls, self.value = 0, value

    def __call__(self):
        self.calls += 1
        return {"a": np.full(3, self.value), "b": np.array([True, False])}


def test_answer_is_computed_once_and_kept(tmp_path):
    compute = Counter()
    first = Store(tmp_path).get({"epsilon": 0.1, "seed": 0}, compute)
    again = Store(tmp_path).get({"seed": 0, "epsilon": 0.1}, compute)
    assert compute.calls == 1
    assert set(again) == {"a", "b"}
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert first[name].dtype == again[name].dtype


def test_another_key_asks_again(tmp_path):
    store = Store(tmp_path)
    store.get({"seed": 0}, Counter(1.0))
    assert store.get({"seed": 1}, Counter(2.0))["a"][0] == 2.0
    assert store.get({"seed": 0}, Counter(3.0))["a"][0] == 1.0


def test_seconds_are_those_of_the_computation_in_whichever_run(tmp_path):
    first = Store(tmp_path)
    first.get({"seed": 0}, lambda: {"a": np.linalg.eigvals(np.random.default_rng(0).normal(size=(300, 300)))})
    second = Store(tmp_path)
    second.get({"seed": 0}, Counter())
    assert second.seconds == first.seconds > 0


def test_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError):
        Store(tmp_path).get({"seed": 0}, lambda: {"a": np.array(1 // 0)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 10, -20])
def test_damaged_answer_is_computed_again(tmp_path, keep):
    Store(tmp_path).get({"seed": 0}, Counter(1.0))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert Store(tmp_path).get({"seed": 0}, Counter(2.0))["a"][0] == 2.0
    assert Store(tmp_path).get({"seed": 0}, Counter(3.0))["a"][0] == 2.0


def test_says_who_computed_it(tmp_path, monkeypatch):
    elsewhere = {"device": "a GPU", "commit": "0123", "versions": {"python": "3.13.0", "keras": "9.9"}}
    with monkeypatch.context() as patch:
        patch.setattr(store, "environment", lambda: elsewhere)
        Store(tmp_path).get({"seed": 0}, Counter())
    reader, here = Store(tmp_path), environment()
    reader.get({"seed": 0}, Counter())
    assert reader.computed_by == [elsewhere]
    reader.get({"seed": 1}, Counter())
    reader.get({"seed": 2}, Counter())
    assert reader.computed_by == [elsewhere, here]
    Record("a", "inc", "digits", True, 0, {}).write(tmp_path / "a.json", reader.computed_by)
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["device"] == f"a GPU, {here['device']}"
    assert record["commit"] == f"0123, {here['commit']}"
    assert record["versions"]["keras"] == f"9.9, {here['versions']['keras']}"
    assert record["versions"]["numpy"] == np.__version__


def test_answers_of_another_format_are_computed_again(tmp_path, monkeypatch):
    Store(tmp_path).get({"seed": 0}, Counter(1.0))
    monkeypatch.setattr(store, "FORMAT", store.FORMAT + 1)
    assert {"seed": 0} not in Store(tmp_path)
    assert Store(tmp_path).get({"seed": 0}, Counter(2.0))["a"][0] == 2.0


def test_rejects_folder_that_is_a_file_and_unknown_url(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written .* What was finished before is kept"):
        Store(tmp_path / "file").get({"seed": 0}, Counter())
    with pytest.raises(InputError, match="neither a folder nor a URL"):
        Store("nonsense://bucket")
