"""`inc serve`."""

from pathlib import Path

import click

from inc_tf.errors import InputError


@click.command("serve")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to bind; 0.0.0.0 is every address. There is no authentication.",
)
@click.option("--port", default=8501, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--allowed-host", multiple=True, metavar="NAME", help="A host name to accept besides loopback's. Repeatable."
)
@click.option(
    "--max-waiting", default=1024, show_default=True, help="Images that may wait; beyond it, requests get 429."
)
@click.option(
    "--max-body", default=16, show_default=True, help="Largest body of a request, in MiB; a larger one gets 413."
)
@click.option("--max-bodies", default=64, show_default=True, help="Largest total of all bodies being handled, in MiB.")
@click.option("--max-connections", default=512, show_default=True, help="Largest number of simultaneous connections.")
@click.option("--timeout", default=60.0, show_default=True, help="Seconds that a request may take.")
@click.option("--batching/--no-batching", default=True, help="Run concurrent requests as one batch.")
@click.option("--page/--no-page", default=True, help="Serve the page at /.")
@click.option("--access-log", is_flag=True, help="Print a line of JSON for each request.")
def command(
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
    """Serve the models that `inc export` wrote to DIR, with the REST API of TensorFlow Serving and a page at /."""
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
