"""Units of work on Ray, which starts here with two cores, beside the same in this process."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import ray
from click.testing import CliRunner

from inc_tf import checkpoints
from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.evaluation.cluster import Agreement
from inc_tf.evaluation.run import CheckpointParts
from inc_tf.evaluation.units import Blueprint, Cluster, Unit

pytestmark = pytest.mark.slow

AGREEMENT = Agreement.on(["digits-classifier"])
BLUEPRINT = Blueprint(CheckpointParts("digits", (("classifier", "digits-classifier"),)), 0, AGREEMENT)


def numbered(i: int, function) -> Unit:
    """The unit of that number, which computes `function(bench, i)`."""
    return Unit({"unit": i}, lambda bench: function(bench, i), f"unit {i}")


def compute(units: list[Unit], blueprint: Blueprint = BLUEPRINT) -> tuple[dict, dict]:
    """The answers by the unit's number, and the failures."""
    found = {}

    def done(unit, arrays, seconds):
        assert unit.key["unit"] not in found
        found[unit.key["unit"]] = arrays["a"]

    return found, Cluster("local").compute(blueprint, units, done)


def test_record_is_that_of_one_process(ray_here, tmp_path):
    words = ["reproduce", "figure_15", "--dataset", "digits", "--n", "20", "--quiet", "--json"]
    records = []
    for more in (["--ray"], []):
        out = tmp_path / ("ray" if more else "here")
        units = ["--units", str(tmp_path / "units")] if more else []
        done = CliRunner().invoke(main, [*words, *units, "--out", str(out), *more], catch_exceptions=False)
        records.append(json.loads(done.stdout))
    rows = [record.pop("rows") for record in records]
    for record in records:
        assert record.pop("seconds") > 0
    assert records[0] == records[1]
    numbers = [[[row.pop(name) for name in ("value", "low", "high")] for row in side] for side in rows]
    assert rows[0] == rows[1]
    # TensorFlow adds up a few images otherwise on one core than on two.
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-5)
    assert len(list((tmp_path / "units").glob("*.npz"))) == len(list((tmp_path / "here" / "units").glob("*.npz")))


def test_unit_whose_worker_dies_is_tried_again_and_counted_once(ray_here, tmp_path):
    def dies_at_first(bench, i):
        marker = tmp_path / str(i)
        if i == 3 and not marker.exists():
            marker.touch()
            os._exit(1)
        return {"a": np.array(i)}

    found, failed = compute([numbered(i, dies_at_first) for i in range(8)])
    assert found == {i: i for i in range(8)}
    assert failed == {}
    assert [path.name for path in tmp_path.iterdir()] == ["3"]


def test_names_what_fails_for_good_and_keeps_the_rest(ray_here):
    def divide(bench, i):
        return {"a": np.array(12 // i)}

    found, failed = compute([numbered(i, divide) for i in range(4)])
    assert found == {1: 12, 2: 6, 3: 4}
    assert list(failed) == ["unit 0"]
    assert "ZeroDivisionError" in failed["unit 0"]


def test_refuses_worker_with_another_version_or_checkpoint(ray_here):
    unit = numbered(0, lambda bench, i: {"a": np.array(i)})
    with pytest.raises(InputError, match=r"A worker has inc-tf .*, and the run has 0\.0\.1"):
        compute([unit], replace(BLUEPRINT, agreement=replace(AGREEMENT, version="0.0.1")))
    other = replace(AGREEMENT, hashes=(("digits-classifier", "0" * 64),))
    with pytest.raises(InputError, match="another checkpoint 'digits-classifier'") as error:
        compute([unit], replace(BLUEPRINT, agreement=other))
    assert checkpoints.card("digits-classifier")["sha256"][:12] in str(error.value)


def test_unreachable_cluster_is_one_sentence(tmp_path):
    ray.shutdown()
    words = ["reproduce", "figure_12", "--dataset", "digits", "--n", "4", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*words, "--ray", "127.0.0.1:1"])
    assert done.exit_code == 1
    assert "There is no Ray cluster at '127.0.0.1:1': Connection refused" in done.stderr
    assert not (tmp_path / "out").exists()
