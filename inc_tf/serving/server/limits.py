"""Limits that keep one client from using up what all clients need."""

from dataclasses import dataclass

from inc_tf.errors import InputError

MIB = 2**20
CONNECTION = 3 * 2**17
"""Bytes that a connection may hold besides its body: what was read and not yet parsed, and what was not yet sent."""


@dataclass(frozen=True)
class Limits:
    """Limits on what clients may send. Each must be above 0.

    Attributes:
      body: bytes of one request's body; larger ones get 413.
      bodies: bytes of all bodies that are held at once. If they do not suffice, the body that has stalled longest is
        dropped (408); if none has stalled, the new request gets 429.
      waiting: images that wait for their batch; above that, 429.
      seconds: from a request's last header to its answer: 408 while its body is read, 504 after.
      head: seconds until a request's line and headers are complete; then the connection is closed.
      connections: open at once; one more takes the place of the one that has waited longest for its request's headers.

    Raises `InputError` for any other value.
    """

    body: int = 16 * MIB
    bodies: int = 64 * MIB
    waiting: int = 1024
    seconds: float = 60.0
    head: float = 10.0
    connections: int = 512

    def __post_init__(self) -> None:
        for name, highest in (("body", 2**30), ("bodies", 2**36), ("waiting", 2**20), ("connections", 2**16)):
            if not 1 <= getattr(self, name) <= highest:
                raise InputError(f"{name} is {getattr(self, name)}; it must be from 1 to {highest}.")
        for name in ("seconds", "head"):
            if not 0 < getattr(self, name) <= 86400:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0 and at most 86400.")
        if self.bodies < self.body:
            raise InputError(f"All bodies may have {self.bodies} bytes; that must be at least one body's {self.body}.")

    @property
    def memory(self) -> int:
        """Bytes that all requests together may hold: bodies, their images and answers, connections.

        A float32 has 4 bytes, and at least 2 in a body, so the images of a body take at most twice its size. The body
        is gone once they are read, and an answer has at most one more such array.
        """
        return 4 * self.bodies + self.connections * CONNECTION
