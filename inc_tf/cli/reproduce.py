"""`inc reproduce`: the scripts of `reproduce/`, which an installed package holds as `inc_tf.reproduce`."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from inc_tf.cli.main import LazyGroup

_PACKAGE = "inc_tf.reproduce"


class _Scripts(LazyGroup):
    """The scripts, imported as they are asked for; a list of them shows the first line of each without importing it."""

    def folder(self) -> Path:
        """Where they are."""
        found = importlib.util.find_spec(_PACKAGE)
        (folder,) = found.submodule_search_locations  # type: ignore[union-attr, misc]
        return Path(folder)

    def list_commands(self, context: click.Context) -> list[str]:
        names = [path.stem for path in self.folder().glob("*.py") if not path.name.startswith("_")]
        return sorted(names, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        return importlib.import_module(f"{_PACKAGE}.{name}").main

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [name for name in self.list_commands(context) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, context, incomplete)
        return [*(CompletionItem(name, help=self._first_line(name)) for name in found), *options]

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Scripts"):
            formatter.write_dl([(name, self._first_line(name)) for name in self.list_commands(context)])

    def _first_line(self, name: str) -> str:
        said = ast.get_docstring(ast.parse((self.folder() / f"{name}.py").read_text())) or ""
        return said.splitlines()[0]


@click.group("reproduce", cls=_Scripts)
def command() -> None:
    """Reproduce a table or figure of the paper, as a JSON record, a table and a plot.

    By default a few images are used and a script ends in minutes; --n or --full takes more.
    """
