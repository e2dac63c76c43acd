"""A server under fire: clients that stall, lie and flood, and what the others notice of it.

    python benchmarks/serving_fuzz.py MODELS --seconds 60       # MODELS/<name>/<version>, as `inc export` writes it

Prints one line of JSON: the statuses that the attackers got, the longest time that `/healthz` and a prediction of one
image took meanwhile, whether each prediction was right, and by how much the server's memory grew, beside the bound that
it printed when it started. Ends with 1 where an answer was a 5xx, a prediction wrong, or the bound exceeded.
"""

import contextlib
import http.client
import json
import multiprocessing
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click
from serving_clients import Server, ask, malformed, serving

import inc_tf as inc

MIB = 2**20


@dataclass
class Findings:
    """What was seen; times are in seconds."""

    statuses: Counter = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    healthz: list[float] = field(default_factory=list)
    predictions: list[float] = field(default_factory=list)
    refused: int = 0
    growth_mib: float = 0.0

    def summary(self) -> dict:
        """As JSON has it."""
        return {
            "statuses": dict(sorted(self.statuses.items())),
            "failures": self.failures[:10],
            "healthz_max_ms": round(1000 * max(self.healthz), 1),
            "predictions": len(self.predictions),
            "predictions_refused": self.refused,
            "prediction_max_ms": round(1000 * max(self.predictions), 1),
            "growth_mib": round(self.growth_mib, 1),
        }


