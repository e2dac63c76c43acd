"""The `inc` command. Thin and lazy: a subcommand is a file beside this one, imported when it is asked for."""

from __future__ import annotations

import errno
import importlib
import warnings
from pathlib import Path

import click

from inc_tf.cli.options import FILE
from inc_tf.errors import InputError
from inc_tf.registry import suggestion

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

_RESUMING = {"evaluate", "project", "reproduce", "train"}
"""Commands that keep finished work and, run again, carry on from there."""


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is asked for, and suggests one for a name that is misspelt."""

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
            hint = suggestion(arguments[0], self.list_commands(context))
            raise click.UsageError(f"{error.message}{hint}", context) from error


class _OneSentence(LazyGroup):
    """Prints errors that a user can put right, and warnings, as one sentence without a traceback."""

    def invoke(self, context: click.Context):
        before, warnings.formatwarning = warnings.formatwarning, _without_place
        words = list(context.args)
        try:
            return super().invoke(context)
        except click.NoSuchOption as error:
            files = [word for word in words if word.startswith("-") and Path(word).is_file()]
            if not files:
                raise
            raise click.UsageError(
                f"{error.format_message()} To name the file, write ./{files[0]}.", error.ctx
            ) from error
        except InputError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt as error:
            resumes = "; the same command resumes" if context.invoked_subcommand in _RESUMING else ""
            click.echo(f"\nInterrupted{resumes}.", err=True)
            raise click.exceptions.Exit(130) from error
        except OSError as error:  # a full disk, a folder without permission
            if error.errno == errno.EPIPE or not error.strerror:
                raise
            where = "The output" if error.filename is None else repr(str(error.filename))
            raise click.ClickException(f"{where} cannot be read or written: {error.strerror}.") from error
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
    type=FILE,
    envvar="INC_PLUGINS",
    help="A Python file that declares data sets, attacks or defences of its own. Repeatable.",
)
def main(plugins: tuple[Path, ...]) -> None:
    """Invert-and-Classify: the Robust Manifold Defense, reproduced, attacked and measured.

    Exit codes: 0, done; 1, an error that one sentence explains; 2, wrong usage; 3, `defend` rejected an image;
    130, interrupted.
    Completion in bash: eval "$(_INC_COMPLETE=bash_source inc)"; likewise for zsh and fish.
    """
    from inc_tf.cli.quiet import quiet_imports
    from inc_tf.plugins import load

    quiet_imports()
    for plugin in plugins:
        load(plugin)
