"""Running the server until it is told to stop."""

import os
from pathlib import Path

import uvicorn

from inc_tf.serving.server.app import Limits, application
from inc_tf.serving.server.servable import find


def serve(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    limits: Limits = Limits(),
    batching: bool = True,
    page: bool = True,
) -> None:
    """Serve the latest version of each model in `directory` until SIGINT or SIGTERM; requests at work are finished.

    Args:
      directory: that `inc export` wrote to.
      host: loopback; `0.0.0.0` is every address of the machine. There is no authentication.
      port: TensorFlow Serving's own for REST.
      limits, batching, page: see `application`.

    Raises `InputError` where there is no model, or one cannot be loaded.
    """
    # A search is one chain of small operations, which loses a fifth of its time being handed between threads.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    app = application(find(directory), failed, limits=limits, batching=batching, page=page)
    patience = int(limits.seconds) + 1
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_config=None, timeout_graceful_shutdown=patience)
    )
    print(f"http://{host}:{port}/ is loading; /healthz tells when it is ready", flush=True)
    server.run()
    if failures:
        raise failures[0]
