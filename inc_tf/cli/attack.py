"""`inc attack`."""

import click
from click.shell_completion import CompletionItem

from inc_tf.cli.options import JSON, SEED, defense_options


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from inc_tf.attacks.methods import METHODS

    return [CompletionItem(name) for name in METHODS if name.startswith(incomplete)]


@click.command("attack")
@click.argument("name", metavar="ATTACK", shell_complete=_complete)
@defense_options
@click.option("--epsilon", type=float, help="ε, in the data's own units.  [default: 0.3 of their range]")
@click.option("--n", default=100, show_default=True, type=click.IntRange(1), help="Attack the first N test images.")
@SEED
@JSON
def command(
    name: str,
    defense: str,
    steps: int | None,
    threshold: float | None,
    classifier: str | None,
    epsilon: float | None,
    n: int,
    seed: int,
    as_json: bool,
) -> None:
    """Run ATTACK on a defence, and count the images that are still classified correctly.

    fgsm, bim, pgd, auto-pgd, cw-l2, cw-l0 and cw-linf attack the classifier alone; bpda, unrolled, implicit and latent
    go through the search; square, spsa and boundary see only the defence's output.
    """
    from inc_tf.evaluation import single
    from inc_tf.saving import to_json

    found = single.attack(
        name, defense, n=n, epsilon=epsilon, seed=seed, steps=steps, threshold=threshold, classifier=classifier
    )
    click.echo(to_json(found) if as_json else single.table(found))
