"""What the scripts of `reproduce/` have in common at the command line."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable
from typing import Any

import click
import keras

from inc_tf.cli.options import FILE, RUN_OPTIONS
from inc_tf.evaluation.pairs import STEPS
from inc_tf.evaluation.photographs import Photography, Shard
from inc_tf.evaluation.run import Options

NOT_OF_THE_RESULT = ("out", "units", "ray", "quiet", "as_json")
"""Parameters that say where and how, not what."""

_RAY = click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Compute on a Ray cluster; without ADDRESS, on each core of this machine.",
)
_SEED = click.option("--seed", default=0, show_default=True, help="Seed of attacks and of the search's starts.")


def script(
    name: str,
    *,
    quick: int | None,
    papers: str = "mnist",
    counted: str = "Use the first N test images.",
    also: tuple[str, ...] = (),
) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a function of `Options`, and of options of its own, the command of a script.

    Args:
      name: the script's, and its results'.
      quick: how many are counted where nothing is said; None: the script counts nothing.
      papers: the data set that the paper has there, on which the script runs unless told otherwise; for MNIST the
        digits stand in where it cannot be had.
      counted: what `--n` counts.
      also: further data sets that it runs on.
    """
    datasets = (*([] if papers == "mnist" else [papers]), "auto", "mnist", "digits", *also)
    counting = (
        click.option("--full", is_flag=True, help="Use as many as the paper."),
        click.option("--n", default=quick, show_default=True, type=click.IntRange(1), help=counted),
    )
    dataset = click.option(
        "--dataset",
        type=click.Choice(datasets),
        default=datasets[0],
        show_default=True,
        help="auto is MNIST, or the bundled digits if MNIST is not available.",
    )
    return command(name, *(counting if quick else ()), dataset)


def command(name: str, *more: Callable) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a function of `Options` a command with the options of every run, and `more` of them."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(**given: Any) -> None:
            fields = {field: given.pop(field) for field in Options.__dataclass_fields__ if field in given}
            keras.config.disable_interactive_logging()  # a run has a bar of its own
            function(Options(name=name, command=command_line(), **fields), **given)

        for option in (*RUN_OPTIONS, _RAY, _SEED, *more):
            run = option(run)
        return click.command(name)(run)

    return decorate


def command_line() -> str:
    """The command as typed, less the defaults and what does not change the result."""
    context = click.get_current_context()
    words = ["inc", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        assert isinstance(parameter, click.Option)
        given = context.get_parameter_source(parameter.name) == click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in NOT_OF_THE_RESULT:
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


def pair_script(name: str, *, quick: int) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a function of `Options` and `steps` the command of a script on pairs, `quick` of them in short."""

    def decorate(function: Callable[..., None]) -> click.Command:
        steps = click.option("--steps", default=STEPS, show_default=True, help="The largest number of attack steps.")
        return script(name, quick=quick, papers="celeb_a", counted="Number of pairs.")(steps(function))

    return decorate


class _Shard(click.ParamType):
    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Shard:
        if isinstance(value, Shard):
            return value
        i, _, n = str(value).partition("/")
        if i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n):
            return Shard(int(i), int(n))
        self.fail(f"{value!r} is not i/n with 1 ≤ i ≤ n, e.g. 1/4.", param, context)


_PHOTOGRAPHY = (
    click.option("--steps", default=1000, show_default=True, help="The largest number of steps in the sweep."),
    click.option("--channels", default=128, show_default=True, help="Channels of the skip network; the paper has 128."),
    click.option(
        "--classifier",
        default="ResNet152",
        show_default=True,
        help="A network of keras.applications, with ImageNet's weights, or a .keras file; it takes images in [−1, 1].",
    ),
    click.option(
        "--folder",
        type=FILE,
        help="A folder to use instead of ImageNet: images and a labels.txt with a file name and a class on each line.",
    ),
    click.option("--split", default="validation", show_default=True, help="Split of ImageNet."),
    click.option("--full", is_flag=True, help="Use all images."),
    click.option("--n", default=4, show_default=True, type=click.IntRange(1), help="Use the first N images."),
)
_SHARDS = (
    click.option(
        "--merge",
        multiple=True,
        type=FILE,
        help="The --out folder of a shard to merge; repeat it for each. Computes nothing.",
    ),
    click.option(
        "--shard",
        type=_Shard(),
        default="1/1",
        show_default=True,
        help="Compute only the i-th of n parts of the images.",
    ),
)


def photograph_script(
    name: str, *more: Callable, shards: bool = False
) -> Callable[[Callable[..., None]], click.Command]:
    """Makes a function of `Options` and `Photography`, and of the options `more`, the command of a script on the deep
    image prior.

    With `shards` the images may be shared out among runs, and these merged.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        def run(options: Options, **given: Any) -> None:
            fields = {field: given.pop(field) for field in Photography.__dataclass_fields__ if field in given}
            function(options, Photography(**fields), **given)

        run.__doc__ = function.__doc__
        return command(name, *more, *(_SHARDS if shards else ()), *_PHOTOGRAPHY)(run)

    return decorate
