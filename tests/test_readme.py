"""The README's first ten lines run, and its tables are those of the records."""

import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_first_ten_lines_run():
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 10
    names: dict = {}
    exec(code, names)
    answer = names["answer"]
    assert answer.predictions.shape == answer.rejected.shape == answer.distances.shape == (100,)
    assert answer.projections.shape == (100, 28, 28, 1)
    share_right = (answer.predictions.numpy() == names["test"].labels).mean()
    assert share_right >= 0.9


def test_its_tables_are_those_of_the_records():
    results = Path(__file__).parent.parent / "docs" / "results"
    names = re.findall(r"<!-- (docs/results/\S+\.md) -->", README)
    assert names
    for name in names:
        assert (results.parent.parent / name).read_text().strip() in README