class Fire:
    """Attackers on a server's model, each a thread.

    Args:
      port: of the server, on loopback.
      name: of the model.
      image: a right image, nested lists.
      body_mib: the server's limit on a body.
      seed: of what they send.
    """

    def __init__(self, port: int, name: str, image: list, body_mib: int, seed: int):
        self._port, self._name, self._image, self._largest = port, name, image, body_mib * MIB
        self._seed = seed
        self._over = threading.Event()
        self._predict = f"/v1/models/{name}:predict"
        self.statuses: Counter = Counter()
        self.failures: list[str] = []

    def until(self, told: Connection) -> None:
        """Attack until something comes through `told`; then send there the statuses and failures."""
        attackers = [
            self._half_open,
            self._stalled_bodies,
            self._giants,
            self._giants,
            self._surrogates,
            self._nested,
            self._tiny_chunks,
            self._readers_of_nothing,
            self._malformed,
        ]
        threads = [
            threading.Thread(target=self._attack, args=(attacker, random.Random(self._seed + i)))
            for i, attacker in enumerate(attackers)
        ]
        for thread in threads:
            thread.start()
        told.recv()
        self._over.set()
        for thread in threads:
            thread.join()
        told.send((self.statuses, self.failures))

    def _attack(self, attacker: Callable[[random.Random], None], rng: random.Random) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                attacker(rng)

    def _ask(self, method: str, path: str, body: bytes, headers: dict | None = None) -> None:
        try:
            status, answer = ask(self._port, method, path, body, headers)
        except (ConnectionError, http.client.HTTPException):
            self.statuses["closed"] += 1  # refused while the body was still being sent
            return
        self._note(status, (method, path, body[:80]))
        if status >= 400 and not json.loads(answer).get("error"):
            self.failures.append(f"{status} without a sentence: {path} {body[:80]!r}")

    def _note(self, status: int, what: object) -> None:
        self.statuses[status] += 1
        if status >= 500:
            self.failures.append(f"{status}: {what!r}")

    def _open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=30)

    def _head(self, length: int, path: str | None = None) -> bytes:
        lines = [f"POST {path or self._predict} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
        return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()

    def _half_open(self, rng: random.Random) -> None:
        """700 connections at once, with nothing, half a line, or half of the headers."""
        with contextlib.ExitStack() as stack:
            for _ in range(700):
                raw = stack.enter_context(self._open())
                raw.sendall(rng.choice([b"", b"GE", b"GET / HTTP/1.1\r\n", self._head(10)[:-2]]))
            self._over.wait(5)

    def _stalled_bodies(self, rng: random.Random) -> None:
        """60 bodies of which the last byte does not come."""
        with contextlib.ExitStack() as stack:
            for _ in range(60):
                raw = stack.enter_context(self._open())
                with contextlib.suppress(OSError):
                    raw.sendall(self._head(self._largest) + b" " * (self._largest - 1))
            self._over.wait(5)

    def _giants(self, rng: random.Random) -> None:
        """Bodies of the largest size that are one thing over and over."""
        opening, part, closing = rng.choice(
            [
                (b"", b"[", b""),
                (b"", b'{"instances":', b""),
                (b'{"instances":[', b"0,", b"0]}"),
                (b'{"instances":[[', b"[0.5],", b"[0]]]}"),
                (b'{"inputs":{"images":[', b"[[0]],", b"[]]}}"),
                (b'{"inputs":{"seed":[', b"1,", b"1]}}"),
                (b'{"x":"', b"\\u0041", b'"}'),
                (b'{"', b"k", b'":1}'),
                (b'{"x":', b"9", b"}"),
                (b"{", b'"a":1,', b'"b":1}'),
                (b"", b" ", b"{}"),
                (b"", "é".encode(), b""),
            ]
        )
        body = opening + part * ((self._largest - len(opening) - len(closing)) // len(part)) + closing
        path = rng.choice([self._predict, self._predict, f"/demonstrations/{self._name}"])
        self._ask("POST", path, body)

    def _surrogates(self, rng: random.Random) -> None:
        """Half of a surrogate pair wherever a string can be."""
        half = rng.choice([r"\ud800", r"\udfff", r"\ud800x", r"\udc00\ud800"])
        image = json.dumps(self._image)
        text = rng.choice(
            [
                f'{{"{half}": 1, "instances": [{image}]}}',
                f'{{"signature_name": "{half}", "instances": [{image}]}}',
                f'{{"x": [{{"{half}": "{half}"}}], "instances": [{image}]}}',
                f'{{"instances": ["{half}"]}}',
                f'{{"instances": [{{"images": {image}, "{half}": 0}}]}}',
                f'{{"inputs": {{"images": [{image}], "seed": "{half}"}}}}',
                f'"{half}"',
                f'{{"image": "{half}", "attack": "fgsm", "epsilon": 0.1}}',
                f'{{"{half}": "{half}"}}',
            ]
        )
        self._ask("POST", rng.choice([self._predict, f"/demonstrations/{self._name}"]), text.encode())

    def _nested(self, rng: random.Random) -> None:
        depth = rng.choice([60, 1000, 30_000])
        opening, closing = rng.choice([(b"[", b"]"), (b'{"instances":', b"}"), (b'{"inputs":{"images":[', b"]}}")])
        body = opening * depth + b"0" + closing * rng.choice([0, depth])
        self._ask("POST", self._predict, rng.choice([b"", b'{"instances":']) + body)

    def _tiny_chunks(self, rng: random.Random) -> None:
        """A body in chunks of a byte."""
        with self._open() as raw:
            head = self._head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
            raw.sendall(head + b"1\r\n \r\n" * 200_000)

    def _readers_of_nothing(self, rng: random.Random) -> None:
        """Twenty clients that ask for many images' projections and do not read them."""
        body = json.dumps({"signature_name": "project", "instances": [self._image] * 40}).encode()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                raw = stack.enter_context(self._open())
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.sendall(self._head(len(body)) + body)
            self._over.wait(5)

    def _malformed(self, rng: random.Random) -> None:
        self._ask(*malformed(rng, self._name, self._image))


def under_fire(
    server: Server, name: str, image: list, body_mib: int, more: Callable[[int, float], bool], seed: int = 0
):
    """Ask for `/healthz` and a prediction by turns while the attackers are at work, while ``more(asked, seconds)``.

    A prediction may be refused, with 429, where the attackers have filled what there is; it may not be wrong.
    """
    path, body = f"/v1/models/{name}:predict", json.dumps({"instances": [image]}).encode()
    (right,) = json.loads(server.ask("POST", path, body)[1])["predictions"]
    many = json.dumps({"signature_name": "project", "instances": [image] * 64}).encode()
    server.ask("POST", path, many)  # the graph's own memory, at its largest batch
    before = server.rss()
    found, highest = Findings(), before
    with attacked(server.port, name, image, body_mib, seed) as (statuses, failures):
        asked, started = 0, time.perf_counter()
        while more(asked, time.perf_counter() - started):
            asked += 1
            begun = time.perf_counter()
            status, _ = server.ask("GET", "/healthz")
            found.healthz.append(time.perf_counter() - begun)
            if status != 200:
                found.failures.append(f"/healthz answered {status}")
            begun = time.perf_counter()
            status, answer = server.ask("POST", path, body)
            found.predictions.append(time.perf_counter() - begun)
            highest = max(highest, server.rss())
            if status == 429:
                found.refused += 1
            elif status != 200 or json.loads(answer)["predictions"][0]["label"] != right["label"]:
                found.failures.append(f"a prediction got {status}: {answer[:200]!r}")
    found.statuses, found.growth_mib = statuses, highest - before
    found.failures += failures
    return found


@contextlib.contextmanager
def attacked(*fire: Any) -> Iterator[tuple[Counter, list[str]]]:
    """All attackers at work in a process of their own; what they were told is there at the end."""
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_attackers, args=(there, *fire))
    process.start()
    statuses: Counter = Counter()
    failures: list[str] = []
    try:
        yield statuses, failures
    finally:
        here.send(None)
        told = here.recv()
        process.join()
        statuses.update(told[0])
        failures += told[1]


def _attackers(told: Connection, *fire: Any) -> None:
    Fire(*fire).until(told)


@click.command()
@click.argument("models", type=click.Path(path_type=Path, exists=True))
@click.option("--name", default="digits", show_default=True, help="Of the model, of 28×28 images.")
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(models: Path, name: str, seconds: float, seed: int) -> None:
    """Start `inc serve` on MODELS and put it under fire."""
    image = inc.data.load("digits", "test").images[0].tolist()
    with serving(models) as server:
        found = under_fire(server, name, image, 16, lambda asked, passed: passed < seconds, seed)
    bound = server.memory_mib
    click.echo(json.dumps({**found.summary(), "bound_mib": bound}))
    sys.exit(bool(found.failures) or found.growth_mib > bound)


if __name__ == "__main__":
    main()
