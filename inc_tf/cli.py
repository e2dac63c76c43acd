"""The `inc` command. Thin: each subcommand calls one function of the library."""

from pathlib import Path

import click

from inc_tf.errors import InputError


class _OneSentence(click.Group):
    """Prints what a user can put right as one sentence, without a traceback, and exits with 1."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except InputError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="inc-tf")
def main() -> None:
    """Invert-and-Classify: the Robust Manifold Defense, reproduced, attacked and measured."""


@main.command()
@click.argument("name")
@click.option("--seed", default=0, show_default=True, help="Of the weights, the order of the data and the noise.")
@click.option("--steps", type=int, help="Instead of the recipe's.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="State and TensorBoard logs.  [default: runs/NAME]")
def train(name: str, seed: int, steps: int | None, run_dir: Path | None) -> None:
    """Train the checkpoint NAME: mnist-classifier, mnist-vae, digits-classifier or digits-vae.

    The same command carries on where a killed run was. The checkpoint and its card go to checkpoints/, or to
    $INC_CHECKPOINTS.
    """
    from inc_tf import training

    click.echo(training.train(name, seed=seed, steps=steps, run_dir=run_dir))
