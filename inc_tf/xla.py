"""Whether XLA is to compile the graph that is being made: TensorFlow has no public way to ask."""

import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.ops import control_flow_util

from inc_tf.errors import InputError


def check_not_within_xla(what: str) -> None:
    """Raise `InputError` if `what` is called inside a function that XLA compiles as a whole, which it cannot do."""
    if not tf.executing_eagerly() and control_flow_util.GraphOrParentsInXlaContext(ops.get_default_graph()):
        raise InputError(
            f"{what} cannot be part of a larger XLA program; leave out jit_compile=True around it: what gains from XLA "
            "is compiled with it anyway."
        )
