"""Options that several subcommands share, and how they print what they found. Imports nothing heavy."""

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
JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
SEED = click.option("--seed", default=0, show_default=True, help="Of the search's starts, and of an attack.")

RUN_OPTIONS = (
    click.option(
        "--units", metavar="URL", help="Where finished work is kept: a folder or fsspec URL.  [default: OUT/units]"
    ),
    click.option("--json", "as_json", is_flag=True, help="The record on stdout, instead of the table."),
    click.option("--quiet", is_flag=True, help="No progress bar."),
    click.option("--out", default="results", type=FILE, show_default=True, help="The results' folder."),
)
"""Of whatever writes a record."""


def complete_defenses(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The full names of defences that begin so."""
    from inc_tf import data, zoo

    return [CompletionItem(name) for name in [*data.SOURCES, *zoo.names()] if name.startswith(incomplete)]


_SEARCH = (
    click.option(
        "--classifier", help="A .keras file or a network of keras.applications, instead of the defence's own."
    ),
    click.option(
        "--threshold", type=float, help="η.  [default: the calibrated one, which rejects 5 % of clean images]"
    ),
    click.option("--steps", type=int, help="The most that the search takes.  [default: the defence's]"),
)
_DEFENSE = click.option(
    "--defense",
    default="mnist",
    show_default=True,
    metavar="NAME",
    shell_complete=complete_defenses,
    help="A data set, for its fast search, or one of its defences, e.g. mnist-inc for the paper's search.",
)


def search_options(command: Callable) -> Callable:
    """What a defence may be given beside its name."""
    for option in _SEARCH:
        command = option(command)
    return command


def defense_options(command: Callable) -> Callable:
    """The options that name a defence."""
    return _DEFENSE(search_options(command))


def show(rows: Sequence[dict], as_json: bool) -> None:
    """Rows as a table, or as JSON."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    from tabulate import tabulate

    click.echo(tabulate(rows, headers="keys", tablefmt="github"))


def show_written(path: Path, card: Path, as_json: bool) -> None:
    """Where a model was written, or its card as JSON."""
    click.echo(card.read_text().rstrip() if as_json else path)
