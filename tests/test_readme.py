"""What README and docs say runs, and the figures that they show are those of the records."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

import inc_tf as inc
import inc_tf.projection
from inc_tf.cli.main import main
from inc_tf.evaluation.tables import percent
from inc_tf.registry import Registry

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted(path for path in (ROOT / "docs").rglob("*.md") if path != ROOT / "docs" / "results.md")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PIPES: dict = {"capture_output": True, "text": True}
ELSEWHERE = "inc reproduce adaptive"
"""Takes minutes at its smallest; tests/reproduce/test_scripts.py runs it with short attacks."""
# What makes a command small enough for a test; it runs as it stands otherwise.
SMALL = {
    "inc attack": "--n 2",
    "inc reproduce figure_3": "--dataset digits --n 2 --out results",
}


def code(page: Path, language: str) -> list[str]:
    """The blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks, without comments."""
    return [line.split("#")[0].strip() for block in code(page, "sh") for line in block.splitlines()]


def test_first_ten_lines_print_accuracy_and_rejections(capsys):
    (block,) = code(README, "python")
    assert len(block.strip().splitlines()) <= 10
    names: dict = {}
    exec(block, names)
    right = names["answer"].predictions.numpy() == names["test"].labels
    assert right.mean() >= 0.9
    rejected = int(names["answer"].rejected.numpy().sum())
    assert rejected >= 20  # clean images: 5
    assert capsys.readouterr().out == f"{right.mean():.0%} accuracy, {rejected} of 100 rejected\n"


@pytest.mark.system
def test_commands_of_readme_run(tmp_path, monkeypatch):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    run = commands(README)
    assert run[-1] == "inc serve models"
    assert ELSEWHERE in run
    for line in [line for line in run[:-1] if line != ELSEWHERE]:
        small = next((more for command, more in SMALL.items() if line.startswith(command)), "")
        found = CliRunner().invoke(main, [*shlex.split(line)[1:], *small.split()], catch_exceptions=False)
        assert found.exit_code == 0, found.output
    assert (tmp_path / "models" / "digits" / "1" / "saved_model.pb").is_file()
    server = subprocess.Popen(
        [sys.executable, "-m", "inc_tf.cli", *run[-1].split()[1:], "--port", "8511"], env=ENVIRONMENT
    )
    try:
        assert _ready("http://127.0.0.1:8511/healthz", server)
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == -signal.SIGTERM  # which uvicorn lets through when it has shut down


def _ready(url: str, server: subprocess.Popen) -> bool:
    """Whether the server comes up; not where it ends before."""
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.status == 200
        except OSError:
            time.sleep(0.2)
    return False


def test_commands_of_readme_are_known():
    """Those that a test cannot run name what is there."""
    text = README.read_text()
    for target in re.findall(r"^    make (\S+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    extras = re.findall(r"pip install '\.\[(\w+)\]'", text)
    assert extras == ["serve"]
    assert "\nserve = [" in (ROOT / "pyproject.toml").read_text()


MEASURED = {
    ("INC, the paper's search", "MNIST"): ("figure_3", "inc", "fgsm", 0.3),
    ("INC, fast search", "MNIST"): ("figure_3_solvers", "inc-fast", "fgsm", 0.3),
    ("INC, the paper's search", "CelebA"): ("table_1", "inc", "fgsm", 0.1),
    ("INC, fast search", "CelebA"): ("table_1", "inc-fast", "fgsm", 0.1),
    ("Autoencode-and-Classify", "MNIST"): ("figure_12", "autoencode", "autoencode-fgsm", 0.3),
    ("deep image prior", "ImageNet"): ("table_2-64-channels", "dip", "bim", 0.05),
    ("*control:* undefended", "MNIST"): ("figure_3", "undefended", "fgsm", 0.3),
    ("*control:* trained against PGD", "MNIST"): ("adaptive", "pgd-trained", "fgsm", 0.3),
}
"""Where each line of the README's table is measured: record, defence, attack, ε."""
KNOWING = {
    ("INC, the paper's search", "MNIST"): ("adaptive", "inc", 0.3),
    ("INC, fast search", "MNIST"): ("adaptive", "inc-fast", 0.3),
    ("INC, the paper's search", "CelebA"): ("adaptive_generators-celeb_a", "inc-seed-0", 0.1),
    ("INC, fast search", "CelebA"): ("adaptive_generators-celeb_a", "inc-fast-seed-0", 0.1),
    ("Autoencode-and-Classify", "MNIST"): ("adaptive", "autoencode", 0.3),
    ("deep image prior", "ImageNet"): ("adaptive_dip-64-channels", "dip", 0.05),
    ("*control:* undefended", "MNIST"): ("adaptive", "undefended", 0.3),
    ("*control:* trained against PGD", "MNIST"): ("adaptive", "pgd-trained", 0.3),
}
"""The record, defence and ε of the worst case of each."""


