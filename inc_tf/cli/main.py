"""The `inc` command. Thin: each subcommand calls one function of the library."""

import importlib
import json
import pkgutil
from pathlib import Path

import click

from inc_tf.errors import InputError
from inc_tf.cli.script_options import JSON_OPTION

_FILE = click.Path(path_type=Path)
_JSON = click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")


class _OneSentence(click.Group):
    """Prints what a user can put right as one sentence, without a traceback, and exits with 1."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except InputError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_OneSentence, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="inc-tf")
def main() -> None:
    """Invert-and-Classify: the Robust Manifold Defense, reproduced, attacked and measured.

    Exit codes: 0, done; 1, something to put right, in one sentence; 2, not a command; 3, `defend` rejected an image.
    Completion in bash: eval "$(_INC_COMPLETE=bash_source inc)"; zsh and fish alike.
    """


@main.command()
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
@click.option("--run-dir", type=_FILE, help="State and TensorBoard logs.  [default: runs/NAME]")
@_JSON
def train(
    name: str,
    adversarial: str | None,
    mu: float | None,
    seed: int,
    steps: int | None,
    width: int | None,
    mixed_precision: bool,
    strategy: str | None,
    run_dir: Path | None,
    as_json: bool,
) -> None:
    """Train the checkpoint NAME, e.g. mnist-classifier or mnist-vae; `inc checkpoints list` names them.

    The same command carries on where a killed run was. The checkpoint and its card go to checkpoints/, or to
    $INC_CHECKPOINTS.
    """
    from inc_tf import training

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
    _show_written(path, path.with_suffix(".json"), as_json)


class _Scripts(click.Group):
    """The scripts of `reproduce/`, imported as they are asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        import reproduce

        return [module.name for module in pkgutil.iter_modules(reproduce.__path__) if not module.name.startswith("_")]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        return importlib.import_module(f"reproduce.{name}").main


@main.group(cls=_Scripts)
def reproduce() -> None:
    """Draw a table or figure of the paper: a JSON record, a table and a plot. Quick, unless --full or --n says more."""


def _search(command):
    """The options of a defence that ships: its search and its threshold."""
    for option in (
        click.option("--threshold", type=float, help="η.  [default: rejects 5 % of 200 clean validation images]"),
        click.option("--steps", type=int, help="The most that the search takes.  [default: the solver's]"),
        click.option(
            "--solver",
            type=click.Choice(["adam", "lm", "lbfgs"]),
            default="lm",
            show_default=True,
            help="The search: lm and lbfgs are fast, adam is the paper's.",
        ),
        click.option("--model", default="mnist", show_default=True, help="mnist, digits or celeba."),
    ):
        command = option(command)
    return command


