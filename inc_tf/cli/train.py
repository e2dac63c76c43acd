"""`inc train`."""

from pathlib import Path

import click

from inc_tf.cli.options import FILE, JSON, show_written


@click.command("train")
@click.argument("name")
@click.option(
    "--adversarial", type=click.Choice(["overpowered", "pgd"]), help="Train against this attack, from NAME's weights."
)
@click.option("--mu", type=float, help="Weight of the loss on what the attack finds, instead of the recipe's.")
@click.option("--seed", default=0, show_default=True, help="Of the weights, the order of the data and the noise.")
@click.option("--steps", type=int, help="Instead of the recipe's.")
@click.option("--width", type=int, help="Filters a convolution, instead of the recipe's; BEGAN's is 128 in the paper.")
@click.option("--mixed-precision", is_flag=True, help="Compute in bfloat16; what ships is float32.")
@click.option(
    "--strategy",
    type=click.Choice(["mirrored", "multi-worker"]),
    help="Share each batch among GPUs, or TF_CONFIG's workers.",
)
@click.option("--run-dir", type=FILE, help="State, logs and the checkpoint.  [default: runs/NAME]")
@click.option("--install", is_flag=True, help="Make the checkpoint the one that goes by NAME.")
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

    The same command carries on where a killed run was. The checkpoint and its card go to the run's folder; what ships
    stays as it is unless --install is given.
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
