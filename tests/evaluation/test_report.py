"""The page of results: what the records say, all of it, and no picture that may not be passed on."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.evaluation import report

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = sorted((DOCS / "results").glob("*.json"))


@pytest.fixture
def results(tmp_path) -> Path:
    """A folder with one record of the digits, and one of CelebA's Figure 4 with its picture."""
    folder = tmp_path / "records"
    folder.mkdir()
    for name, artefact, dataset in [("figure_3", "figure_3", "digits"), ("figure_4", "figure_4", "celeb_a")]:
        record = json.loads((DOCS / "results" / "figure_3.json").read_text())
        record |= {"artefact": artefact, "dataset": dataset, "seconds": 600.0}
        (folder / f"{name}.json").write_text(json.dumps(record))
        (folder / f"{name}.md").write_text(f"| the table of {name} |\n|---|\n| 1 |\n")
        shutil.copy(DOCS / "results" / "figure_3.png", folder / f"{name}.png")
    return folder


def test_page_has_every_figure_of_every_record():
    page = report.page(DOCS / "results", DOCS)
    for path in RECORDS:
        record = json.loads(path.read_text())
        assert f"`{record['command']}`" in page
        assert path.with_suffix(".md").read_text().strip() in page
        for deviation in record["deviations"]:
            assert f"- {deviation}" in page
    rows = sum(len(json.loads(path.read_text())["rows"]) for path in RECORDS)
    assert sum(int(part.split(maxsplit=1)[0]) for part in page.split("<summary>All ")[1:]) == rows


def test_every_discussion_referred_to_exists():
    headings = [line[3:] for line in (DOCS / "reproduction.md").read_text().splitlines() if line.startswith("##")]
    kept = [[c for c in heading.strip().lower() if c.isalnum() or c in " -_"] for heading in headings]
    anchors = {"".join(heading).strip().replace(" ", "-") for heading in kept}
    assert {artefact.anchor for artefact in report.ARTEFACTS.values()} <= anchors


def test_hides_pictures_that_may_not_be_passed_on(results, tmp_path):
    markdown, html = report.write(results, tmp_path / "page")
    assert markdown.read_text().count(".png)") == 1
    assert "records/figure_3.png" in markdown.read_text()
    assert "records/figure_4.png" not in markdown.read_text()
    assert html.read_text().count("data:image/png;base64,") == 1
    assert 'src="records' not in html.read_text()
    assert "the table of figure_4" in html.read_text()
    assert "| 10 min " in markdown.read_text()


def test_names_what_has_no_record(results, tmp_path):
    missing = [line for line in report.page(results, tmp_path).splitlines() if "no record yet" in line]
    assert any(line.startswith("| Table 2") and "imagenet2012" in line for line in missing)
    assert not any("Figure 10" in line for line in missing)  # which may not be shown


def test_command_line_writes_the_page(results, tmp_path):
    answer = CliRunner().invoke(main, ["report", "--results", str(results), "--out", str(tmp_path / "page")])
    assert answer.output.split() == [str(tmp_path / "page.md"), str(tmp_path / "page.html")]


def test_rejects_folder_without_records(results, tmp_path):
    with pytest.raises(InputError, match="holds no records"):
        report.page(tmp_path / "nowhere", tmp_path)
    (results / "figure_3.md").unlink()
    with pytest.raises(InputError, match="has no table beside it"):
        report.page(results, tmp_path)
    (results / "figure_3.json").write_text("[]")
    with pytest.raises(InputError, match=r"figure_3.json' is no record"):
        report.page(results, tmp_path)
