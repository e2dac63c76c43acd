"""What the scripts share: their options, their units of work, and where the results go."""

import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tabulate import tabulate
from tqdm import tqdm

from inc_tf import checkpoints, data
from inc_tf.evaluation.cluster import Agreement
from inc_tf.data import Bounds
from inc_tf.errors import InputError
from inc_tf.models.celeba import CLASSES
from inc_tf.evaluation.records import Record
from inc_tf.saving import write_text
from inc_tf.evaluation.store import Arrays, Store
from inc_tf.cli.script_options import RAY_OPTION, RUN_OPTIONS, remembered
from inc_tf.evaluation.units import Bench, Blueprint, Cluster, Unit, span

matplotlib.use("Agg")

CHECKPOINTS = {
    "mnist": {
        "classifier": "mnist-classifier",
        "robust": "mnist-classifier-overpowered",
        "pgd": "mnist-classifier-pgd",
        "generative": "mnist-vae",
        "generative-seed-1": "mnist-vae-seed-1",
        "generative-seed-2": "mnist-vae-seed-2",
        "generative-2d": "mnist-vae-2d",
    },
    "digits": {
        "classifier": "digits-classifier",
        "robust": "digits-classifier-overpowered",
        "generative": "digits-vae",
        "generative-2d": "digits-vae-2d",
    },
    "celeb_a": {"classifier": "celeba-gender", "robust": "celeba-gender-overpowered", "generative": "celeba-began"},
}
"""The checkpoint that plays each part, by data set."""


def options(
    quick: int | None, papers: str = "mnist", n: str = "The first N test images.", also: tuple[str, ...] = ()
) -> Callable:
    """The options of every script.

    `quick` is the number of images where none is given (None: the script counts nothing), `papers` the paper's data set
    there: MNIST, or CelebA, on which the scripts then run unless told otherwise. `n` says what is counted, `also` names
    further data sets.
    """
    first = [] if papers == "mnist" else [papers]
    names = [*first, "auto", "mnist", "digits", *also]

    counting = (
        click.option("--full", is_flag=True, help="As many as the paper."),
        click.option("--n", default=quick, show_default=True, help=n),
    )

    def decorate(command: Callable) -> Callable:
        for option in (
            *RUN_OPTIONS,
            RAY_OPTION,
            click.option("--seed", default=0, show_default=True, help="Of the search's starts."),
            *(counting if quick else ()),
            click.option(
                "--dataset",
                type=click.Choice(names),
                default=names[0],
                show_default=True,
                help="auto: MNIST, or the bundled digits where it cannot be had.",
            ),
        ):
            command = option(command)
        return command

    return decorate


