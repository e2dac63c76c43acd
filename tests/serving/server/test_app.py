"""The server as a whole: under load, under malformed requests, as it starts and stops."""

import contextlib
import json
import random
import shutil
import signal
import socket

import numpy as np
import pytest
from click.testing import CliRunner
from serving_clients import load, malformed, serving

from inc_tf.cli.main import main

CLIENTS = 64


@pytest.mark.parametrize("name", ["adam", "lm"])
def test_concurrent_clients_each_get_their_own_answer(server, defenses, digits, name):
    images = digits.images[:CLIENTS]
    wanted = defenses[name](images)
    bodies = [json.dumps({"signature_name": "project", "instances": [image.tolist()]}).encode() for image in images]
    path = f"/v1/models/{name}:predict"
    answers = load(server.port, path, bodies, CLIENTS, lambda sent, seconds: sent < 2 * CLIENTS)
    assert [status for _, _, status, _ in answers.rows] == [200] * 2 * CLIENTS
    flat = wanted.projections.numpy().reshape(CLIENTS, -1)
    for i, _, _, body in answers.rows:
        (answer,) = json.loads(body)["predictions"]
        found = np.float32(answer["image"]).ravel()
        assert np.argmin(np.linalg.norm(flat - found, axis=1)) == i
        assert answer["distance"] == pytest.approx(float(wanted.distances[i]), rel=1e-2)
    status, metrics = server.ask("GET", "/metrics")
    assert status == 200
    batches, rows = (
        float(line.split()[-1])
        for line in metrics.decode().splitlines()
        if line.startswith(("inc_batch_images_count", "inc_batch_images_sum"))
    )
    assert rows > 2 * batches  # they were answered together


def test_whatever_is_malformed_gets_a_4xx_and_the_server_is_right_afterwards(server, image):
    good = json.dumps({"instances": [image]}).encode()
    before = server.ask("POST", "/v1/models/adam:predict", good)
    rng = random.Random(0)
    for _ in range(600):
        request = malformed(rng, "adam", image)
        status, answer = server.ask(*request)
        assert 400 <= status < 500, (request, answer)
        assert json.loads(answer)["error"], request
    assert server.ask("POST", "/v1/models/adam:predict", good) == before
    assert before[0] == 200


def test_a_body_that_is_too_large_is_refused_with_and_without_its_length(server):
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as raw:
            length = "" if headers else f"Content-Length: {3 * 2**20}\r\n"
            extra = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
            raw.sendall(f"POST /v1/models/adam:predict HTTP/1.1\r\nHost: x\r\n{length}{extra}\r\n".encode())
            if headers:
                for _ in range(33):  # chunks of 64 KiB, of a limit of 2 MiB
                    raw.sendall(b"10000\r\n" + b" " * 2**16 + b"\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += raw.recv(4096)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"larger than 2097152 bytes" in answer


def test_what_is_not_http_gets_a_400(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as raw:
        raw.sendall(b"\x16\x03\x01\x02\x00 no HTTP\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_a_server_refuses_what_is_too_slow_or_too_much_and_finishes_what_it_began(models, tmp_path, image):
    (tmp_path / "lm").symlink_to(models / "lm")
    path, one = "/v1/models/lm:predict", json.dumps({"instances": [image]}).encode()
    with serving(tmp_path, "--timeout", "20", "--max-waiting", "10", "--no-page") as own:
        assert own.ask("GET", "/")[0] == 404
        status, answer = own.ask("POST", path, json.dumps({"instances": [image] * 11}).encode())
        assert (status, json.loads(answer)) == (413, {"error": "11 images; a request may have 10"})
        with socket.create_connection(("127.0.0.1", own.port), timeout=120) as raw:
            raw.sendall(_head(path, len(one)) + one[:-1])
            many = json.dumps({"instances": [image] * 10}).encode()
            answers = load(own.port, path, [many], 8, lambda sent, seconds: sent < 40)
            statuses = {status for _, _, status, _ in answers.rows}
            assert statuses <= {200, 429, 504}
            assert 429 in statuses
            assert own.ask("POST", path, one)[0] == 200
            assert raw.recv(4096).startswith(b"HTTP/1.1 408 ")  # the body's end did not come
        with socket.create_connection(("127.0.0.1", own.port), timeout=120) as raw:
            raw.sendall(_head(path, len(one)) + one[:-1])
            assert own.ask("GET", "/healthz")[0] == 200  # by now it has read that
            own.process.terminate()
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                while True:
                    socket.create_connection(("127.0.0.1", own.port), timeout=120).close()
            raw.sendall(one[-1:])
            assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert own.process.wait(120) == -signal.SIGTERM


def _head(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda folder: None, "holds no model"),
        (lambda folder: (folder / "mine" / "1").mkdir(parents=True), "is not what `inc export` writes"),
    ],
)
def test_a_folder_without_models_is_one_sentence(tmp_path, prepare, sentence):
    prepare(tmp_path)
    done = CliRunner().invoke(main, ["serve", str(tmp_path)])
    assert done.exit_code == 1
    assert sentence in done.output
    assert "Traceback" not in done.output


def test_a_model_that_cannot_be_loaded_ends_the_server(models, tmp_path):
    shutil.copytree(models / "lm", tmp_path / "lm")
    (tmp_path / "lm" / "1" / "variables" / "variables.index").unlink()
    done = CliRunner().invoke(main, ["serve", str(tmp_path), "--port", "8599"])
    assert done.exit_code == 1
    assert done.output.splitlines()[-1].startswith(f"Error: '{tmp_path / 'lm' / '1'}' cannot be loaded")
