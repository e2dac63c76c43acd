"""Options that the scripts do not look at themselves. Imports nothing heavy, since the command line imports it."""

from collections.abc import Callable
from pathlib import Path

import click


def remembered(name: str):
    """What the command that runs was given for an option of this module; None where it has no such option."""
    return click.get_current_context().meta.get(f"inc_tf.{name}")


def _for_the_run(*names: str, **settings) -> Callable:
    """An option that no script looks at; `Run` asks `remembered` for it."""

    def remember(context: click.Context, option: click.Parameter, value):
        context.meta[f"inc_tf.{option.name}"] = value

    return click.option(*names, expose_value=False, callback=remember, **settings)


JSON_OPTION = _for_the_run("--json", "as_json", is_flag=True, help="The record on stdout, in the table's place.")
RUN_OPTIONS = (
    _for_the_run(
        "--units", metavar="URL", help="Where finished work is kept: a folder or fsspec URL.  [default: OUT/units]"
    ),
    JSON_OPTION,
    click.option("--quiet", is_flag=True, help="No progress bar."),
    click.option(
        "--out", default="results", type=click.Path(path_type=Path), show_default=True, help="The results' folder."
    ),
)
"""Of every script, one way or another."""

RAY_OPTION = _for_the_run(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Compute on a Ray cluster; without an address, on this machine's cores, one each.",
)