class Run(Bench):
    """One run of a script: its images, its models, its finished work, its record.

    `checkpoints` are the SHA-256 of each by name, `papers` is the data set that the paper has there, and `quick` says
    whether the images are fewer than there are.
    """

    def __init__(
        self,
        images: data.Dataset,
        models: dict[str, Any],
        checkpoints: dict[str, str],
        seed: int,
        out: Path,
        quiet: bool,
        papers: str,
        quick: bool,
    ):
        super().__init__(images.name, images.bounds, seed, models)
        context = click.get_current_context()
        self.name = str(context.command.name)
        self.data = images
        self.quiet, self.out, self.papers = quiet, out, papers
        self.store = Store(remembered("units") or out / "units")
        self.as_json = bool(remembered("as_json"))
        address = remembered("ray")
        self.cluster = Cluster(address) if address else None
        self.record = Record(
            artefact=self.name,
            command=command_line(context),
            dataset=images.name,
            quick=quick,
            seed=seed,
            checkpoints=checkpoints,
        )

    def cached(self, key: dict, images: data.Dataset | None, compute: Callable[[], Arrays]) -> Arrays:
        """The answer to `compute`, filed under `key`, the images, the seed and the checkpoints; see `Store`."""
        answer = self.store.get(self.key(key, images), compute)
        self.record.seconds = round(self.store.seconds, 1)
        return answer

    def answer(self, unit: Unit) -> Arrays:
        """The answer to a unit of work, computed here where there is none yet."""
        return self.cached(unit.key, unit.images, lambda: unit.compute(self))

    def file(self, unit: Unit, arrays: Arrays, seconds: float) -> None:
        """Keep the answer to a unit that was computed elsewhere."""
        self.store.put(self.key(unit.key, unit.images), arrays, seconds)

    def key(self, key: dict, images: data.Dataset | None) -> dict:
        """What an answer is filed under."""
        where: dict = {"seed": self.record.seed, "checkpoints": self.record.checkpoints}
        if images is not None:
            where |= {"dataset": images.name, "split": images.split}
            where["images"] = span(images)
        return {**where, **key}

    def ahead(self, units: Iterable[Unit], total: int) -> None:
        """Compute units on the cluster before they are asked for, where the run has one; there are `total`."""
        if self.cluster is None:
            return
        with tqdm(total=total, desc=f"{self.name} on Ray", unit="unit", disable=self.quiet) as bar:

            def missing() -> Iterable[Unit]:
                for unit in units:
                    if self.key(unit.key, unit.images) in self.store:
                        bar.update()
                    else:
                        yield unit

            def done(unit: Unit, arrays: Arrays, seconds: float) -> None:
                self.file(unit, arrays, seconds)
                bar.update()

            failed = self.cluster.compute(self.blueprint(), missing(), done)
        for key, reason in failed.items():
            click.echo(f"failed: {key}: {reason}", err=True)
        if failed:
            raise InputError(
                f"{len(failed)} of {total} units failed for good, each several times. The others are kept: the same "
                "command tries these again."
            )

    def blueprint(self) -> Blueprint:
        """How another process makes this bench; of runs that may have a cluster."""
        raise NotImplementedError

    def finish(self, table: str, draw: Callable[[Record], Figure]) -> None:
        """Write the record, the table and the plot; print the table and where they are, or the record as JSON."""
        path = self.path(".json")
        self.record.write(path)
        write_text(self.path(".md"), table + "\n")
        draw(self.record).savefig(self.path(".png"), dpi=150, bbox_inches="tight")
        if self.as_json:
            click.echo(path.read_text(), nl=False)
            return
        click.echo(f"{table}\n\n{path}\n{self.path('.md')}\n{self.path('.png')}")

    def path(self, suffix: str) -> Path:
        """Where a result goes; a data set other than the paper's joins the name."""
        dataset = "" if self.record.dataset == self.papers else f"-{self.record.dataset}"
        return self.out / f"{self.name}{dataset}{suffix}"


@dataclass(frozen=True)
class Checkpoints:
    """Makes models, by the part that each plays, of the checkpoints of these names."""

    parts: tuple[tuple[str, str], ...]

    def __call__(self) -> dict[str, Any]:
        return {part: checkpoints.load(name) for part, name in self.parts}


class Experiment(Run):
    """A run on the bundled or the data directory's own test images, with checkpoints of `CHECKPOINTS`.

    The arguments are the script's options, then the `models` that it needs, the data set that the paper has there, the
    `optional` models that it takes where they ship, and which of the data set's models plays the part `"generative"`.
    """

    def __init__(
        self,
        dataset: str,
        n: int,
        full: bool,
        seed: int,
        out: Path,
        quiet: bool,
        models: tuple[str, ...],
        papers: str = "mnist",
        optional: tuple[str, ...] = (),
        generative: str = "generative",
    ):
        check_out(out)
        name = data.mnist_or_digits() if dataset == "auto" else dataset
        if dataset == "auto" and name == "digits":
            click.echo(f"MNIST is not on disk and there is no network: {data.SOURCES['digits'].notice}", err=True)
        test = data.load(name, "test")
        images = test if full else test.take(n)
        known = {**CHECKPOINTS[name], "generative": CHECKPOINTS[name][generative]}
        self.parts = {model: known[model] for model in (*models, *(m for m in optional if m in known))}
        hashes = {checkpoint: checkpoints.card(checkpoint)["sha256"] for checkpoint in self.parts.values()}
        super().__init__(images, self._models()(), hashes, seed, out, quiet, papers, quick=len(images) < len(test))
        if name == "digits":
            self.record.deviations.append(data.SOURCES["digits"].notice)

    def blueprint(self) -> Blueprint:
        """How another process makes this bench."""
        agreement = Agreement.on(list(self.record.checkpoints))
        return Blueprint(self.dataset, self.bounds, self.seed, self._models(), agreement)

    def _models(self) -> "Checkpoints":
        return Checkpoints(tuple(self.parts.items()))


