"""`inc report`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE


@click.command("report")
@click.option("--results", default="docs/results", type=FILE, show_default=True, help="The folder of the records.")
@click.option("--out", default="docs/results", type=FILE, show_default=True, help="The page, less .md and .html.")
def command(results: Path, out: Path) -> None:
    """Gather all records on one page, as Markdown and as HTML."""
    from inc_tf.evaluation import report

    for path in report.write(results, out):
        click.echo(path)
