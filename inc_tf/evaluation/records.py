"""The record of a result: what was run, on what, and each figure with its interval. Tables and plots come from it."""

import importlib.metadata
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tensorflow as tf

from inc_tf.estimates import Estimate

_PACKAGES = ("inc-tf", "tensorflow", "keras", "tensorflow-datasets", "numpy", "cleverhans")


@dataclass
class Record:
    """One table or figure of the paper, as measured.

    Attributes:
      artefact: the paper's name for it, e.g. `"figure_3"`.
      command: what was typed.
      dataset: what it was measured on.
      quick: whether it is less than the paper's size.
      seed: the one integer that all randomness came from.
      checkpoints: SHA-256 of each checkpoint by name.
      deviations: where this departs from the paper, a sentence each.
      seconds: what the computation took, over all runs that contributed.
      rows: one figure each; see `add`.
      checks: of whether the rows are to be believed, where there are some: `check`, `passed`, `finding`, `n`.
    """

    artefact: str
    command: str
    dataset: str
    quick: bool
    seed: int
    checkpoints: dict[str, str]
    deviations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    rows: list[dict] = field(default_factory=list)
    checks: list[dict] = field(default_factory=list)

    def add(
        self,
        estimate: Estimate,
        *,
        metric: str,
        defense: str | None = None,
        attack: str | None = None,
        epsilon: float | None = None,
        paper: float | None = None,
    ) -> None:
        """Add a row: `estimate` of `metric`, the paper's figure beside it; accuracies are shares in [0, 1]."""
        row = {"defense": defense, "attack": attack, "epsilon": epsilon, "metric": metric}
        self.rows.append({**row, **estimate._asdict(), "paper": paper})

    def select(self, **wanted) -> list[dict]:
        """The rows whose fields have these values, in the order in which they were added."""
        return [row for row in self.rows if all(row[name] == value for name, value in wanted.items())]

    def one(self, **wanted) -> dict:
        """The only row whose fields have these values."""
        (row,) = self.select(**wanted)
        return row

    def write(self, path: Path) -> None:
        """Write the record as JSON, whole or not at all, with the versions, the device and the commit of this run."""
        environment = {"device": _device(), "commit": _commit(), "versions": _versions()}
        record = {name: value for name, value in asdict(self).items() if name != "checks" or value}
        write_text(path, json.dumps({**record, **environment}, indent=1) + "\n")


def _device() -> str:
    gpus = [
        tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in tf.config.list_physical_devices("GPU")
    ]
    return ", ".join([*gpus, f"{os.cpu_count()} CPU cores ({platform.machine()})"])


def _commit() -> str:
    """The repository's commit, marked where the work tree differs from it; `"unknown"` outside a repository."""
    git = [
        "git",
        "-C",
        str(Path(__file__).resolve().parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}}