@main.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=_FILE)
@_search
@click.option("--seed", default=0, show_default=True, help="Of the search's starts.")
@click.option("--out", type=_FILE, help="A folder for the projections, as PNG.")
@_JSON
def defend(
    images: tuple[Path, ...],
    model: str,
    solver: str,
    steps: int | None,
    threshold: float | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Classify image files behind a defence that ships: project, reject what is too far, classify the projection.

    Exits with 3 where an image was rejected.
    """
    from inc_tf.serving import image_files, export

    defense = export.named(model, solver=solver, steps=steps, threshold=threshold)
    found = image_files.defend(defense, list(images), seed=seed, out=out)
    _show(found, as_json)
    if not all(one["accepted"] for one in found):
        raise click.exceptions.Exit(3)


@main.command()
@click.argument("source", metavar="INPUT")
@click.argument("out", metavar="OUTPUT", type=_FILE)
@_search
@click.option("--seed", default=0, show_default=True, help="Of the search's starts.")
@click.option("--block", default=512, show_default=True, type=click.IntRange(1), help="Images a file of the output.")
@click.option("--ray", "address", default="local", show_default=True, help="Of the cluster; local: this machine.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@_JSON
def project(
    source: str,
    out: Path,
    model: str,
    solver: str,
    steps: int | None,
    threshold: float | None,
    seed: int,
    block: int,
    address: str,
    quiet: bool,
    as_json: bool,
) -> None:
    """Project many images on Ray, and write what the defence makes of them to the folder OUTPUT, as Parquet.

    INPUT is a folder of images, of Parquet or of TFRecord files, one such file, or a TFDS data set, NAME or NAME:SPLIT.
    The same command carries on where a killed run was.
    """
    try:
        from inc_tf.serving import bulk
    except ModuleNotFoundError as error:
        raise InputError(f"inc project needs {error.name!r}: pip install 'inc-tf[ray]'.") from error

    found = bulk.project(
        source,
        out,
        model,
        solver=solver,
        steps=steps,
        threshold=threshold,
        seed=seed,
        block=block,
        address=address,
        quiet=quiet,
    )
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"{found['images']} images, of which {found['accepted']} accepted, in {out}")
    if found["skipped"]:
        click.echo(f"{len(found['skipped'])} cannot be read and were skipped: {', '.join(found['skipped'])}", err=True)


@main.command()
@click.argument("name", metavar="ATTACK")
@_search
@click.option("--epsilon", type=float, help="ε, in the data's own units.  [default: 0.3 of its range]")
@click.option("--n", default=100, show_default=True, help="The first N test images.")
@click.option("--seed", default=0, show_default=True, help="Of the attack and the search.")
@_JSON
def attack(
    name: str,
    model: str,
    solver: str,
    steps: int | None,
    threshold: float | None,
    epsilon: float | None,
    n: int,
    seed: int,
    as_json: bool,
) -> None:
    """Run ATTACK on a defence that ships, and count what is still classified right.

    fgsm, bim, pgd, auto_pgd, cw_l2, cw_l0 and cw_linf know the classifier within; bpda, unrolled, implicit and latent
    go through the search; square, spsa and boundary see the defence's answers.
    """
    from inc_tf import data
    from inc_tf.serving import export
    from inc_tf.evaluation import single
    from inc_tf.evaluation.experiment import percent

    single.check_name(name)
    defense = export.named(model, solver=solver, steps=steps, threshold=threshold)
    images = data.load(export.DEFENSES[model].dataset, "test").take(n)
    found = single.attack(name, defense, images, epsilon=epsilon, seed=seed)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        {"": which, **{when: percent(share) for when, share in found[which].items()}}
        for which in ("undefended", "defended")
    ]
    _show(rows, as_json)


def _show_written(path: Path, card: Path, as_json: bool) -> None:
    """Where a model was written, or its card as JSON."""
    click.echo(card.read_text().rstrip() if as_json else path)


def _show(rows: list[dict], as_json: bool) -> None:
    """Rows as a table, or as JSON."""
    from tabulate import tabulate

    click.echo(json.dumps(rows, indent=2) if as_json else tabulate(rows, headers="keys", tablefmt="github"))


@main.command()
@click.option("--classifier", required=True, type=_FILE, help="C, a .keras file: images → logits.")
@click.option("--generator", required=True, type=_FILE, help="G, a .keras file: codes → images.")
@click.option("--encoder", type=_FILE, help="E, a .keras file: images → codes, where there is one.")
@click.option("--data", "archive", required=True, type=_FILE, help="An .npz of images [N, H, W, C] and labels [N].")
@click.option("--bounds", nargs=2, default=(0.0, 1.0), show_default=True, help="Of a pixel's values.")
@click.option(
    "--epsilon", "epsilons", multiple=True, type=float, help="Repeatable.  [default: 0.1, 0.2, 0.3 of the bounds]"
)
@click.option("--n", default=100, show_default=True, help="The first N images.")
@click.option("--n-dear", default=10, show_default=True, help="Images for the attacks through a search.")
@click.option("--seed", default=0, show_default=True, help="Of the attacks and the search's starts.")
@click.option("--out", default="results", type=_FILE, show_default=True, help="The results' folder.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
@JSON_OPTION
def evaluate(
    classifier: Path,
    generator: Path,
    encoder: Path | None,
    archive: Path,
    bounds: tuple[float, float],
    epsilons: tuple[float, ...],
    n: int,
    n_dear: int,
    seed: int,
    out: Path,
    quiet: bool,
) -> None:
    """Attack your own classifier behind a projection onto your own generator, in every way that we know."""
    from inc_tf import data
    from reproduce import _adaptive

    images = data.load_archive(archive, bounds)
    page.evaluate(
        classifier,
        generator,
        encoder,
        images,
        n=n,
        dear=n_dear,
        epsilons=epsilons,
        seed=seed,
        out=out,
        quiet=quiet,
    )


@main.command()
@click.argument("model")
@click.argument("directory", metavar="DIR", type=_FILE)
@click.option("--name", help="In URLs.  [default: MODEL's]")
@click.option("--solver", type=click.Choice(["adam", "lm", "lbfgs"]), help="The search.  [default: adam, the paper's]")
@click.option("--steps", type=int, help="The most that it takes.  [default: the solver's; Adam's is 2000]")
@click.option("--threshold", type=float, help="η.  [default: rejects 5 % of 200 clean validation images; dip: none]")
@click.option("--classifier", help="dip's: a .keras file, or a network of keras.applications.  [default: ResNet152]")
@click.option("--uint8", is_flag=True, help="Images of 0 to 255, rather than float32 within the data's bounds.")
@_JSON
def export(
    model: str,
    directory: Path,
    name: str | None,
    solver: str | None,
    steps: int | None,
    threshold: float | None,
    classifier: str | None,
    uint8: bool,
    as_json: bool,
) -> None:
    """Write MODEL as DIR/<name>/<version>/, a SavedModel as TensorFlow Serving loads it.

    MODEL is mnist, digits, celeba or dip, or the .keras file of an InvertAndClassify.
    """
    from inc_tf.serving import export

    path = export.export_named(
        model,
        directory,
        name=name,
        solver=solver,
        steps=steps,
        threshold=threshold,
        classifier=classifier,
        dtype="uint8" if uint8 else "float32",
    )
    _show_written(path, path / export.CARD, as_json)


@main.command()
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: every address. No authentication.")
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535))
@click.option("--allowed-host", multiple=True, metavar="NAME", help="A name to answer to besides loopback's; repeat it.")
@click.option("--max-waiting", default=1024, show_default=True, help="Images that may wait; more get 429.")
@click.option("--max-body", default=16, show_default=True, help="MiB of a request's body; more get 413.")
@click.option("--max-bodies", default=64, show_default=True, help="MiB of the bodies of all requests at work.")
@click.option("--max-connections", default=512, show_default=True, help="Connections at once.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds for a request.")
@click.option("--batching/--no-batching", default=True, help="Answer concurrent requests together.")
@click.option("--page/--no-page", default=True, help="The page at /.")
@click.option("--access-log", is_flag=True, help="A line of JSON for each request on stdout.")
def serve(
    directory: Path,
    host: str,
    port: int,
    allowed_host: tuple[str, ...],
    max_waiting: int,
    max_body: int,
    max_bodies: int,
    max_connections: int,
    timeout: float,
    batching: bool,
    page: bool,
    access_log: bool,
) -> None:
    """Serve what `inc export` wrote to DIR, by TensorFlow Serving's REST, with a page at /."""
    try:
        from inc_tf.serving import server
    except ModuleNotFoundError as error:
        raise InputError(f"inc serve needs {error.name!r}: pip install 'inc-tf[serve]'.") from error

    limits = server.Limits(
        body=max_body * 2**20,
        bodies=max_bodies * 2**20,
        waiting=max_waiting,
        seconds=timeout,
        connections=max_connections,
    )
    server.serve(
        directory,
        host=host,
        port=port,
        allowed_hosts=allowed_host,
        limits=limits,
        batching=batching,
        page=page,
        access_log=access_log,
    )


@main.command()
@click.option("--results", default="docs/results", type=_FILE, show_default=True, help="The folder of the records.")
@click.option("--out", default="docs/results", type=_FILE, show_default=True, help="Without .md and .html.")
def report(results: Path, out: Path) -> None:
    """Gather all records on one page, as Markdown and as HTML."""
    from inc_tf.evaluation import report

    for path in report.write(results, out):
        click.echo(path)


@main.group()
def checkpoints() -> None:
    """The weights that ship: list them, read a card, check that the files are intact."""


@checkpoints.command("list")
@_JSON
def list_checkpoints(as_json: bool) -> None:
    """One line for each checkpoint: its name, data set, parameters and metrics."""
    from inc_tf import checkpoints

    cards = {name: checkpoints.card(name) for name in checkpoints.names()}
    if as_json:
        click.echo(json.dumps(cards, indent=2))
        return
    for name, card in cards.items():
        metrics = ", ".join(f"{metric} {entry['value']:.4g}" for metric, entry in card["metrics"].items())
        click.echo(f"{name}: {card['dataset']}, {card['parameters']:,} parameters, {metrics}")


@checkpoints.command()
@click.argument("name")
def card(name: str) -> None:
    """Print the card of checkpoint NAME, as JSON."""
    from inc_tf import checkpoints

    click.echo(json.dumps(checkpoints.card(name), indent=2))


@checkpoints.command()
@click.argument("names", nargs=-1)
@_JSON
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Check the files of the checkpoints NAMES, or of all, against the hashes of their cards, and measure them anew.

    The headline metric is measured on 200 test images, where the data set is on disk.
    """
    from inc_tf import checkpoints
    from inc_tf.training import recipes

    measured = {}
    for name in names or checkpoints.names():
        found = recipes.remeasure(name)  # which compares the hash first
        if as_json:
            measured[name] = {"intact": True, **(found._asdict() if found else {})}
            continue
        seen = f"{found.value:.4g} on {found.n} test images" if found else "its data is not on disk"
        click.echo(f"{name}: intact; {seen}")
    if as_json:
        click.echo(json.dumps(measured, indent=2))
