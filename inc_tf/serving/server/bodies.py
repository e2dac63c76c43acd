"""Reads the bodies of requests, within a limit for each and a limit for the memory of all requests in progress."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from inc_tf.serving.server.guard import LEFT
from inc_tf.serving.server.limits import Limits
from inc_tf.serving.server.rest import Refused

_PROGRESS = 2**16  # bytes, either way, which show that a client does not stall
_STALLED = 1.0  # seconds without them after which a request may be given up for others


class Held:
    """One request's share of the memory, from the first byte of its body to the last byte of its answer.

    Attributes:
      data: the body.
      given_up: whether it was dropped to make room for others.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.charged = 0
        self.given_up = False
        self._timeout: asyncio.Timeout | None = None  # while the client is waited for
        self._moved = 0
        self._since = 0.0

    @contextlib.asynccontextmanager
    async def waiting_for_client(self, seconds: float) -> AsyncIterator[None]:
        """A context that raises `TimeoutError` after `seconds`, or when the request is dropped."""
        self._since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds) as self._timeout:
                yield
        finally:
            self._timeout = None

    def moved(self, size: int) -> None:
        """The client has sent or taken `size` bytes."""
        self._moved += size
        if self._moved >= _PROGRESS:
            self._moved, self._since = 0, asyncio.get_running_loop().time()

    def stalled(self) -> float:
        """The seconds for which the client has made no progress."""
        return 0.0 if self._timeout is None else asyncio.get_running_loop().time() - self._since

    def give_up(self) -> None:
        """End the wait for the client now."""
        assert self._timeout is not None
        self.given_up = True
        self.data = bytearray()
        self._timeout.reschedule(asyncio.get_running_loop().time())


class Bodies:
    """The bodies of all requests in progress.

    Attributes:
      used: their size in bytes.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._held: set[Held] = set()
        self.used = 0

    async def read(self, request: Request, largest: int | None = None) -> Held:
        """The whole body, which counts towards the memory until `release`.

        Args:
          request: its type must be JSON, where it says one.
          largest: bytes; None is `Limits.body`.

        Raises `Refused`: 408 for a body that did not arrive in time, 413 for one that is too large, 415 for one that is
        compressed or not JSON, 429 if there is no memory for it, 499 if the client left.
        """
        largest = self._limits.body if largest is None else largest
        _check_headers(request, largest)
        held = Held()
        self._held.add(held)
        try:
            async with held.waiting_for_client(self._limits.seconds):
                async for part in request.stream():
                    if len(held.data) + len(part) > largest:
                        raise _too_large(largest)
                    self._charge(held, len(part))
                    held.data += part
                    held.moved(len(part))
        except BaseException as error:
            self.release(held)
            if isinstance(error, TimeoutError):
                why = "stalled, and others needed its memory" if held.given_up else "did not come in time"
                raise Refused(408, f"The request's body {why}") from error
            if isinstance(error, ClientDisconnect):
                raise Refused(LEFT, "The client left before its body was whole") from error
            raise
        return held

    def release(self, held: Held) -> None:
        """The request is over."""
        self._held.discard(held)
        self.used -= held.charged
        held.charged = 0
        held.data = bytearray()

    def _charge(self, held: Held, size: int) -> None:
        while self.used + size > self._limits.bodies:
            longest = max((h for h in self._held if h is not held), key=Held.stalled, default=None)
            if longest is None or longest.stalled() < _STALLED:
                raise Refused(429, f"Other requests fill the {self._limits.bodies} bytes for bodies; try again later")
            longest.give_up()
            self.release(longest)
        self.used += size
        held.charged += size


def _too_large(largest: int) -> Refused:
    return Refused(413, f"The request's body is larger than {largest} bytes")


def _check_headers(request: Request, largest: int) -> None:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Refused(415, f"The body's encoding is {encoding[:40]!r}; it must be plain JSON, not compressed")
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, f"The body's type is {kind[:40]!r}; send JSON, with Content-Type: application/json")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > largest:
        raise _too_large(largest)
