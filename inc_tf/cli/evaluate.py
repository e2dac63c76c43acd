"""`inc evaluate`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE, RUN_OPTIONS, SEED


def _options(command):
    for option in RUN_OPTIONS:
        command = option(command)
    return command


@click.command("evaluate")
@click.option("--classifier", required=True, type=FILE, help="The classifier C, a .keras file: images → logits.")
@click.option("--generator", required=True, type=FILE, help="The generator G, a .keras file: codes → images.")
@click.option("--encoder", type=FILE, help="The encoder E, if you have one, a .keras file: images → codes.")
@click.option("--data", "archive", required=True, type=FILE, help="An .npz of images [N, H, W, C] and labels [N].")
@click.option(
    "--bounds", nargs=2, type=float, default=(0.0, 1.0), show_default=True, help="Lowest and highest value of a pixel."
)
@click.option(
    "--epsilon",
    "epsilons",
    multiple=True,
    type=float,
    help="ε of the attacks. Repeatable.  [default: 0.1, 0.2, 0.3 of the bounds' width]",
)
@click.option("--n", default=100, show_default=True, type=click.IntRange(1), help="Attack the first N images.")
@click.option(
    "--n-search", default=10, show_default=True, type=click.IntRange(1), help="Images for attacks that query a search."
)
@click.option(
    "--thorough", is_flag=True, help="Attack the paper's search with every declared step and query; takes hours."
)
@click.option("--solver", help="Solver of the fast search: lbfgs if levenberg-marquardt does not suit your generator.")
@SEED
@_options
def command(
    classifier: Path,
    generator: Path,
    encoder: Path | None,
    archive: Path,
    bounds: tuple[float, float],
    epsilons: tuple[float, ...],
    n_search: int,
    thorough: bool,
    solver: str | None,
    **options,
) -> None:
    """Run every declared attack on your own classifier behind a projection onto your own generator."""
    import keras

    from inc_tf import data
    from inc_tf.cli.scripts import command_line
    from inc_tf.evaluation.evaluate import evaluate_files
    from inc_tf.evaluation.run import Options

    keras.config.disable_interactive_logging()  # the run has a bar of its own
    evaluate_files(
        Options("evaluate", command_line(), **options),
        classifier,
        generator,
        encoder,
        data.load_archive(archive, bounds),
        searched=n_search,
        epsilons=epsilons,
        thorough=thorough,
        solver=solver,
    )
