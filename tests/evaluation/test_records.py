import json

import numpy as np
import pytest

from inc_tf import estimates
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.tables import interval
from inc_tf.saving import write_text


def test_record_has_the_agreed_form(tmp_path):
    record = Record("figure_3", "inc reproduce figure_3", "mnist", True, 0, {"mnist-vae": "ab"})
    estimate = estimates.share(np.arange(10) < 7)
    record.add(estimate, metric="accuracy", defense="inc", attack="fgsm", epsilon=0.1, paper=0.9)
    record.write(tmp_path / "figure_3.json")
    found = json.loads((tmp_path / "figure_3.json").read_text())
    assert set(found) == {
        *("artefact", "command", "dataset", "quick", "seed", "seconds", "device", "commit", "versions", "checkpoints"),
        *("deviations", "rows"),
    }
    (row,) = found["rows"]
    assert row == {
        **{"defense": "inc", "attack": "fgsm", "epsilon": 0.1, "metric": "accuracy", "n": 10, "value": 0.7},
        **{"low": pytest.approx(0.3968, abs=1e-4), "high": pytest.approx(0.8922, abs=1e-4), "paper": 0.9},
    }
    assert found["versions"]["tensorflow"].startswith("2.")
    assert record.select(defense="inc", epsilon=0.1) == record.rows
    assert record.select(defense="undefended") == []


def test_write_that_fails_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "folder" / "table.md"
    write_text(path, "whole")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert path.read_text() == "whole"


def test_one_value_has_no_interval(tmp_path):
    record = Record("figure_3", "inc reproduce figure_3", "mnist", True, 0, {})
    record.add(estimates.mean(np.array([0.25])), metric="distance")
    record.write(tmp_path / "figure_3.json")
    (row,) = json.loads((tmp_path / "figure_3.json").read_text(), parse_constant=pytest.fail)["rows"]
    assert (row["value"], row["low"], row["high"], row["n"]) == (0.25, None, None, 1)
    assert interval(record.rows[0]) == "0.250"


@pytest.mark.parametrize(
    ("value", "low", "high", "cell"),
    [(0.5, 0.25, 0.75, "0.500 (0.250–0.750)"), (-0.5, -0.75, 0.25, "−0.500 (−0.750 to 0.250)")],
)
def test_an_interval_below_zero_is_read_as_one(value, low, high, cell):
    assert interval({"value": value, "low": low, "high": high}) == cell
