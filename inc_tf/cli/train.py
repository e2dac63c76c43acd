"""`inc train`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE, JSON, show_written


@click.command("train")
@click.argument("name")
@click.option(
    "--adversarial",
    type=click.Choice(["overpowered", "pgd"]),
    help="Start from NAME's weights and train against this attack.",
)
@click.option("--mu", type=float, help="Weight of the loss on adversarial images.  [default: the recipe's]")
@click.option("--seed", default=0, show_default=True, help="Seed of the weights, the order of the data and the noise.")
@click.option("--steps", type=int, help="Number of training steps.  [default: the recipe's]")
@click.option(
    "--width", type=int, help="Filters of each convolution; BEGAN has 128 in the paper.  [default: the recipe's]"
)
@click.option(
    "--mixed-precision", is_flag=True, help="Compute in bfloat16; the saved model computes in float32 either way."
)
@click.option(
    "--strategy",
    type=click.Choice(["mirrored", "multi-worker"]),
    help="Share each batch among GPUs, or among TF_CONFIG's workers.",
)
@click.option("--run-dir", type=FILE, help="Folder for the state, the logs and the checkpoint.  [default: runs/NAME]")
@click.option("--install", is_flag=True, help="Replace the checkpoint NAME with the new one.")
@JSON
def command(
    name: str,
    adversarial: str | None,
    mu: float | None,
    seed: int,
    steps: int | None,
    width: int | None,
    mixed_precision: bool,
    strategy: str | None,
    run_dir: Path | None,
    install: bool,
    as_json: bool,
) -> None:
    """Train the checkpoint NAME, e.g. mnist-classifier or mnist-vae; `inc checkpoints list` names them.

    After a kill, the same command resumes. The checkpoint and its card go to the run's folder; the one that shipped is
    replaced only if --install is given.
    """
    from inc_tf import checkpoints, training

    path = training.train(
        name,
        adversarial=adversarial,
        mu=mu,
        seed=seed,
        steps=steps,
        width=width,
        mixed_precision=mixed_precision,
        strategy=strategy,
        run_dir=run_dir,
    )
    if install:
        path = checkpoints.install(path)
    show_written(path, path.with_suffix(".json"), as_json)
