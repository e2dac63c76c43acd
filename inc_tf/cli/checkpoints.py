"""`inc checkpoints`."""

import json

import click

from inc_tf.cli.options import JSON


@click.group("checkpoints")
def command() -> None:
    """List the weights that ship with the package, print a card, or check that the files are intact."""


@command.command("list")
@JSON
def list_checkpoints(as_json: bool) -> None:
    """List each checkpoint with its data set, number of parameters and metrics."""
    from inc_tf import checkpoints

    cards = {name: checkpoints.card(name) for name in checkpoints.names()}
    if as_json:
        click.echo(json.dumps(cards, indent=2))
        return
    for name, card in cards.items():
        metrics = ", ".join(f"{metric} {entry['value']:.4g}" for metric, entry in card["metrics"].items())
        click.echo(f"{name}: {card['dataset']}, {card['parameters']:,} parameters, {metrics}")


@command.command()
@click.argument("name")
def card(name: str) -> None:
    """Print the card of checkpoint NAME, as JSON."""
    from inc_tf import checkpoints

    click.echo(json.dumps(checkpoints.card(name), indent=2))


@command.command()
@click.argument("names", nargs=-1)
@JSON
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Compare the files of the checkpoints NAMES (default: all) with the hashes in their cards, and measure them again.

    The headline metric is measured on 200 test images if the data set is on disk.
    """
    from inc_tf import checkpoints
    from inc_tf.training import recipes

    measured = {}
    for name in names or checkpoints.names():
        found = recipes.remeasure(name)  # which compares the hash first
        replaced = checkpoints.replaced(name)
        if as_json:
            measured[name] = {"intact": True, "replaced": replaced, **(found._asdict() if found else {})}
            continue
        state = "intact, and replaced since it shipped" if replaced else "intact"
        seen = f"{found.value:.4g} on {found.n} test images" if found else "its data is not on disk"
        click.echo(f"{name}: {state}; {seen}")
    if as_json:
        click.echo(json.dumps(measured, indent=2))
