"""`inc project`."""

import json
from pathlib import Path

import click

from inc_tf.cli.options import FILE, JSON, SEED, defense_options
from inc_tf.errors import InputError


@click.command("project")
@click.argument("source", metavar="INPUT")
@click.argument("out", metavar="OUTPUT", type=FILE)
@defense_options
@SEED
@click.option("--block", default=512, show_default=True, type=click.IntRange(1), help="Images in each output file.")
@click.option(
    "--ray", "address", default="local", show_default=True, help="Address of the Ray cluster; local is this machine."
)
@click.option("--quiet", is_flag=True, help="Show no progress bar.")
@JSON
def command(
    source: str,
    out: Path,
    defense: str,
    steps: int | None,
    threshold: float | None,
    classifier: str | None,
    seed: int,
    block: int,
    address: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Project many images with Ray, and write the projections and classes to the folder OUTPUT, as Parquet.

    INPUT is a folder of images, of Parquet or of TFRecord files; one Parquet or TFRecord file; or a TFDS data set, NAME
    or NAME:SPLIT. After a kill, the same command resumes. Exits with 1 if no image could be read.
    """
    try:
        from inc_tf.serving import bulk
    except ModuleNotFoundError as error:
        raise InputError(f"inc project needs {error.name!r}: pip install 'inc-tf[ray]'.") from error

    found = bulk.project(
        source,
        out,
        defense,
        steps=steps,
        threshold=threshold,
        classifier=classifier,
        seed=seed,
        block=block,
        address=address,
        quiet=quiet,
    )
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show(found, out)
    if not found["images"]:
        raise click.exceptions.Exit(1)


def _show(found: dict, out: Path) -> None:
    click.echo(f"Accepted {found['accepted']} of {found['images']}; the results are in {out}")
    if found["skipped"]:
        click.echo(f"{len(found['skipped'])} cannot be read and were skipped: {', '.join(found['skipped'])}", err=True)
