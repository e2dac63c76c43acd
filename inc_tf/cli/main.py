"""The `inc` command. Thin and lazy: a subcommand is a file beside this one, imported when it is asked for."""

from __future__ import annotations

import difflib
import importlib
import warnings
from pathlib import Path

import click

from inc_tf.errors import InputError

COMMANDS = (
    "attack",
    "calibrate",
    "checkpoints",
    "defend",
    "evaluate",
    "export",
    "project",
    "report",
    "reproduce",
    "serve",
    "train",
)


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is asked for, and knows names that are spelled nearly so."""

    def module(self, name: str) -> str:
        """The module whose `command` is the subcommand `name`."""
        return f"inc_tf.cli.{name}"

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        return importlib.import_module(self.module(name)).command

    def resolve_command(self, context: click.Context, arguments: list[str]):
        try:
            return super().resolve_command(context, arguments)
        except click.UsageError as error:
            close = difflib.get_close_matches(arguments[0], self.list_commands(context), n=1)
            if close:
                raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", context) from error
            raise


class _OneSentence(LazyGroup):
    """Prints what a user can put right as one sentence, without a traceback, and exits with 1; warnings alike."""

    def invoke(self, context: click.Context):
        before, warnings.formatwarning = warnings.formatwarning, _without_place
        try:
            return super().invoke(context)
        except InputError as error:
            raise click.ClickException(str(error)) from error
        finally:
            warnings.formatwarning = before


def _without_place(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return f"Warning: {message}\n"


@click.group(cls=_OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="inc-tf")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    envvar="INC_PLUGINS",
    help="A Python file that declares data sets, attacks or defences of its own. Repeatable.",
)
def main(plugins: tuple[Path, ...]) -> None:
    """Invert-and-Classify: the Robust Manifold Defense, reproduced, attacked and measured.

    Exit codes: 0, done; 1, something to put right, in one sentence; 2, not a command; 3, `defend` rejected an image.
    Completion in bash: eval "$(_INC_COMPLETE=bash_source inc)"; zsh and fish alike.
    """
    from inc_tf.cli.quiet import quiet_imports
    from inc_tf.plugins import load

    quiet_imports()
    for plugin in plugins:
        load(plugin)
