"""`inc defend`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE, JSON, SEED, defense_options, show


@click.command("defend")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=FILE)
@defense_options
@SEED
@click.option("--invert", is_flag=True, help="Swap dark and bright, e.g. for dark ink on white paper with MNIST.")
@click.option("--out", type=FILE, help="Folder for the projections, as PNG files.")
@JSON
def command(
    images: tuple[Path, ...],
    defense: str,
    steps: int | None,
    threshold: float | None,
    classifier: str | None,
    seed: int,
    invert: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Classify image files with a defence: project each, reject it if it is too far, classify the projection.

    Exits with 3 if an image was rejected, and with 1 if one could not be read.
    """
    from inc_tf import zoo
    from inc_tf.saving import to_json
    from inc_tf.serving import image_files

    model = zoo.projecting(zoo.load(defense, steps=steps, threshold=threshold, classifier=classifier), defense)
    rows = image_files.defend(model, list(images), seed=seed, out=out, invert=invert)
    if as_json:
        click.echo(to_json(rows))
    else:
        shown = ("file", "class_name", "probability", "distance", "threshold", "accepted")
        if read := [{name: row[name] for name in shown} for row in rows if "error" not in row]:
            show(read, as_json)
    for row in rows:
        for remark in [row["error"]] if "error" in row else [f"{row['file']}: {one}" for one in row["remarks"]]:
            click.echo(remark, err=True)
    if any("error" in row for row in rows):
        raise click.exceptions.Exit(1)
    if not all(row["accepted"] for row in rows):
        raise click.exceptions.Exit(3)
