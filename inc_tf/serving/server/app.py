"""The server's routes: TensorFlow Serving's REST, health, metrics, and the page."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from inc_tf.serving.export import KERAS_FILE
from inc_tf.serving.server import rest
from inc_tf.serving.server.batching import Batcher, Full
from inc_tf.serving.server.demonstration import Demonstration
from inc_tf.serving.server.rest import Refused
from inc_tf.serving.server.servable import SIZES, Servable

_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:(classify|regress|predict)")
_STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?")
_LARGE = 2**16  # bytes of JSON that are read beside the event loop
_PAGE = Path(__file__).parent / "static"
_HEADERS = {"Content-Security-Policy": "default-src 'self'; img-src 'self' data:", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class Limits:
    """What the server refuses.

    Attributes:
      body: bytes of a request; more get 413.
      waiting: images that wait for an answer; where more would, 429.
      seconds: that a request may take, reading its body included: 408 while it is read, 504 after.
    """

    body: int = 16 * 2**20
    waiting: int = 1024
    seconds: float = 60.0


class _Metrics:
    """What `/metrics` shows, in Prometheus's own form."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "inc_requests", "Requests, by their answer's status.", ["model", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "inc_request_seconds",
            "From a predict request's first byte to its answer.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.batch = Histogram(
            "inc_batch_images", "Images that were answered together.", buckets=SIZES, registry=self.registry
        )
        self.waiting = Gauge("inc_waiting_images", "Images that wait.", registry=self.registry)


