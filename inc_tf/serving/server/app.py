"""The server's routes: TensorFlow Serving's REST API, health, metrics and the page."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from inc_tf.serving.server import rest
from inc_tf.serving.server.batching import Batcher, Full
from inc_tf.serving.server.bodies import Bodies, Held
from inc_tf.serving.server.guard import LEFT, Guard, account, error
from inc_tf.serving.server.limits import Limits
from inc_tf.serving.server.metrics import Metrics
from inc_tf.serving.server.models import AVAILABLE, LOADING, Model, Models, quiet
from inc_tf.serving.server.rest import Refused

if TYPE_CHECKING:
    from inc_tf.serving.server.demonstration import Demonstration
    from inc_tf.serving.server.servable import Servable

_LARGEST_BATCH = 64
_WHOLE = 2**17  # bytes of an answer that is sent with its length; a longer one goes in pieces
_VISITORS = 64  # demonstrations that wait for their turn; more get 429
_PAGE = Path(__file__).parent / "static"


class _Server:
    """State that the routes share: the models, the thread that runs them, its queue, and the page's own thread."""

    def __init__(self, directory: Path, limits: Limits, batching: bool, page: bool):
        self.limits = limits
        self.metrics = Metrics()
        self.models = Models(directory, page, self._changed)
        self.bodies = Bodies(limits)
        self.turn = asyncio.Lock()
        self.executor = ThreadPoolExecutor(1, thread_name_prefix="tensorflow")
        self.batcher = Batcher(
            lambda key, images: key[0].run(key[1], images, key[2]),
            self.executor,
            _LARGEST_BATCH if batching else 1,
            limits.waiting,
            lambda key, *observed: self.metrics.observe_batch(key[0].name, *observed),
        )
        self.page_executor = ThreadPoolExecutor(1, thread_name_prefix="page", initializer=quiet)
        self.page_turn = asyncio.Lock()
        self.visitors = 0
        self.metrics.waiting.set_function(lambda: len(self.batcher))
        self.metrics.running.set_function(lambda: self.batcher.running)
        self.metrics.bodies.set_function(lambda: self.bodies.used)
        self.metrics.visitors.set_function(lambda: self.visitors)
        self._shown: dict[str, set[str]] = {}

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self.models.start()
        yield
        self.models.stop()
        for executor in (self.executor, self.page_executor):
            executor.shutdown(wait=False, cancel_futures=True)

    def _changed(self, name: str, model: Model | None) -> None:
        """Update the metric of versions; called in the loader's thread."""
        versions = {str(v.number): v.state == AVAILABLE for v in model.versions()} if model else {}
        for gone in self._shown.pop(name, set()) - set(versions):
            self.metrics.models.remove(name, gone)
        for version, available in versions.items():
            self.metrics.models.labels(name, version).set(available)
        self._shown[name] = set(versions)

    def _model(self, request: Request, route: str) -> tuple[str, Model]:
        """The model in the path. Raises `Refused`."""
        counted = account(request.scope)
        counted.route = route
        name, version = request.path_params["name"], _version(request)
        model = self.models.all.get(name)
        if model is None and not self.models.ready:
            raise Refused(503, f"{rest.shown(name)!r} may still be loading; /healthz tells when all models are")
        if model is None or not (version is None or any(v.number == version for v in model.versions())):
            which = f"Latest({rest.shown(name)})" if version is None else f"Specific({rest.shown(name)}, {version})"
            known = ", ".join(f"{n} (version {m.latest.number})" for n, m in sorted(self.models.all.items()))
            raise Refused(404, f"Servable not found for request: {which}; there are: {known[:1000]}")
        counted.model = name
        return name, model

    def _servable(self, request: Request, route: str) -> "Servable":
        """The servable of the path's model and version. Raises `Refused`."""
        name, model = self._model(request, route)
        if model.servable is not None and _version(request) in (None, model.servable.version):
            return model.servable
        if model.latest.state == LOADING:
            raise Refused(503, f"{name!r} is loading; /healthz tells when it is ready")
        raise Refused(503, f"{name!r} is not available: {model.latest.error}")

    async def status(self, request: Request) -> Response:
        """The state of a model's versions."""
        if ":" in request.path_params["name"]:
            raise HTTPException(405, headers={"Allow": "POST"})
        _, model = self._model(request, "status")
        version = _version(request)
        return JSONResponse(
            {"model_version_status": [v.status() for v in model.versions() if version in (None, v.number)]}
        )

    async def metadata(self, request: Request) -> Response:
        """The signatures of the model."""
        return JSONResponse(self._servable(request, "metadata").metadata())

    async def predict(self, request: Request) -> Response:
        """A signature's answers for images."""
        servable = self._servable(request, "predict")
        method = request.path_params["method"]
        if method != "predict":
            raise Refused(400, f"{servable.name!r} has predict signatures only; {method[:20]} is for tf.Example ones")
        held = await self.bodies.read(request)
        try:
            answers, rows = await self._until_left(request, self._answers(servable, held))
            pieces = rest.response(answers, rows)
            first = await rest.in_turns(_joined(pieces), self.turn)
        except BaseException:
            self.bodies.release(held)
            raise
        return _Answer(first, pieces, self, held)

    async def _answers(self, servable: "Servable", held: Held) -> tuple[list[dict], bool]:
        try:
            async with asyncio.timeout(self.limits.seconds):
                work = rest.prediction(held.data, servable, self.limits.waiting)
                held.data = bytearray()  # the work has it, and drops it at its end
                wanted = await rest.in_turns(work, self.turn)
                keys = [(servable, wanted.signature, seed) for seed in wanted.seeds]
                return await self.batcher.submit(keys, wanted.images), wanted.rows
        except TimeoutError as error:
            raise Refused(504, f"No answer within {self.limits.seconds:g} s; the server is busy") from error
        except Full as error:
            raise Refused(429, f"{len(self.batcher)} images wait already; try again later") from error

    async def _until_left(self, request: Request, work: Any) -> Any:
        """The result of `work`, which is cancelled if the client leaves, so that no images are computed for nobody."""
        working = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise Refused(LEFT, "The client left before its answer")
            return working.result()
        finally:
            working.cancel()
            leaving.cancel()

    async def health(self, request: Request) -> Response:
        """200 once every model and its page is loaded or has failed, and one is available; 503 before."""
        account(request.scope).route = "health"
        states = {name: model.servable is not None for name, model in sorted(self.models.all.items())}
        if not self.models.ready:
            return JSONResponse({"status": "loading"}, 503)
        unavailable = [name for name, available in states.items() if not available]
        ready = any(states.values())
        return JSONResponse(
            {"status": "ready" if ready else "unavailable", "unavailable": unavailable}, 200 if ready else 503
        )

    async def show_metrics(self, request: Request) -> Response:
        """Prometheus's text."""
        account(request.scope).route = "metrics"
        return Response(generate_latest(self.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def _demonstrations(self) -> dict[str, tuple["Servable", "Demonstration"]]:
        """The page's demonstrations by name. The bundled digits, a substitute for MNIST, come last."""
        shown = {
            name: (model.servable, model.servable.demonstration)
            for name, model in self.models.all.items()
            if model.servable is not None and model.servable.demonstration is not None
        }
        return dict(sorted(shown.items(), key=lambda item: (item[1][0].card["dataset"] == "digits", item[0])))

    async def describe_demonstrations(self, request: Request) -> Response:
        """The choices on the page."""
        account(request.scope).route = "page"
        if not self.models.ready:
            raise Refused(503, "The models are loading; /healthz tells when they are ready")
        shown = [demonstration.description for _, demonstration in self._demonstrations().values()]
        return Response(b"[" + b",".join(shown) + b"]", media_type="application/json")

    async def demonstrate(self, request: Request) -> Response:
        """One attack, then the defence's search: a line of JSON for each step that the page shows."""
        counted = account(request.scope)
        counted.route = "demonstration"
        found = self._demonstrations().get(request.path_params["name"])
        if found is None:
            if not self.models.ready:
                raise Refused(503, "The models are loading; /healthz tells when they are ready")
            raise Refused(404, "There is no such model on the page")
        counted.model = request.path_params["name"]
        held = await self.bodies.read(request, found[1].largest_body)
        try:
            document = await asyncio.to_thread(rest.parsed, held.data, found[1].largest_body)
        finally:
            self.bodies.release(held)
        work = found[1].work(document)
        if self.visitors >= _VISITORS:
            raise Refused(429, f"{_VISITORS} visitors wait already; try again later")
        return StreamingResponse(self._lines(work), media_type="application/x-ndjson")

    async def _lines(self, work: Iterator[dict]) -> AsyncIterator[bytes]:
        """The events as lines, once it is this visitor's turn."""
        self.visitors += 1
        try:
            if self.page_turn.locked():
                yield _line({"event": "queued", "ahead": self.visitors - 1})
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(self.limits.seconds), self.page_turn:
                while (event := await loop.run_in_executor(self.page_executor, next, work, None)) is not None:
                    yield _line(event)
        except TimeoutError:
            yield _line({"event": "failed", "error": f"No answer within {self.limits.seconds:g} s; the page is busy"})
        finally:
            self.visitors -= 1


class _Answer(Response):
    """An answer in pieces, each written once the client has taken those before. It ends the request."""

    def __init__(self, first: bytes, pieces: Iterator[bytes], server: _Server, held: Held):
        self._first, self._pieces, self._server, self._held = first, pieces, server, held
        super().__init__(media_type="application/json")
        del self.headers["content-length"]
        if len(first) < _WHOLE:
            self.headers["content-length"] = str(len(first))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held, part = self._held, self._first
        try:
            async with held.waiting_for_client(self._server.limits.seconds):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                while len(part) >= _WHOLE:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    held.moved(len(part))
                    part = await rest.in_turns(_joined(self._pieces), self._server.turn)
                await send({"type": "http.response.body", "body": part})
        except TimeoutError:
            pass  # who does not read gets no more: the connection is closed, since the answer is not whole
        finally:
            self._server.bodies.release(held)


def _joined(pieces: Iterator[bytes]):
    """The next pieces joined to `_WHOLE` bytes or slightly more; only the last is shorter."""
    part = bytearray()
    for piece in pieces:
        part += piece
        if len(part) >= _WHOLE:
            break
        yield
    return bytes(part)


def _version(request: Request) -> int | None:
    """The version in the path; None for the latest. Raises `Refused`."""
    version = request.path_params.get("version")
    if version is None:
        return None
    if not (version.isascii() and version.isdecimal()) or len(version) > 18:
        raise Refused(404, f"Malformed request: a version is an int64, not {rest.shown(version)!r}")
    return int(version)


def _line(event: dict) -> bytes:
    return json.dumps(event).encode() + b"\n"


async def _left(request: Request) -> None:
    """Returns once the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return error(refused.status, refused.message)


async def _http_error(request: Request, raised: Exception) -> Response:
    assert isinstance(raised, HTTPException)
    path = f"{request.method[:20]} {request.url.path[:200]}"
    if raised.status_code == 405:
        allowed = (raised.headers or {}).get("Allow", "GET, HEAD")
        allowed = ", ".join(sorted(method.strip() for method in allowed.split(",")))
        return error(405, f"Method Not Allowed: {path}; it takes {allowed}", {"Allow": allowed})
    return error(raised.status_code, f"{raised.detail}: {path}")


async def _bug(request: Request, raised: Exception) -> Response:
    return error(500, f"The server failed ({type(raised).__name__}); its log says where")


class _Page(StaticFiles):
    """The page's files, whole. Browsers request them anew each time, so that page and server have the same version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        account(scope).route = "page"
        if "\0" in path:
            raise HTTPException(404)
        # Starlette refuses a range that it cannot serve in plain text, or without a word.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range"]
        answer = await super().get_response(path, scope)
        del answer.headers["Accept-Ranges"]
        answer.headers["Cache-Control"] = "no-cache"
        return answer


def application(
    directory: Path,
    hosts: frozenset[str] | None,
    *,
    limits: Limits = Limits(),
    batching: bool = True,
    page: bool = True,
    access_log: bool = False,
) -> ASGIApp:
    """The ASGI application. Its models load during its lifespan; until then `/healthz` returns 503.

    Args:
      directory: a folder of `inc export`.
      hosts: the host names that it accepts, from `guard.hosts`.
      limits: what it refuses.
      batching: whether to answer concurrent requests together.
      page: whether there is a page at `/`.
      access_log: whether to print a line for each request.

    Raises `InputError` if there is no model.
    """
    server = _Server(directory, limits, batching, page)
    model, version = "/v1/models/{name}", "/v1/models/{name}/versions/{version}"
    routes: list[BaseRoute] = [
        Route("/healthz", server.health),
        Route("/metrics", server.show_metrics),
        *(Route(f"{path}:{{method}}", server.predict, methods=["POST"]) for path in (model, version)),
        *(Route(f"{path}/metadata", server.metadata) for path in (model, version)),
        *(Route(path, server.status) for path in (model, version)),
    ]
    if page:
        routes += [
            Route("/demonstrations", server.describe_demonstrations),
            Route("/demonstrations/{name}", server.demonstrate, methods=["POST"]),
        ]
    handlers: dict[Any, Any] = {HTTPException: _http_error, Refused: _refused, 500: _bug}
    app = Starlette(routes=routes, lifespan=server.lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False
    if page:
        app.router.default = _Page(directory=_PAGE, html=True)
    return Guard(app, hosts, server.metrics, access_log)
