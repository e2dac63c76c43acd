"""The record of a result: what was run, on what, and each figure with its interval. Tables and plots come from it."""

import functools
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tensorflow as tf

from inc_tf.estimates import Estimate
from inc_tf.saving import to_json, write_text

_OPTIONAL = ("claims", "checks", "draws", "left_out")
_PACKAGES = ("inc-tf", "tensorflow", "keras", "tensorflow-datasets", "numpy", "cleverhans")


@dataclass
class Record:
    """The results for one table or figure of the paper.

    Attributes:
      artefact: the paper's name for it, e.g. `"figure_3"`.
      command: the command line.
      dataset: the data set that it was measured on.
      quick: whether it is smaller than the paper's.
      seed: the one integer that all randomness came from.
      checkpoints: SHA-256 of each checkpoint by name.
      deviations: differences from the paper, a sentence each.
      seconds: the time that the computation took, over all runs that contributed.
      rows: one figure each; see `add`.
      claims: claims that were tested on the rows, if any: `claim`, `verdicts`, `finding`, `images`, `n`.
      checks: checks of whether the rows can be trusted, if any: `check`, `verdict`, `finding`, `images`, `n`.
      draws: how many draws each defence is scored over, by name, if it was tested for randomness.
      left_out: the attacks that were not run on a defence: `attack`, `defenses`, `reason`.
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
    claims: list[dict] = field(default_factory=list)
    checks: list[dict] = field(default_factory=list)
    draws: dict[str, int] = field(default_factory=dict)
    left_out: list[dict] = field(default_factory=list)

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

    def write(self, path: Path, computed_by: Sequence[dict] = ()) -> None:
        """Write the record as JSON, whole or not at all.

        Args:
          path: the file's path; unknown ends of intervals are null in it.
          computed_by: the `environment` of each process that computed a part of it; if empty, this process's.
        """
        record = {name: value for name, value in asdict(self).items() if name not in _OPTIONAL or value}
        write_text(path, to_json({**record, **_joined(computed_by or [environment()])}, indent=1) + "\n")


@functools.cache
def environment() -> dict:
    """This process's `device`, the `commit` of inc_tf's own checkout, and the `versions`."""
    return {"device": _device(), "commit": _commit(), "versions": _versions()}


def _joined(environments: Sequence[dict]) -> dict:
    """Several environments as one: differing values are listed, separated by commas."""

    def said(values: Iterable[str]) -> str:
        return ", ".join(dict.fromkeys(values))

    packages = dict.fromkeys(package for one in environments for package in one["versions"])
    return {
        "device": said(one["device"] for one in environments),
        "commit": said(one["commit"] for one in environments),
        "versions": {p: said(one["versions"][p] for one in environments if p in one["versions"]) for p in packages},
    }


def _device() -> str:
    gpus = [
        tf.config.experimental.get_device_details(gpu)["device_name"] for gpu in tf.config.list_physical_devices("GPU")
    ]
    return ", ".join([*gpus, f"{os.cpu_count()} CPU cores ({platform.machine()})"])


def _commit() -> str:
    """The commit of inc_tf's own checkout, marked if the work tree differs from it; `"unknown"` outside a checkout.

    The library may be installed inside its user's own repository, whose commit says nothing about inc_tf.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "inc_tf/__init__.py", "reproduce/figure_3.py")
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return "unknown"
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}}
