"""What `pip install` brings: one top-level name, small enough for PyPI, with all that the command line needs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

USE = """
import importlib, pkgutil, sys
from pathlib import Path
import inc_tf.reproduce
from inc_tf import checkpoints

site = Path(sys.argv[1])
assert inc_tf.reproduce.__file__ == str(site / "inc_tf" / "reproduce" / "__init__.py")
for script in pkgutil.iter_modules(inc_tf.reproduce.__path__, "inc_tf.reproduce."):
    importlib.import_module(script.name).main
assert checkpoints.verify("digits-vae") == site / "inc_tf" / "shipped" / "digits-vae.keras"
assert checkpoints.verify("mnist-vae") == Path(sys.argv[2]) / "mnist-vae.keras"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree; what setuptools leaves behind stays out of it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "inc_tf", "reproduce", "checkpoints"):
        (source / name).symlink_to(ROOT / name)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    (path,) = out.glob("*.whl")
    return path


def test_has_one_top_level_name_and_under_30_mb(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"inc_tf"}
    assert wheel.stat().st_size < 30e6
    scripts = {f"inc_tf/reproduce/{path.name}" for path in (ROOT / "reproduce").glob("*.py")}
    cards = {f"inc_tf/shipped/{path.name}" for path in (ROOT / "checkpoints").glob("*.json")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "inc_tf").rglob("*.py")}
    page = {f"inc_tf/serving/server/static/{path.name}" for path in (ROOT / "inc_tf/serving/server/static").iterdir()}
    assert scripts | cards | modules | page <= set(names)


@pytest.mark.system
def test_scripts_and_weights_are_found_from_elsewhere(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    subprocess.run(
        [sys.executable, "-c", USE, tmp_path / "site", ROOT / "checkpoints"],
        cwd=tmp_path,
        env={
            "PYTHONPATH": str(tmp_path / "site"),
            "INC_CHECKPOINTS_URL": str(ROOT / "checkpoints"),
            "HOME": str(tmp_path),
        },
        check=True,
    )
