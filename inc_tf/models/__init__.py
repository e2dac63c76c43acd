"""The networks of the paper, one file a section."""

from inc_tf.models import mnist

__all__ = ["mnist"]
