"""The benchmarks take too long for tests; they can be imported, and draw what their records hold."""

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_it_is_imported(name):
    if name == "pytorch_peer":
        pytest.importorskip("torch")
    assert importlib.import_module(name).__doc__


def test_error_against_time_is_drawn_from_the_record(tmp_path):
    projection = importlib.import_module("projection")
    record = json.loads((FOLDER / "results" / "projection-solvers.json").read_text())
    projection.plot(record, tmp_path / "solvers.png")
    assert (tmp_path / "solvers.png").read_bytes().startswith(b"\x89PNG")


def test_peak_memory_is_that_of_a_process_of_its_own():
    machine = importlib.import_module("machine")
    holds_a_gib = "held = numpy.ones(2**27)"
    code = f"import machine, numpy; before = machine.peak_gib(); {holds_a_gib}; print(before, machine.peak_gib())"
    before, peak = machine.elsewhere(code)
    assert peak - before == pytest.approx(1.0, abs=0.05)
