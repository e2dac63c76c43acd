"""Connections with limits on the time that a client takes to send a request or to read its answer; uvicorn has none.

Once a second, `sweep` closes those that exceed `Limits`.
"""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from inc_tf.serving.server.guard import HEADERS, error
from inc_tf.serving.server.limits import Limits

_READ = 2**13  # bytes that are parsed between two looks at other connections
_CHUNK = 64  # bytes of a chunk on average, from as many chunks on: each costs as much as a line
_HEADERS = 2**14  # bytes of a request's line and headers
_GRACE = 5.0  # seconds by which the application's own time limit comes first
_AT_SHUTDOWN = 1.5  # seconds in which a body must be whole, or more of an answer read, once the server is to stop
_OFTEN = 0.1  # seconds between two looks at that

_HEAD, _BODY, _ANSWER = "head", "body", "answer"


class _Framing(h11.Connection):
    """HTTP/1.1 framing that accepts a request for a whole URL, and refuses bodies cut into chunks so small that parsing
    them would be most of the work.
    """

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._chunks = self._bytes = 0

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks = self._bytes = 0
            return _of_path(event)
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._bytes += len(event.data)
            if self._chunks > _CHUNK and self._bytes < _CHUNK * self._chunks:
                raise h11.RemoteProtocolError("The chunks are too small")
        return event


def _of_path(request: h11.Request) -> h11.Request:
    """A request for a whole URL as one for its path, whose host takes the place of the header's (RFC 9112, 3.2.2)."""
    whole = re.fullmatch(rb"(?i:http)://([^/?#]*)/?(.*)", request.target, re.DOTALL)
    if whole is None:
        return request
    host, path = whole.groups()
    others = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        target=b"/" + path,
        headers=[(b"host", host), *others],
        http_version=request.http_version,
    )


class Connection(H11Protocol):
    """One connection; `uvicorn.Config(http=protocol(limits))` makes them."""

    def __init__(self, limits: Limits, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.limits = limits
        self.conn = _Framing(h11.SERVER, _HEADERS)
        self._stage = _HEAD
        self.since = 0.0  # when the stage began
        self._unsent_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        transport.max_size = _READ
        super().connection_made(transport)
        self.since = self.loop.time()
        if len(self.connections) > self.limits.connections:
            others = [c for c in self.connections if c is not self and isinstance(c, Connection) and c.stage() == _HEAD]
            if others:
                min(others, key=lambda c: c.since).transport.abort()
            else:
                self._refuse(429, f"There are {self.limits.connections} connections already; try again later")

    def data_received(self, data: bytes) -> None:
        self.stage()
        super().data_received(data)
        self.stage()

    def stage(self) -> str:
        """What the server is waiting for: the head of a request, its body, or nothing from the client."""
        state = self.conn.their_state
        now = _HEAD if state is h11.IDLE else _BODY if state is h11.SEND_BODY else _ANSWER
        if now != self._stage:
            self._stage, self.since = now, self.loop.time()
        return now

    def check_time(self) -> None:
        """Close the connection if the client has taken too long."""
        now = self.loop.time()
        if self._unsent_since is not None and now - self._unsent_since > self.limits.seconds:
            self.transport.abort()
        elif self.transport.is_closing():
            self._unsent_since = self._unsent_since or now
        elif (stage := self.stage()) == _HEAD and now - self.since > self.limits.head:
            self._refuse(408, f"The request's headers did not come within {self.limits.head:g} s")
        elif stage == _BODY and now - self.since > self.limits.seconds + _GRACE:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent_since = self.loop.time()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent_since = None

    def shutdown(self) -> None:
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.transport.abort()
        self.loop.call_later(_AT_SHUTDOWN, self._abort_stalled)

    def _abort_stalled(self) -> None:
        unread = self._unsent_since is not None and self.loop.time() - self._unsent_since > _AT_SHUTDOWN
        if unread or self.stage() != _ANSWER or self.transport.is_closing():
            self.transport.abort()
        else:
            self.loop.call_later(_OFTEN, self._abort_stalled)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is not a request of HTTP/1.1 as RFC 9112 has it")

    def _refuse(self, status: int, message: str) -> None:
        """Answer instead of the application, and close the connection."""
        answer = error(status, message, {**HEADERS, "Connection": "close"})
        head = h11.Response(status_code=status, headers=answer.raw_headers)
        try:
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        except h11.LocalProtocolError:  # an answer has begun
            self.transport.abort()
        self.transport.close()


def protocol(limits: Limits) -> Callable[..., Connection]:
    """A factory of connections with these limits."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a line for each malformed request would fill disks
    return partial(Connection, limits)


def sweep(connections: set) -> None:
    """Close the connections that take too long."""
    for connection in list(connections):
        connection.check_time()
