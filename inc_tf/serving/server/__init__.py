"""`inc serve`: exported defences over HTTP, for those without TensorFlow Serving; a page that shows them at work."""

from inc_tf.serving.server.app import Limits, application
from inc_tf.serving.server.run import serve

__all__ = ["Limits", "application", "serve"]
