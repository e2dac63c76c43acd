"""What the command line and the package import before there is work: said by `sys.modules`, in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "matplotlib", "tensorboard", "ray", "foolbox", "art", "scipy", "sklearn", "pyarrow")

MAIN = """
import contextlib, io, json, sys
from inc_tf.cli.main import main

printed = io.TextIOWrapper(io.BytesIO(), write_through=True)
code = 0
with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
    try:
        main(sys.argv[1:], prog_name="inc")
    except SystemExit as error:
        code = error.code or 0
print(json.dumps([code, printed.buffer.getvalue().decode(), sorted({name.partition(".")[0] for name in sys.modules})]))
"""

COMPLETIONS = {
    "inc de": "defend",
    "inc attack im": "implicit-fgsm",
    "inc defend --defense dig": "digits-inc-fast",
    "inc export digits-": "digits-autoencode",
    "inc reproduce figure_1": "figure_10",
    "inc checkpoints v": "verify",
}


def python(code: str, *words: str, **environment: str):
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "code", "printed"),
    [
        (["--help"], 0, "Commands:"),
        (["--version"], 0, "version"),
        (["defned"], 2, "Did you mean 'defend'?"),
        (["reproduce", "figure3"], 2, "Did you mean 'figure_3'?"),
        (["reproduce", "--help"], 0, "figure_3_solvers"),
        (["defend", "--help"], 0, "--defense"),
        (["attack", "--help"], 0, "--epsilon"),
        (["export", "--help"], 0, "--uint8"),
        (["defend", "a.png", "--thershold", "1"], 2, "--threshold"),
        (["defend", "a.png", "--out", ""], 2, "The name is empty"),
        (["checkpoints", "card", "digits-vae"], 0, '"sha256"'),
    ],
)
def test_what_does_no_work_imports_nothing_heavy(words, code, printed):
    found = python(MAIN, *words)
    assert found[0] == code
    assert printed in found[1]
    assert not {*found[2]} & {*HEAVY, "numpy"}


@pytest.mark.parametrize("typed", COMPLETIONS)
def test_completion_imports_nothing_heavy(typed):
    words = typed.split(" ")
    found = python(MAIN, _INC_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))
    assert COMPLETIONS[typed] in [line.partition(",")[2] for line in found[1].splitlines()]
    assert not {*found[2]} & {*HEAVY, "numpy"}


@pytest.mark.slow
def test_package_imports_what_an_answer_needs_and_no_more():
    code = """
import json, sys
import inc_tf as inc
light = sorted({name.partition(".")[0] for name in sys.modules})
import keras  # which brings what plots and wrappers need, where that is installed
keras_alone = set(sys.modules)
inc.InvertAndClassify, inc.LatentProjector, inc.load, inc.data.load
added = set(sys.modules) - keras_alone
print(json.dumps([light, sorted({name.partition(".")[0] for name in added})]))
"""
    light, added = python(code)
    assert not {*HEAVY, "numpy", "click"} & {*light}
    assert "inc_tf" in added
    assert not {"click", "matplotlib", "tensorboard", "ray", "foolbox", "art", "sklearn", "tensorflow_datasets"} & {
        *added
    }


@pytest.mark.slow
def test_many_searches_write_nothing_to_stderr():
    code = """
from inc_tf.cli.quiet import quiet_imports
quiet_imports()
import inc_tf as inc
projectors = [inc.LatentProjector(inc.load("digits-vae").generator, inc.Adam(steps=1)) for _ in range(7)]
images = inc.data.load("digits", "test").images[:2]
print([projector(images).distances.shape[0] for projector in projectors])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (str(7 * [2]), "")