class _Server:
    """The routes' common state: the models, the one thread that runs them, the queue before it."""

    def __init__(self, servables: dict[str, Servable], limits: Limits, batching: bool, page: bool):
        self.servables, self.limits = servables, limits
        self.metrics = _Metrics()
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="tensorflow")
        self.batcher = Batcher(
            lambda key, images: servables[key[0]].run(key[1], images, key[2]),
            self.executor,
            SIZES[-1] if batching else 1,
            limits.waiting,
            self.metrics.batch.observe,
        )
        self.metrics.waiting.set_function(lambda: len(self.batcher))
        shown = [
            s for s in servables.values() if (s.folder / KERAS_FILE).exists() and "generator" in s.card["projector"]
        ]
        self.demonstrations = [Demonstration(servable) for servable in shown] if page else []
        self.visitors = asyncio.Semaphore(4)
        self.ready = False

    def load(self) -> None:
        for servable in self.servables.values():
            print(f"{servable.name} version {servable.version}: ready after {servable.load():.0f} s", flush=True)
        for demonstration in self.demonstrations:
            demonstration.load()
        self.ready = True

    async def models(self, request: Request) -> Response:
        """`/v1/models/…`, as TensorFlow Serving answers it."""
        path, started = request.url.path, time.monotonic()
        called, asked = _PREDICT.fullmatch(path), _STATUS.fullmatch(path)
        known = "none"
        try:
            if called and request.method == "POST":
                name, version, method = called.groups()
                servable = self._servable(name, version)
                known = name
                answer = await self._predict(request, servable, method)
            elif asked and request.method == "GET":
                name, version, metadata = asked.groups()
                servable = self._servable(name, version)
                known = name
                answer = JSONResponse(servable.metadata() if metadata else _status(servable))
            else:
                raise Refused(404, f"Malformed request: {request.method} {path[:200]}")
        except Refused as refused:
            answer = _error(refused.status, refused.message)
        if called:
            self.metrics.seconds.observe(time.monotonic() - started)
        self.metrics.requests.labels(known, answer.status_code).inc()
        return answer

    def _servable(self, name: str, version: str | None) -> Servable:
        servable = self.servables.get(name)
        if servable is None or (version is not None and version.lstrip("0") != str(servable.version)):
            which = "Latest" if version is None else "Specific"
            wanted = name[:80] if version is None else f"{name[:80]}, {version[:20]}"
            known = ", ".join(f"{s.name} (version {s.version})" for s in self.servables.values())
            raise Refused(404, f"Servable not found for request: {which}({wanted}); there are: {known}")
        return servable

    async def _predict(self, request: Request, servable: Servable, method: str) -> Response:
        if method != "predict":
            raise Refused(400, f"{servable.name!r} has predict signatures only; {method} is for tf.Example ones")
        if servable.state != "AVAILABLE":
            raise Refused(503, f"{servable.name!r} is loading; /healthz tells when it is ready")
        body = b""
        try:
            async with asyncio.timeout(self.limits.seconds):
                body = await self._body(request)
                understood = partial(rest.prediction, body, servable)
                wanted = await asyncio.to_thread(understood) if len(body) > _LARGE else understood()
                if len(wanted.images) > self.limits.waiting:
                    raise Refused(413, f"{len(wanted.images)} images; a request may have {self.limits.waiting}")
                answers = await self._answers(servable, wanted)
        except TimeoutError as error:
            if not body:
                raise Refused(408, f"The request's body did not come within {self.limits.seconds:g} s") from error
            raise Refused(504, f"No answer within {self.limits.seconds:g} s; the server is busy") from error
        return Response(rest.response(answers, wanted.rows), media_type="application/json")

    async def _answers(self, servable: Servable, wanted: rest.Prediction) -> list[dict]:
        keys = [(servable.name, wanted.signature, seed) for seed in wanted.seeds]
        try:
            return await self.batcher.submit(keys, wanted.images)
        except Full as error:
            raise Refused(429, f"{len(self.batcher)} images wait already; try again later") from error

    async def _body(self, request: Request) -> bytes:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise Refused(415, f"The body's encoding is {encoding[:40]!r}; it must be plain JSON, not compressed")
        too_large = Refused(413, f"The request's body is larger than {self.limits.body} bytes")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.limits.body:
            raise too_large
        parts, size = [], 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > self.limits.body:
                    raise too_large
                parts.append(part)
        except ClientDisconnect as error:
            raise Refused(400, "The client left before its body was whole") from error
        return b"".join(parts)

    async def health(self, request: Request) -> Response:
        """200 once every model is loaded and compiled, 503 before."""
        return JSONResponse({"status": "ready" if self.ready else "loading"}, 200 if self.ready else 503)

    async def show_metrics(self, request: Request) -> Response:
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def describe_demonstrations(self, request: Request) -> Response:
        """What the page has to choose from."""
        return JSONResponse([demonstration.describe() for demonstration in self.demonstrations])

    async def demonstrate(self, request: Request) -> Response:
        """One attack and the defence's search, a line of JSON for each look at it."""
        try:
            wanted = {d.servable.name: d for d in self.demonstrations}.get(request.path_params["name"])
            if wanted is None:
                raise Refused(404, "There is no such model on the page")
            if not self.ready:
                raise Refused(503, "The models are loading; /healthz tells when they are ready")
            async with asyncio.timeout(self.limits.seconds):
                work = wanted.work(rest.parsed(await self._body(request)))
            if self.visitors.locked():
                raise Refused(429, "The page is busy; try again later")
        except TimeoutError:
            return _error(408, f"The request's body did not come within {self.limits.seconds:g} s")
        except Refused as refused:
            return _error(refused.status, refused.message)

        async def lines() -> AsyncIterator[bytes]:
            loop = asyncio.get_running_loop()
            async with self.visitors:
                while (event := await loop.run_in_executor(self.executor, next, work, None)) is not None:
                    yield json.dumps(event).encode() + b"\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def _status(servable: Servable) -> dict:
    status = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": str(servable.version), "state": servable.state, "status": status}]}


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status, {"Retry-After": "1"} if status in (429, 503) else None)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, f"{error.detail}: {request.method} {request.url.path[:200]}")


async def _bug(request: Request, error: Exception) -> Response:
    return _error(500, f"The server failed ({type(error).__name__}); its log says where")


def application(
    servables: dict[str, Servable],
    failed: Callable[[BaseException], None],
    *,
    limits: Limits = Limits(),
    batching: bool = True,
    page: bool = True,
) -> Starlette:
    """The ASGI application; its models load in its lifespan, while `/healthz` answers 503.

    Args:
      servables: by name, as `find` answers them.
      failed: called with the exception where a model cannot be loaded.
      limits: what it refuses.
      batching: whether concurrent requests are answered together.
      page: whether there is a page at `/`.
    """
    server = _Server(servables, limits, batching, page)

    def loaded(loading: asyncio.Future) -> None:
        if not loading.cancelled() and (error := loading.exception()):
            failed(error)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette):
        loading = asyncio.get_running_loop().run_in_executor(server.executor, server.load)
        loading.add_done_callback(loaded)
        yield
        server.executor.shutdown(cancel_futures=True)

    routes: list[BaseRoute] = [
        Route("/healthz", server.health),
        Route("/metrics", server.show_metrics),
        Route("/v1/{rest:path}", server.models, methods=["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    ]
    if page:
        routes += [
            Route("/demonstrations", server.describe_demonstrations),
            Route("/demonstrations/{name}", server.demonstrate, methods=["POST"]),
            Mount("/", StaticFiles(directory=_PAGE, html=True)),
        ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error, 500: _bug})
