"""What the benchmark of scale says of its runs: ratios, records that are the same, failures that it injects."""

from types import SimpleNamespace

import numpy as np
import pytest
import scale
import scale_sweep

from inc_tf.evaluation.units import Unit

ROW = {"defense": "inc-fast", "metric": "distance", "n": 100, "value": 1.5, "paper": None}
RECORD = {"artefact": "scale_sweep", "seed": 0, "seconds": 4.0, "device": "2 cores", "rows": [ROW]}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"seconds": 9.0, "device": "another"}, True),
        ({"rows": [{**ROW, "value": 1.5 * (1 + 1e-7)}]}, True),
        ({"rows": [{**ROW, "value": 1.5 * (1 + 1e-5)}]}, False),
        ({"rows": [{**ROW, "n": 95}]}, False),
        ({"rows": [ROW, ROW]}, False),
        ({"rows": [{name: ROW[name] for name in ("defense", "n")}]}, False),
        ({"seed": 1}, False),
    ],
)
def test_records_are_the_same_but_for_time_place_and_rounding(change, expected):
    assert scale.same(RECORD, {**RECORD, **change}) is expected


def test_ratios_are_to_the_bare_loop_and_to_one_worker():
    names = ("bare loop", "script, store", "ray, 1 worker", "ray, 2 workers", "two bare loops at once")
    times = dict(zip(names, ([10.0, 30.0], [10.5, 60.0], [11.0, 20.0], [5.5, 9.0], [12.5, 70.0]), strict=True))
    found = scale.ratios(times, min)
    assert found["what"] == "ratios of least"
    assert [found[name] for name in ("store_adds", "ray_adds", "speedup", "machine_allows")] == pytest.approx(
        [0.05, 0.1, 2.0, 1.6]
    )
    assert scale.ratios(times, np.median)["speedup"] == pytest.approx(15.5 / 7.25)


def test_one_unit_in_twenty_raises_on_its_first_tries_and_then_answers(tmp_path):
    given: list[Unit] = []
    run = SimpleNamespace(ahead=lambda units, total: given.extend(units))
    scale_sweep.inject(run, tmp_path, 2)
    units = [Unit({"unit": i}, lambda bench, i=i: {"a": np.array(i)}, f"unit {i}") for i in range(2000)]
    run.ahead(units, len(units))
    failing = [i for i, unit in enumerate(given) if isinstance(unit.compute, scale_sweep.Failing)]
    assert 70 <= len(failing) <= 130
    first = given[failing[0]].compute
    for tries in (1, 2):
        with pytest.raises(RuntimeError, match=f"injected failure {tries} of 2"):
            first(None)
    assert first(None) == {"a": failing[0]}
    assert len(list(tmp_path.iterdir())) == 2
