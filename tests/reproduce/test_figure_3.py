import json

import numpy as np
import pytest
from click.testing import CliRunner

import inc_tf as inc
from inc_tf import data
from inc_tf.cli.main import main

pytestmark = pytest.mark.slow

N = 6
BEFORE = {
    0.0: (1.0, 1.0, 1.14778),
    0.05: (1.0, 1.0, 1.671527),
    0.1: (2 / 3, 1.0, 2.612687),
    0.15: (1 / 3, 5 / 6, 3.620025),
    0.2: (1 / 3, 5 / 6, 4.626328),
    0.25: (0.0, 5 / 6, 5.607491),
    0.3: (0.0, 2 / 3, 6.540772),
}
"""What the script said before it was rewritten, by ε: accuracy undefended and behind INC, and INC's mean distance."""


def run(out, *words: str) -> str:
    answer = CliRunner().invoke(
        main,
        ["reproduce", "figure_3", "--dataset", "digits", "--out", str(out), "--quiet", *words],
        catch_exceptions=False,
    )
    assert answer.exit_code == 0
    return answer.output


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    return out, run(out, "--n", str(N))


def test_it_writes_a_record_a_table_and_a_plot_and_prints_the_table(results):
    out, printed = results
    record = json.loads((out / "figure_3-digits.json").read_text())
    assert record["command"] == f"inc reproduce figure_3 --dataset digits --n {N}"
    assert (record["dataset"], record["quick"], record["seed"]) == ("digits", True, 0)
    assert record["deviations"] == [data.SOURCES["digits"].notice]
    assert record["checkpoints"]["digits-vae"] == inc.checkpoints.card("digits-vae")["sha256"]
    assert {(row["defense"], row["metric"]) for row in record["rows"]} == {
        ("undefended", "accuracy"),
        ("inc", "accuracy"),
        ("inc", "distance"),
    }
    assert len(record["rows"]) == 3 * 7
    assert all(row["low"] <= row["value"] <= row["high"] and row["n"] == N for row in record["rows"])
    assert (out / "figure_3-digits.md").read_text().strip() in printed
    assert (out / "figure_3-digits.png").read_bytes().startswith(b"\x89PNG")


def test_says_what_it_said_before(results):
    rows = json.loads((results[0] / "figure_3-digits.json").read_text())["rows"]
    found = {(row["defense"], row["metric"], row["epsilon"]): row["value"] for row in rows}
    for epsilon, (undefended, inc_accuracy, distance) in BEFORE.items():
        assert found["undefended", "accuracy", epsilon] == undefended
        assert found["inc", "accuracy", epsilon] == inc_accuracy
        assert found["inc", "distance", epsilon] == pytest.approx(distance, rel=1e-4)


def test_its_figures_are_those_of_the_library(results, classifier, vae, digits):
    record = json.loads((results[0] / "figure_3-digits.json").read_text())
    few = digits.take(N)
    attacked = inc.attacks.fgsm(classifier, few.images, few.labels, bounds=few.bounds, epsilon=0.2)
    found = {
        "undefended": np.argmax(classifier(attacked), axis=1),
        "inc": inc.InvertAndClassify(classifier, inc.LatentProjector(vae.generator))(attacked).predictions,
    }
    for name, predictions in found.items():
        (row,) = [
            row for row in record["rows"] if (row["defense"], row["metric"], row["epsilon"]) == (name, "accuracy", 0.2)
        ]
        assert row["value"] == pytest.approx(np.mean(predictions == few.labels))


def test_finished_work_is_not_done_again(results):
    out, _ = results
    before = {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()}
    first = json.loads((out / "figure_3-digits.json").read_text())
    run(out, "--n", str(N))
    assert {path: path.stat().st_mtime_ns for path in (out / "units").iterdir()} == before
    assert json.loads((out / "figure_3-digits.json").read_text()) == first
