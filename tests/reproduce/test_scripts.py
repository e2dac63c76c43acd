"""Every script runs, quick, on the bundled digits, and writes a record of the agreed form."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from inc_tf.reproduce import arena, table_1

from inc_tf.cli.main import main

pytestmark = pytest.mark.system

SCRIPTS = {
    "adaptive": ["--n", "2", "--n-search", "2", "--epsilon", "0.3"],
    "adaptive_generators": ["--n", "2", "--n-search", "1", "--epsilon", "0.3"],
    "arena": ["--n", "2", "--n-search", "2", "--epsilon", "0.3", "--copies", "50"],
    "figure_3_solvers": ["--n", "10"],
    "figure_4": ["--n", "10"],
    "figure_5": ["--n", "10", "--queries", "30"],
    "figure_12": ["--n", "10"],
    "figure_13": ["--n", "10"],
    "figure_14": ["--n", "10"],
    "figure_15": ["--n", "10"],
    "section_4_2_3": ["--n", "10", "--inversions", "30"],
    "section_4_3": ["--n", "8", "--steps", "200"],
    "figure_6": ["--n", "8", "--steps", "200"],
    "figure_7": [],
    "figure_8": ["--n", "8", "--steps", "40"],
    "figure_9": ["--n", "8", "--steps", "200"],
    "rejection": ["--n", "10", "--n-cw", "2"],
    "shortfall": ["--n", "10", "--most", "250"],
    "table_1": ["--n", "10", "--n-cw", "2"],
}


def test_command_line_finds_every_script():
    folder = Path(__file__).parents[2] / "reproduce"
    scripts = {path.stem for path in folder.glob("*.py") if not path.name.startswith("_")}
    assert scripts == {*SCRIPTS, "figure_3", "began_training", "table_2", "figure_10", "adaptive_dip"}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One folder for all scripts, so that they share what they have in common."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture
def short(short_runs, monkeypatch):
    """Short searches and attacks: what long ones find is tested with the solvers, with Figure 3 and with each."""
    for attack in table_1.CARLINI_WAGNER:
        monkeypatch.setitem(attack.settings, "iterations", 5)
    monkeypatch.setattr(arena, "TIMES", arena.TIMES[:2])


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_writes_its_record_table_and_plot(name, out, short, request):
    if name == "adaptive":  # the page with all attacks has tests of its own
        request.getfixturevalue("few_attacks")
    words = ["reproduce", name, "--dataset", "digits", "--out", str(out), "--quiet", *SCRIPTS[name]]
    answer = CliRunner().invoke(main, words, catch_exceptions=False)
    assert answer.exit_code == 0
    record = json.loads((out / f"{name}-digits.json").read_text())
    assert record["artefact"] == name
    assert record["quick"] is (name != "figure_7")  # which counts nothing
    assert record["rows"]
    for row in record["rows"]:
        assert row["low"] <= row["value"] <= row["high"]
        # A clean accuracy of the whole split, a threshold of 200 validation images, and a t* of 100.
        assert 1 <= row["n"] <= {"section_4_3": 400, "adaptive": 200, "arena": 100}.get(name, 30)
    assert (out / f"{name}-digits.md").read_text().strip() in answer.output
    assert (out / f"{name}-digits.png").read_bytes().startswith(b"\x89PNG")
