"""Options that several subcommands share, and how results are printed. Imports nothing heavy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


class _File(click.Path):
    """A path as click has it, but the empty one, which Python takes for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("The name is empty; '.' is the current folder.", param, context)
        return super().convert(value, param, context)


FILE = _File(path_type=Path)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
SEED = click.option("--seed", default=0, show_default=True, help="Seed of the search's starts and of an attack.")

RUN_OPTIONS = (
    click.option("--units", metavar="URL", help="Folder or fsspec URL that keeps finished work.  [default: OUT/units]"),
    click.option("--json", "as_json", is_flag=True, help="Print the record, not the table."),
    click.option("--quiet", is_flag=True, help="Show no progress bar."),
    click.option("--out", default="results", type=FILE, show_default=True, help="Folder for the results."),
)
"""The options of every command that writes a record."""


def complete_defenses(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The full names of the defences that begin with what was typed."""
    from inc_tf import data, zoo

    return [CompletionItem(name) for name in [*data.SOURCES, *zoo.names()] if name.startswith(incomplete)]


_SEARCH = (
    click.option(
        "--classifier", help="A .keras file or a network of keras.applications to use instead of the defence's own."
    ),
    click.option(
        "--threshold",
        type=float,
        help="η, the distance to reject at.  [default: the calibrated one, which rejects 5 % of clean images]",
    ),
    click.option("--steps", type=int, help="The largest number of search steps.  [default: the defence's]"),
)
_DEFENSE = click.option(
    "--defense",
    default="mnist",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_defenses,
    help="A data set, which stands for its fast search, or a defence, e.g. mnist-inc for the paper's search.",
)


def search_options(command: Callable) -> Callable:
    """Adds the options that change a named defence."""
    for option in _SEARCH:
        command = option(command)
    return command


def defense_options(command: Callable) -> Callable:
    """Adds the options that name a defence and change it."""
    return _DEFENSE(search_options(command))


def show(rows: Sequence[dict], as_json: bool) -> None:
    """Prints rows as a table, or as JSON."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from tabulate import tabulate

    click.echo(tabulate(rows, headers="keys", tablefmt="github"))


def show_written(path: Path, card: Path, as_json: bool) -> None:
    """Prints where a model was written, or its card as JSON."""
    click.echo(card.read_text().rstrip() if as_json else path)
