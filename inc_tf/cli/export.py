"""`inc export`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE, JSON, complete_defenses, search_options, show_written


@click.command("export")
@click.argument("defense", metavar="NAME", shell_complete=complete_defenses)
@click.argument("directory", metavar="DIR", type=FILE)
@click.option("--name", help="Name of the model in URLs.  [default: NAME]")
@search_options
@click.option("--uint8", is_flag=True, help="Take images of 0 to 255 instead of float32 within the data's bounds.")
@JSON
def command(
    defense: str,
    directory: Path,
    name: str | None,
    steps: int | None,
    threshold: float | None,
    classifier: str | None,
    uint8: bool,
    as_json: bool,
) -> None:
    """Write the defence NAME as DIR/<name>/<version>/, a SavedModel as TensorFlow Serving loads it.

    NAME is a name that `inc defend --defense` takes, or the .keras file of an InvertAndClassify.
    """
    from inc_tf.serving import export

    path = export.export_named(
        defense,
        directory,
        name=name,
        steps=steps,
        threshold=threshold,
        classifier=classifier,
        dtype="uint8" if uint8 else "float32",
    )
    show_written(path, path / export.CARD, as_json)
