"""`inc calibrate`."""

import click

from inc_tf.cli.options import complete_defenses


@click.command("calibrate")
@click.argument("defense", metavar="NAME", shell_complete=complete_defenses)
@click.option("--rate", default=0.05, show_default=True, help="Share of clean images that may be rejected, in [0, 1).")
@click.option("--n", default=200, show_default=True, type=click.IntRange(2), help="Use the first N validation images.")
def command(defense: str, rate: float, n: int) -> None:
    """Set the threshold η of the defence NAME on clean validation images, and store it in its checkpoint's card."""
    from inc_tf import zoo

    click.echo(f"{zoo.calibrate(defense, rate=rate, n=n):g}")
