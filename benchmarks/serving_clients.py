"""What the benchmark and the tests of the server share: a server, clients that load it, and requests that are wrong."""

import contextlib
import http.client
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple


class Server(NamedTuple):
    """A running `inc serve`, its output, and the bound on its requests' memory that it printed, MiB."""

    port: int
    process: subprocess.Popen
    output: IO[str]
    memory_mib: int

    def said(self) -> str:
        """Its standard output so far."""
        self.output.seek(0)
        return self.output.read()

    def rss(self) -> float:
        """Its resident memory now, MiB; on Linux."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kib,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kib) / 1024

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> tuple[int, bytes]:
        """See `ask`."""
        return ask(self.port, method, path, body, headers)

    def stop(self) -> int:
        """Ask it to stop, and wait; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(directory: Path, *options: str) -> Iterator[Server]:
    """`inc serve` in a process of its own, ready; killed at the end where it still runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from inc_tf.cli.main import main; main()", "serve", str(directory)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([*command, "--port", str(port), *options], stdout=output)
        server = Server(port, process, output, 0)
        try:
            while not _ready(server):
                if process.poll() is not None:
                    raise RuntimeError(f"inc serve ended with {process.returncode}")
                time.sleep(0.2)
            (bound,) = re.findall(r"Requests may take (\d+) MiB", server.said())
            yield server._replace(memory_mib=int(bound))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def ask(port: int, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own: the answer's status and body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _ready(server: Server) -> bool:
    try:
        return server.ask("GET", "/healthz")[0] == 200
    except OSError:
        return False


@dataclass
class Answers:
    """What a load got: for each request the body's number, the seconds it took, its status, and its answer."""

    seconds: float = 0.0
    rows: list[tuple[int, float, int, bytes]] = field(default_factory=list)


def load(port: int, path: str, bodies: list[bytes], clients: int, more: Callable[[int, float], bool]) -> Answers:
    """`clients` threads, each with one connection and one request at a time, which take the bodies in turn.

    ``more(sent, seconds)`` says whether another request is to be sent.
    """
    answers, lock, started = Answers(), threading.Lock(), time.perf_counter()
    sent = 0

    def client() -> None:
        nonlocal sent
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        with contextlib.closing(connection):
            while True:
                with lock:
                    if not more(sent, time.perf_counter() - started):
                        return
                    i, sent = sent % len(bodies), sent + 1
                begun = time.perf_counter()
                connection.request("POST", path, bodies[i])
                answer = connection.getresponse()
                row = (i, 0.0, answer.status, answer.read())
                answers.rows.append((row[0], time.perf_counter() - begun, *row[2:]))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.seconds = time.perf_counter() - started
    return answers