def check_out(out: Path) -> None:
    """Refuse a results' folder that is a file."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is not a folder; --out must name one, or what can become one.")


def command_line(context: click.Context) -> str:
    """The command as typed, less the defaults and where the results go."""
    words = ["inc", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        assert isinstance(parameter, click.Option)
        given = context.get_parameter_source(parameter.name) == click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in ("out", "quiet", "as_json", "units", "ray"):
            words += _typed(parameter, context.params[parameter.name])
    return shlex.join(words)


def _typed(option: click.Option, value: Any) -> list[str]:
    """The words that give an option its value."""
    if option.is_flag:
        return [option.opts[0]]
    return [
        word
        for one in (value if option.multiple else [value])
        for word in (option.opts[0], *map(str, one if option.nargs > 1 else [one]))
    ]


def percent(row: dict) -> str:
    """A share with its interval, e.g. `83.0 % (80.6–85.2)`."""
    return f"{100 * row['value']:.1f} % ({100 * row['low']:.1f}–{100 * row['high']:.1f})"


def draw_shares(axes: Axes, rows: list[dict], label: str, what: str = "accuracy, %") -> None:
    """Draw shares against ε, in percent, with their intervals."""
    values = [100 * row["value"] for row in rows]
    below = [100 * (row["value"] - row["low"]) for row in rows]
    above = [100 * (row["high"] - row["value"]) for row in rows]
    axes.errorbar([row["epsilon"] for row in rows], values, yerr=[below, above], marker="o", capsize=3, label=label)
    axes.set(ylabel=what, ylim=(0, 101))
    axes.grid(alpha=0.3)


def accuracy_table(record: Record, attacks: dict[str, str], epsilons: tuple, defenses: dict[str, str]) -> str:
    """Markdown: a row for each attack and ε, clean images first, a column for each defence; both by label."""
    cases = [("clean", "clean", 0.0), *((name, label, e) for name, label in attacks.items() for e in epsilons)]
    rows = [
        [label, f"{epsilon:g}"]
        + [percent(record.one(attack=name, epsilon=epsilon, defense=d, metric="accuracy")) for d in defenses]
        for name, label, epsilon in cases
    ]
    return tabulate(rows, ["attack", "ε", *defenses.values()], tablefmt="github", disable_numparse=True)


def accuracy_panels(record: Record, title: str, attacks: dict[str, str], defenses: dict[str, str]) -> Figure:
    """Accuracy against ε: a panel for each attack, a line for each defence; both by label."""
    figure, panels = plt.subplots(1, len(attacks), figsize=(1 + 4 * len(attacks), 4), sharey=True)
    for axes, (attack, name) in zip(panels, attacks.items(), strict=True):
        for defense, label in defenses.items():
            rows = record.select(defense=defense, metric="accuracy")
            draw_shares(axes, [row for row in rows if row["attack"] in ("clean", attack)], label)
        axes.set(xlabel="ε (ℓ∞)", title=name)
    panels[0].legend()
    figure.suptitle(f"{title}: {record.dataset}, n = {record.rows[0]['n']}, 95 % Wilson intervals")
    return figure


def image_rows(rows: dict[str, np.ndarray], bounds: Bounds, columns: int) -> tuple[Figure, np.ndarray]:
    """The first images of each row, under one another by label; the figure and its axes, [rows, columns]."""
    low, high = bounds
    figure, axes = plt.subplots(len(rows), columns, figsize=(1.4 * columns, 1.7 * len(rows)), squeeze=False)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for cell, image in zip(line, images, strict=False):
            cell.imshow(np.clip((image - low) / (high - low), 0, 1), cmap="gray", vmin=0, vmax=1)
        for cell in line:
            cell.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure, axes


def titles(cells: np.ndarray, probabilities: np.ndarray, expected: np.ndarray, dataset: str) -> None:
    """Over each cell the class of `probabilities`, [N, classes], and how sure it is; red where it is not `expected`."""
    names = CLASSES if dataset == "celeb_a" else [str(digit) for digit in range(10)]
    for cell, found, right in zip(cells, probabilities, expected, strict=False):
        guess = found.argmax()
        color = "black" if guess == right else "red"
        cell.set_title(f"{names[guess]} {100 * found[guess]:.0f} %", fontsize="small", color=color)
