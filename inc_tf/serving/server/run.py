"""Runs the server until it is told to stop."""

import contextlib
import os
import resource
import signal
import socket
import warnings
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from inc_tf.errors import InputError
from inc_tf.serving.server.app import application
from inc_tf.serving.server.connections import protocol, sweep
from inc_tf.serving.server.guard import hosts
from inc_tf.serving.server.limits import MIB, Limits

_BACKLOG = 64  # connections that the kernel holds; asyncio accepts as many at once
_OTHER_FILES = 64  # of models as they are loaded, of TensorFlow and of Python


def serve(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    allowed_hosts: Sequence[str] = (),
    limits: Limits = Limits(),
    batching: bool = True,
    page: bool = True,
    access_log: bool = False,
) -> None:
    """Serve the latest version of each model in `directory` until SIGINT or SIGTERM; requests in progress are finished.

    Args:
      directory: a folder of `inc export`; the server follows its changes.
      host: the address; the default is loopback, `0.0.0.0` every address of the machine. There is no authentication.
      port: the default is TensorFlow Serving's for REST.
      allowed_hosts: names, besides loopback's, that requests may have in their `Host` header.
      limits: what it refuses.
      batching: whether to answer concurrent requests together.
      page: whether there is a page at `/`.
      access_log: whether to print a line of JSON for each request.

    Raises `InputError` if the address cannot be bound, if there is no model, or if too few files may be open.
    """
    listening = bound(host, port)
    warnings.filterwarnings("ignore", "Of the values of G")  # said when the defence was built
    with contextlib.closing(listening):
        _make_room_for_files(limits.connections + _BACKLOG + _OTHER_FILES)
        names = hosts(host, allowed_hosts)
        app = application(directory, names, limits=limits, batching=batching, page=page, access_log=access_log)

        async def look() -> None:
            sweep(server.server_state.connections)

        config = uvicorn.Config(
            app,
            http=protocol(limits),  # type: ignore[arg-type]
            ws="none",
            loop="asyncio",
            lifespan="on",
            backlog=_BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            callback_notify=look,
            timeout_notify=1,
            timeout_graceful_shutdown=int(limits.seconds) + 1,
        )
        server = uvicorn.Server(config)
        print(
            f"http://{_shown(host)}:{port}/ is loading; /healthz tells when it is ready. Requests may take "
            f"{-(-limits.memory // MIB)} MiB and {limits.connections} connections.",
            flush=True,
        )
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # uvicorn ends by the signal that stopped it, from SIGINT too
        server.run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A listening socket whose connections send without delay. Raises `InputError` if the address cannot be bound."""
    if not host:
        raise InputError("--host is empty; 127.0.0.1 is this machine alone, 0.0.0.0 every address that it has.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number and number > 0 else error  # a name's errors have others
        raise InputError(f"{_shown(host)}:{port} cannot be bound ({why}); choose another --host or --port.") from error
    # Inherited by every connection. asyncio sets it only on sockets that were made as TCP's by name, and without it an
    # answer's body waits 40 ms for the client to acknowledge its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _make_room_for_files(wanted: int) -> None:
    """Raise the limit on open files to what all connections need. Raises `InputError` where it may not be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise InputError(
            f"The process may open {hard} files and needs {wanted}; raise `ulimit -n` or lower --max-connections."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
