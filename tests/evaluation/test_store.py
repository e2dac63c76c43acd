import numpy as np
import pytest

from inc_tf.evaluation.store import Store


class Counter:
    def __init__(self, value: float = 1.0):
        self.calls, self.value = 0, value

    def __call__(self):
        self.calls += 1
        return {"a": np.full(3, self.value), "b": np.array([True, False])}


def test_an_answer_is_computed_once_and_kept(tmp_path):
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


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError):
        Store(tmp_path).get({"seed": 0}, lambda: {"a": np.array(1 // 0)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [0, 10, -20])
def test_a_damaged_answer_is_computed_again(tmp_path, keep):
    Store(tmp_path).get({"seed": 0}, Counter(1.0))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    assert Store(tmp_path).get({"seed": 0}, Counter(2.0))["a"][0] == 2.0
    assert Store(tmp_path).get({"seed": 0}, Counter(3.0))["a"][0] == 2.0
