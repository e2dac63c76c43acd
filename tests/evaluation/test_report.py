"""The page of results: what the records say, all of it, and no picture that may not be passed on."""

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from inc_tf import checkpoints
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


def test_every_discussion_that_the_page_refers_to_is_there():
    for artefact in report.ARTEFACTS.values():
        page, _, anchor = artefact.page.partition("#")
        headings = [line.lstrip("# ") for line in (DOCS / page).read_text().splitlines() if line.startswith("#")]
        kept = ["".join(c for c in heading.lower() if c.isalnum() or c in " -_") for heading in headings]
        assert anchor == "" or anchor in [heading.replace(" ", "-") for heading in kept], artefact.page


def test_tables_of_one_name_are_told_apart():
    titles = re.findall(r"^## (.*)$", report.page(DOCS / "results", DOCS), flags=re.MULTILINE)
    assert len(set(titles)) == len(titles) == len(RECORDS)
    assert "Table 2: the deep image prior, 64 channels, ImageNet" in titles
    assert "Table 1: INC under every attack on the classifier, MNIST" in titles


def test_records_were_drawn_with_the_checkpoints_that_ship():
    for path in RECORDS:
        if path.stem == "figure_3-vae-20-epochs":
            continue  # it shows another VAE
        for name, sha256 in json.loads(path.read_text())["checkpoints"].items():
            if name in checkpoints.names():
                assert checkpoints.card(name)["sha256"] == sha256, (path.name, name)


def test_what_may_not_be_passed_on_is_not_shown(results, tmp_path):
    page = report.write(results, tmp_path / "page.md").read_text()
    assert page.count(".png)") == 1
    assert "records/figure_3.png" in page
    assert "records/figure_4.png" not in page
    assert "the table of figure_4" in page
    assert "| 10 min " in page


def test_names_what_has_no_record(results, tmp_path):
    missing = [line for line in report.page(results, tmp_path).splitlines() if "no record yet" in line]
    assert any(line.startswith("| Table 2") and "ImageNet" in line for line in missing)
    assert not any("Figure 10" in line for line in missing)  # which may not be shown


def test_the_command_line_writes_the_page(results, tmp_path):
    answer = CliRunner().invoke(main, ["report", "--results", str(results), "--out", str(tmp_path / "page.md")])
    assert answer.output.split() == [str(tmp_path / "page.md")]


def test_rejects_folder_without_records(results, tmp_path):
    with pytest.raises(InputError, match="holds no records"):
        report.page(tmp_path / "nowhere", tmp_path)
    (results / "figure_3.md").unlink()
    with pytest.raises(InputError, match="has no table beside it"):
        report.page(results, tmp_path)
    (results / "figure_3.json").write_text("[]")
    with pytest.raises(InputError, match=r"figure_3.json' is not a record"):
        report.page(results, tmp_path)
