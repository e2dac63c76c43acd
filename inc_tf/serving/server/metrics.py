"""What `/metrics` shows, in Prometheus's own form."""

import platform
from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The server's numbers; `registry` has them and the process's."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "inc_requests",
            "Requests, by their answer's status; 499 where the client left before it.",
            ["model", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "inc_request_seconds",
            "From a request's last header to its answer's end; ok is 2xx and 3xx, refused 4xx, failed 5xx.",
            ["model", "route", "outcome"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.queued = Histogram(
            "inc_queue_seconds",
            "Of each batch, how long its oldest image waited for it.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.computed = Histogram(
            "inc_graph_seconds",
            "Of each batch, how long the graph took.",
            ["model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "inc_batch_images",
            "Images that were answered together.",
            ["model"],
            buckets=_IMAGES,
            registry=self.registry,
        )
        self.images = Counter("inc_images", "Images answered.", ["model"], registry=self.registry)
        self.waiting = Gauge("inc_waiting_images", "Images that wait for a batch.", registry=self.registry)
        self.running = Gauge("inc_batches_in_progress", "Batches that run now.", registry=self.registry)
        self.bodies = Gauge("inc_body_bytes", "Bodies of the requests that are at work.", registry=self.registry)
        self.visitors = Gauge("inc_page_visitors", "Demonstrations that run or wait.", registry=self.registry)
        self.models = Gauge(
            "inc_model_available",
            "Whether a version is served: 1, or 0 where it loads or cannot be loaded.",
            ["model", "version"],
            registry=self.registry,
        )
        versions = {name: metadata.version(name) for name in ("tensorflow", "keras")}
        Info("inc_build", "Versions.", registry=self.registry).info(
            {"version": metadata.version("inc-tf"), "python": platform.python_version(), **versions}
        )

    def observe_batch(self, model: str, size: int, waited: float, ran: float) -> None:
        """A batch has been answered."""
        self.batch.labels(model).observe(size)
        self.images.labels(model).inc(size)
        self.queued.labels(model).observe(waited)
        self.computed.labels(model).observe(ran)

    def observe_request(self, model: str, route: str, status: int, seconds: float) -> None:
        """A request is over."""
        outcome = {2: "ok", 3: "ok", 4: "refused"}.get(status // 100, "failed")
        self.requests.labels(model, route, status).inc()
        self.seconds.labels(model, route, outcome).observe(seconds)
