"""Ctrl-C in the middle of a graph: TensorFlow would see it only once the graph has run to its end."""

import threading
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import cancellation, context

_LOOK = 0.1  # seconds between two looks


def interruptible(function: Callable[[], Any], waiting: Callable[[], Any] = lambda: None) -> Any:
    """``function()``, which runs graphs, run so that a KeyboardInterrupt stops it at once.

    `function` runs in a thread of its own, under the caller's device scope, while the calling thread waits for an
    interrupt, and then cancels the loops of its graphs. (XLA's programs cannot be cancelled: a running one goes on
    unseen to its end.) Outside the main thread, where no interrupt arrives, `function` is simply called.

    Args:
      function: called without arguments.
      waiting: called ten times a second while `function` runs, e.g. to show progress.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    outcome: dict[str, Any] = {}
    manager = cancellation.CancellationManager()
    device = context.context().device_name or None

    def run() -> None:
        try:
            with tf.device(device), cancellation.CancellationManagerContext(manager):
                outcome["value"] = function()
        except BaseException as error:  # raised again in the caller's thread
            outcome["error"] = error

    thread = threading.Thread(target=run, name="projection", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK)
            waiting()
    except KeyboardInterrupt:
        manager.start_cancel()
        raise
    if "error" in outcome:
        raise outcome["error"]
    return outcome["value"]
