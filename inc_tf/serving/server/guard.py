"""What every request passes through: access control, headers for browsers, metrics and the access log."""

import json
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inc_tf.serving.server.metrics import Metrics

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every answer."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[([\da-f:.]+)\]|([\w.-]+))(?::\d*)?", re.ASCII | re.IGNORECASE)  # of a URL, with its port
LEFT = 499
"""nginx's status for a client that closed its connection before its answer."""


@dataclass
class Account:
    """The labels under which a request is counted; its handler fills them in."""

    route: str = "other"
    model: str = ""


def account(scope: Scope) -> Account:
    """The request's account."""
    return scope["inc_tf.account"]


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error as JSON, in ASCII so that it can always be encoded."""
    more = {"Retry-After": "1"} if status in (429, 503) else {}
    body = json.dumps({"error": message})
    return Response(body, status, {**more, **(headers or {})}, media_type="application/json")


def hosts(bound: str, allowed: Iterable[str]) -> frozenset[str] | None:
    """The host names that the server accepts; None for any.

    Args:
      bound: the address that it binds. If that is a loopback address, any other host name belongs to a web page whose
        own name points here so that it can read the answers (DNS rebinding).
      allowed: additional names; for any other address, only these and loopback's are accepted.
    """
    named = frozenset(name.lower() for name in allowed)
    return _LOOPBACK | named if named or _is_loopback(bound) else None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """The ASGI middleware around the application.

    Args:
      app: the application.
      hosts: the host names that are accepted, in lower case; None for any.
      metrics: counts each request.
      log: whether to print a line of JSON for each request.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, metrics: Metrics, log: bool):
        self._app, self._hosts, self._metrics, self._log = app, hosts, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        counted = scope["inc_tf.account"] = Account()
        started, status, sent = time.monotonic(), LEFT, 0

        async def sending(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await (self._refusal(Headers(scope=scope)) or self._app)(scope, receive, sending)
        finally:
            seconds = time.monotonic() - started
            self._metrics.observe_request(counted.model, counted.route, status, seconds)
            if self._log:
                _print_line(scope, counted, status, sent, seconds)

    def _refusal(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        name = _name(host)
        if self._hosts is not None and name not in self._hosts:
            return error(
                421, f"This server does not answer to the host {host[:80]!r}; `inc serve --allowed-host NAME` adds one"
            )
        origin = headers.get("origin")
        if origin is None:
            return None
        address = origin.partition("://")[2]
        page = _name(address)
        if page and (address.lower() == host.lower() or (self._hosts and page in self._hosts - _LOOPBACK)):
            return None
        return error(403, f"A page of {origin[:80]!r} may not ask this server")


def _name(host: str) -> str:
    """A host without its port, in lower case; empty if it is not one."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _print_line(scope: Scope, counted: Account, status: int, sent: int, seconds: float) -> None:
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "client": scope["client"][0] if scope["client"] else None,
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
        "bytes": sent,
        "seconds": round(seconds, 4),
        "route": counted.route,
        "model": counted.model,
    }
    print(json.dumps(line), file=sys.stdout, flush=True)