def test_table_of_readme_is_that_of_the_records():
    lines = [line.strip("| ").split(" | ") for line in README.read_text().splitlines() if line.startswith("| ")]
    shown = {(line[0], line[1].split()[0].strip(",")): line for line in lines if len(line) == 5 and "%" in line[3]}
    assert shown.keys() == MEASURED.keys() == KNOWING.keys()
    for key, line in shown.items():
        record, defense, attack, epsilon = MEASURED[key]
        _compare(line[3], record, defense, attack, epsilon)
        record, defense, epsilon = KNOWING[key]
        _compare(line[4], record, defense, "worst-case", epsilon)


def _compare(cell: str, record: str, defense: str, attack: str, epsilon: float) -> None:
    rows = json.loads((ROOT / "docs" / "results" / f"{record}.json").read_text())["rows"]
    (row,) = (
        row
        for row in rows
        if (row["defense"], row["attack"], row["epsilon"], row["metric"]) == (defense, attack, epsilon, "accuracy")
    )
    assert cell.replace("*", "").startswith(percent(row)), (record, defense, attack)


@pytest.mark.system
def test_tutorial_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for block in code(ROOT / "docs" / "tutorial.md", "python"):
        exec(block, names)
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


@pytest.mark.system
def test_extending_runs(tmp_path, monkeypatch, few_attacks):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    page = ROOT / "docs" / "extending.md"
    (line,) = commands(page)  # in a process of its own: what it declares stays there
    found = subprocess.run(
        [sys.executable, "-m", "inc_tf.cli", *shlex.split(line)[1:], "--json"], env=ENVIRONMENT, **PIPES
    )
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert (result["attack"], result["defense"], result["n"]) == ("noise", "evens-heavy-ball", 40)
    assert result["defended"]["clean"]["value"] >= 0.9
    assert result["defended"]["attacked"]["value"] < result["defended"]["clean"]["value"]
    names: dict = {}
    exec(code(page, "python")[1], names)
    assert "worst case, image by image" in names["found"].table
    assert (tmp_path / "worst-case.png").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_of_a_page_are_those_of_the_records(page):
    text = page.read_text()
    for name in re.findall(r"<!-- (docs/results/\S+\.md) -->", text):
        assert (ROOT / name).read_text().strip() in text


def test_every_table_is_shown_and_has_its_record():
    tables = {path.stem for path in (ROOT / "docs" / "results").glob("*.md")}
    records = {path.stem for path in (ROOT / "docs" / "results").glob("*.json")}
    assert tables == records
    shown = {
        Path(name).stem for page in PAGES for name in re.findall(r"<!-- (docs/results/\S+\.md) -->", page.read_text())
    }
    linked = {
        Path(name).stem for page in PAGES for name in re.findall(r"results/(\S+?\.(?:json|md))\)", page.read_text())
    }
    assert records <= shown | linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#\s]+)", re.sub(r"`[^`]*`", "", page.read_text())):
        if not target.startswith(("http", "../../actions")) and Path(target).name != "results.md":
            assert (page.parent / target).resolve().exists(), f"{page.name}: {target}"


def test_api_page_has_every_public_name():
    described = set(re.findall(r"^::: (\S+)", (ROOT / "docs" / "api.md").read_text(), flags=re.MULTILINE))
    for package in (inc, inc.attacks, inc.data, inc.projection):
        for name in package.__all__:
            found = getattr(package, name)
            if hasattr(found, "__path__"):  # a package, whose modules are described
                continue
            module = getattr(found, "__module__", None) or getattr(found, "__name__", "")
            if module.startswith("inc_tf") and not isinstance(found, Registry):
                assert module in described, f"{package.__name__}.{name} is of {module}"


def test_pictures_are_small_enough_to_open_a_page_with():
    assert (ROOT / "docs" / "strip.gif").stat().st_size < 2**20
    assert (ROOT / "docs" / "strip.png").stat().st_size < 2**17
