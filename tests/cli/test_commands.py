"""The command line: in this process, or as a user runs it, in one of its own."""

import json
import os
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from inc_tf import checkpoints, training
from inc_tf.cli.main import main
from inc_tf.training import recipes


def inc(*words: str, cwd=None, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from inc_tf.cli.main import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment})


def assert_one_sentence(printed: str, sentence: str) -> None:
    """TensorFlow 2.21 may print notes of its own while it is imported; ours is one line after them."""
    last = printed.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert sentence in last
    assert printed.count("Error:") == 1
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "mnist"], "There is no recipe 'mnist'"),
        (["checkpoints", "card", "mnits-vae"], "There is no checkpoint 'mnits-vae'"),
        (["reproduce", "figure_3", "--dataset", "digits", "--n", "401"], "401 images were asked for"),
        (["reproduce", "figure_3", "--dataset", "digits", "--out", "a-file"], "is not a folder"),
    ],
)
def test_mistake_is_one_sentence(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert_one_sentence(done.stderr, sentence)
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]


def test_names_the_file_that_was_taken_for_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-x.png").touch()
    done = CliRunner().invoke(main, ["defend", "-x.png"])
    assert done.exit_code == 2
    assert done.stderr.endswith("Error: No such option '-x'. To name the file, write ./-x.png.\n")


@pytest.mark.parametrize(
    ("command", "sentence"), [("train", "Interrupted; the same command resumes."), ("defend", "Interrupted.")]
)
def test_an_interrupt_is_one_line_and_says_whether_the_command_resumes(command, sentence, tmp_path):
    (tmp_path / "stop.py").write_text("raise KeyboardInterrupt")
    done = CliRunner().invoke(main, ["--plugin", str(tmp_path / "stop.py"), command, "digits-vae"])
    assert (done.exit_code, done.stderr.strip()) == (130, sentence)


def test_a_full_disk_is_one_sentence():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", "from inc_tf.cli.main import main; main()", "checkpoints", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be read or written: No space left on device.\n"


@pytest.mark.system
def test_data_directory_without_the_data_set_is_one_sentence(tmp_path):
    done = inc(
        "train", "mnist-vae", cwd=tmp_path, TFDS_DATA_DIR=str(tmp_path / "empty"), HTTPS_PROXY="http://127.0.0.1:9"
    )
    assert done.returncode == 1
    assert_one_sentence(done.stderr, f"The data directory '{tmp_path / 'empty'}' has no data set 'mnist'")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_listed_and_verified():
    listed = CliRunner().invoke(main, ["checkpoints", "list"])
    assert [line.split(":")[0] for line in listed.stdout.splitlines()] == checkpoints.names()
    as_json = CliRunner().invoke(main, ["checkpoints", "list", "--json"])
    assert json.loads(as_json.stdout)["digits-vae"] == checkpoints.card("digits-vae")
    verified = CliRunner().invoke(main, ["checkpoints", "verify", "digits-vae"])
    measured = recipes.remeasure("digits-vae")
    assert verified.stdout == f"digits-vae: intact; {measured.value:.4g} on 200 test images\n"
    assert verified.exit_code == 0
    as_json = CliRunner().invoke(main, ["checkpoints", "verify", "digits-vae", "--json"])
    assert json.loads(as_json.stdout) == {"digits-vae": {"intact": True, "replaced": False, **measured._asdict()}}
    card = CliRunner().invoke(main, ["checkpoints", "card", "digits-vae"])
    assert json.loads(card.stdout) == checkpoints.card("digits-vae")


def test_altered_checkpoint_is_one_sentence(tmp_path, monkeypatch):
    for name in ("digits-vae.json", "digits-vae.keras"):
        content = (checkpoints.directory() / name).read_bytes()
        (tmp_path / name).write_bytes(content if name.endswith("json") else content[:-1])
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path))
    done = CliRunner().invoke(main, ["checkpoints", "verify"])
    assert done.exit_code == 1
    assert_one_sentence(done.stderr, "is truncated or altered")


@pytest.mark.system
def test_an_attack_of_foolbox_writes_nothing_to_stderr_but_its_bar():
    done = inc("attack", "boundary", "--defense", "digits", "--n", "1", "--epsilon", "0.2")
    assert "digits-inc-fast" in done.stdout
    # What takes over two seconds shows a bar, and so does a search on a slow machine.
    assert [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("project: ")] == []


@pytest.mark.system
def test_a_warning_is_one_sentence(tmp_path):
    training.train("digits-vae", steps=3, run_dir=tmp_path)
    (tmp_path / "state" / "ckpt-3.index").write_bytes(b"")
    done = inc("train", "digits-vae", "--steps", "3", "--run-dir", str(tmp_path))
    assert done.returncode == 0
    first, *bar = filter(None, done.stderr.splitlines())
    assert re.fullmatch(r"Warning: The newest state in .* from the one before, ckpt-2\.", first)
    assert all("%|" in line for line in bar)


def test_training_takes_its_options(tmp_path, monkeypatch):
    shipped = {path.name: checkpoints.sha256(path) for path in checkpoints.directory().iterdir()}
    words = ["train", "digits-vae", "--seed", "1", "--steps", "3", "--mixed-precision", "--strategy", "mirrored"]
    done = CliRunner().invoke(main, [*words, "--run-dir", str(tmp_path / "run")])
    assert done.stdout == f"{tmp_path / 'run' / 'digits-vae-seed-1.keras'}\n"
    assert {path.name: checkpoints.sha256(path) for path in checkpoints.directory().iterdir()} == shipped
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path / "checkpoints"))
    again = CliRunner().invoke(main, [*words, "--run-dir", str(tmp_path / "run"), "--install", "--json"])
    assert json.loads(again.stdout) == checkpoints.card("digits-vae-seed-1")
    card = checkpoints.card("digits-vae-seed-1")
    assert card["command"] == "inc train digits-vae --seed 1 --steps 3 --strategy mirrored --mixed-precision"
    assert (card["steps"], card["precision"]) == (3, "mixed_bfloat16")
