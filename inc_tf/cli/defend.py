"""`inc defend`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE, JSON, SEED, defense_options, show


@click.command("defend")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=FILE)
@defense_options
@SEED
@click.option("--out", type=FILE, help="A folder for the projections, as PNG.")
@JSON
def command(
    images: tuple[Path, ...],
    defense: str,
    steps: int | None,
    threshold: float | None,
    classifier: str | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Classify image files behind a defence: project, reject what is too far, classify the projection.

    Exits with 3 where an image was rejected.
    """
    from inc_tf import zoo
    from inc_tf.serving import image_files

    model = zoo.projecting(zoo.load(defense, steps=steps, threshold=threshold, classifier=classifier), defense)
    found = image_files.defend(model, list(images), seed=seed, out=out)
    show(found, as_json)
    if not all(one["accepted"] for one in found):
        raise click.exceptions.Exit(3)