class Malformed(NamedTuple):
    """A request that must be refused."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


def malformed(rng: random.Random, name: str, image: list) -> Malformed:
    """A request that no server may answer with 200: schema-driven, or random bytes.

    `image` is a right one for model `name`, nested lists of floats in [0, 1].
    """
    predict = f"/v1/models/{name}:predict"
    kind = rng.choice(list(_KINDS))
    return _KINDS[kind](rng, predict, name, image)


def _post(path: str, document: Any, **headers: str) -> Malformed:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Malformed("POST", path, body, {key.replace("_", "-"): value for key, value in headers.items()})


def _whole(rng: random.Random, image: list) -> dict:
    """A document that is right."""
    return rng.choice(
        [
            {"instances": [image]},
            {"instances": [{"images": image, "seed": 1}]},
            {"inputs": [image]},
            {"signature_name": "project", "inputs": {"images": [image], "seed": 1}},
        ]
    )


def _with_image(rng: random.Random, image: Any) -> dict:
    return _whole(rng, image)


def _random_bytes(rng, predict, name, image):
    return _post(predict, rng.randbytes(rng.choice([0, 1, 10, 1000, 20_000])))


def _truncated(rng, predict, name, image):
    body = json.dumps(_whole(rng, image)).encode()
    return _post(predict, body[: rng.randrange(len(body))])


def _flipped_bytes(rng, predict, name, image):
    body = bytearray(json.dumps(_whole(rng, image)).encode())
    body[rng.randrange(len(body))] = rng.randrange(128, 256)  # never UTF-8 on its own
    return _post(predict, bytes(body))


def _wrong_shape(rng, predict, name, image):
    wrong = rng.choice(
        [
            image[:-1],
            [*image, image[0]],
            [row[:-1] for row in image],
            [image],
            [],
            [[]],
            [[value for (value,) in row] for row in image],
            [*image[:-1], image[0][:-1]],
            [*image[:-1], 0.5],
            0.5,
            [[[value, value] for (value,) in row] for row in image],
        ]
    )
    return _post(predict, _with_image(rng, wrong))


def _with_pixel(rng: random.Random, image: list, pixel: str) -> bytes:
    """A right document but for one pixel, written as `pixel`."""
    changed = json.loads(json.dumps(image))
    changed[rng.randrange(len(image))][rng.randrange(len(image[0]))][0] = "PIXEL"
    return json.dumps(_with_image(rng, changed)).replace('"PIXEL"', pixel).encode()


def _wrong_pixel(rng, predict, name, image):
    numbers = [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e308",
        "-0.001",
        "1.001",
        "255",
        "9" * 400,
        "9" * 6000,
    ]
    types = ["null", "true", "false", '"0.5"', '""', "{}", "[]", '{"b64": "AAAA"}', "[[0.5]]"]
    return _post(predict, _with_pixel(rng, image, rng.choice(numbers + types)))


def _deep(rng, predict, name, image):
    depth = rng.choice([70, 900, 2000, 100_000])
    opening, closing = rng.choice([(b"[", b"]"), (b'{"instances":', b"}"), (b'{"a":[', b"]}")])
    body = opening * depth + b"1" + closing * rng.choice([0, depth])
    return _post(predict, rng.choice([body, b'{"instances":' + body + b"}"]))


def _any_json(rng: random.Random, depth: int = 0) -> Any:
    leaves: list[Any] = [None, True, False, 0, -1, 2**31, 10**30, 0.5, -1e300, "", "é\u0000", "serving_default", [], {}]
    if depth > 3 or rng.random() < 0.4:
        return rng.choice(leaves)
    keys = ["instances", "inputs", "images", "seed", "signature_name", "b64", "x"]
    if rng.random() < 0.5:
        return [_any_json(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(keys): _any_json(rng, depth + 1) for _ in range(rng.randrange(4))}


def _schema_driven(rng, predict, name, image):
    return _post(predict, rng.choice([_any_json(rng), {rng.choice(["instances", "inputs"]): _any_json(rng)}]))


def _wrong_member(rng, predict, name, image):
    odd = rng.choice([7, True, [], {}, 0.5, "", "no_such", "x" * 5000])
    wrong_seed = rng.choice([0.5, True, "1", None, {}, 2**31, -(2**31) - 1, 10**400, [], [1, 2], [0.5], ["a"], [[1]]])
    document = rng.choice(
        [
            {"instances": [image], "signature_name": odd if odd != "" else "no_such"},
            {"instances": [image], "inputs": [image]},
            {"signature_name": "serving_default"},
            {"instances": []},
            {"inputs": []},
            {"inputs": {}},
            {"instances": image[0][0]},
            {"inputs": {"images": [image], "seed": wrong_seed}},
            {"instances": [{"images": image, "seed": wrong_seed}]},
            {"instances": [{"images": image, "extra": odd}]},
            {"instances": [{"seed": 1}]},
            {"instances": [image, odd]},
            {"instances": {"images": image}},
        ]
    )
    return _post(predict, document)


def _other_content(rng, predict, name, image):
    kind = rng.choice(
        ["application/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "image/png"]
    )
    body = rng.choice([b"<a/>", b"--x\r\n\r\n1\r\n--x--", b"instances=1", b"\x89PNG\r\n\x1a\n", b"\x1f\x8b\x08\x00"])
    if rng.random() < 0.3:
        return _post(predict, _whole(rng, image), Content_Encoding=rng.choice(["gzip", "br", "x" * 200]))
    return _post(predict, body, Content_Type=kind)


def _wrong_place(rng, predict, name, image):
    body = json.dumps(_whole(rng, image)).encode()
    path = rng.choice(
        [
            f"/v1/models/{name}x:predict",
            f"/v1/models/{name}/versions/999999999999999999999:predict",
            f"/v1/models/{name}/versions/-1:predict",
            f"/v1/models/{name}:classify",
            f"/v1/models/{name}:regress",
            f"/v1/models/{name}:predict/",
            f"/v1/models/{name}",
            "/v1/models/:predict",
            "/v1/models/%00:predict",
            f"/v1/models/{name}%2Fversions:predict",
            "/v1/",
            "/v2/" + "x" * rng.randrange(2000),
            "/../../etc/passwd",
            "/metrics",
            "/healthz",
        ]
    )
    if rng.random() < 0.2:
        return Malformed(rng.choice(["PUT", "DELETE", "PATCH", "GET"]), predict, body, {})
    return Malformed("POST", path, body, {})


def _wrong_demonstration(rng, predict, name, image):
    right = {"image": "AAAA" * ((len(image) * len(image[0]) + 2) // 3), "label": 3, "attack": "fgsm", "epsilon": 0.1}
    member = rng.choice(
        [
            {"image": rng.choice([None, "", "!!", "AAAA", image, 7, "é" * 40])},
            {"label": rng.choice([-1, 10, 0.5, "3", True, [], 10**30])},
            {"attack": rng.choice([None, "cw", "", 1, [], {}, "__init__"])},
            {"epsilon": rng.choice([None, -0.1, 1.1, "0.1", True, [], 10**400, float("nan"), float("inf")])},
            {"seed": rng.choice([-1, 0.5, "1", True, 2**31, []])},
            {"extra": 1},
        ]
    )
    return _post(f"/demonstrations/{rng.choice([name, name, name + 'x'])}", {**right, **member})


_KINDS: dict[str, Callable[[random.Random, str, str, list], Malformed]] = {
    "random bytes": _random_bytes,
    "truncated": _truncated,
    "flipped bytes": _flipped_bytes,
    "wrong shape": _wrong_shape,
    "wrong pixel": _wrong_pixel,
    "deep": _deep,
    "schema-driven": _schema_driven,
    "wrong member": _wrong_member,
    "other content": _other_content,
    "wrong place": _wrong_place,
    "wrong demonstration": _wrong_demonstration,
}
