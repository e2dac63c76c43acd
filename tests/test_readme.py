"""The README's first ten lines run, and the tables of README and docs are those of the records."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_first_ten_lines_run():
    (code,) = re.findall(r"```python\n(.*?)```", PAGES[0].read_text(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    names: dict = {}
    exec(code, names)
    answer = names["answer"]
    assert answer.predictions.shape == answer.rejected.shape == answer.distances.shape == (100,)
    assert answer.projections.shape == (100, 28, 28, 1)
    share_right = (answer.predictions.numpy() == names["test"].labels).mean()
    assert share_right >= 0.9


def test_the_tutorial_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(), flags=re.DOTALL):
        exec(code, names)
    right, labels = names["right"], names["test"].labels
    assert names["accuracy"].value >= 0.9
    assert names["accuracy"].n == len(labels) == 40
    # The gradient through the search finds what the classifier's own does not.
    assert right(names["on_search"]) < right(names["on_classifier"])
    assert {path.name for path in tmp_path.iterdir()} == {
        "classifier.keras",
        "generator.keras",
        "encoder.keras",
        "test.npz",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_pages_tables_are_those_of_the_records(page):
    text = page.read_text()
    names = re.findall(r"<!-- (docs/results/\S+\.md) -->", text)
    for name in names:
        assert (ROOT / name).read_text().strip() in text
    assert names or page.name != "README.md"


def test_every_result_that_is_shown_has_its_record():
    shown = {path.stem for path in (ROOT / "docs" / "results").glob("*.md")}
    records = {path.stem for path in (ROOT / "docs" / "results").glob("*.json")}
    assert shown <= records
