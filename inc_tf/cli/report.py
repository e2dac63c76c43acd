"""`inc report`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE


@click.command("report")
@click.option("--results", default="docs/results", type=FILE, show_default=True, help="Folder of the records.")
@click.option("--out", default="docs/results.md", type=FILE, show_default=True, help="Page to write.")
def command(results: Path, out: Path) -> None:
    """Gather all records on one page, in Markdown."""
    from inc_tf.evaluation import report

    click.echo(report.write(results, out))
