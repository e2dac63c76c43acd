"""`inc serve`: exported defences over HTTP, for those without TensorFlow Serving; a page that shows them at work.

What answers HTTP imports no TensorFlow, so that the port is bound and `/healthz` answers before any model is loaded.
"""

from inc_tf.serving.server.limits import Limits
from inc_tf.serving.server.run import serve

__all__ = ["Limits", "serve"]
