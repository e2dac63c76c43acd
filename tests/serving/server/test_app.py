"""The server as a whole: under load, under malformed requests, as it starts and stops."""

import contextlib
import http.client
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import uvicorn
from click.testing import CliRunner
from serving_clients import Server, ask, load, malformed, serving
from serving_fuzz import under_fire

from inc_tf.cli.main import main
from inc_tf.errors import InputError
from inc_tf.serving.server.connections import protocol
from inc_tf.serving.server.limits import Limits
from inc_tf.serving.server.run import bound

pytestmark = [pytest.mark.system, pytest.mark.exact]

CLIENTS = 64


@pytest.fixture(scope="module")
def talkative(models, tmp_path_factory):
    """A server without a page that has another name too, and says what it is asked."""
    folder = tmp_path_factory.mktemp("talkative")
    (folder / "lm").symlink_to(models / "lm")
    with serving(folder, "--allowed-host", "Models.example", "--access-log", "--no-page") as started:
        yield started


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
        found = np.float32(answer["projection"]).ravel()
        assert np.argmin(np.linalg.norm(flat - found, axis=1)) == i
        assert answer["distance"] == pytest.approx(float(wanted.distances[i]), rel=1e-2)
    batches, rows = (metric(server, f'inc_batch_images_{part}{{model="{name}"}}') for part in ("count", "sum"))
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
            raw.sendall(f"POST /v1/models/adam:predict HTTP/1.1\r\nHost: localhost\r\n{length}{extra}\r\n".encode())
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
        head, body = answered(raw)
        assert head.startswith("HTTP/1.1 400 ")
        assert json.loads(body) == {"error": "This is not a request of HTTP/1.1 as RFC 9112 has it"}
        assert "nosniff" in head


def test_a_server_refuses_what_is_too_slow_or_too_much_and_finishes_what_it_began(models, tmp_path, image):
    (tmp_path / "lm").symlink_to(models / "lm")
    path, one = "/v1/models/lm:predict", json.dumps({"instances": [image]}).encode()
    with serving(tmp_path, "--timeout", "10", "--max-waiting", "10", "--no-page") as own:
        assert own.ask("GET", "/")[0] == 404
        status, answer = own.ask("POST", path, json.dumps({"instances": [image] * 11}).encode())
        assert (status, json.loads(answer)["error"]) == (
            413,
            "There are more than 10 images; send them in several requests",
        )
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
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def test_a_request_without_its_headers_is_closed(server):
    with contextlib.ExitStack() as stack:
        stuck = []
        for sent in (b"", b"GET / HT", b"POST /v1/models/lm:predict HTTP/1.1\r\nHost: localhost\r\n"):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=120))
            raw.sendall(sent)
            stuck.append(raw)
        for raw in stuck:
            head, body = answered(raw)
            assert head.startswith("HTTP/1.1 408 ")
            assert json.loads(body)["error"] == "The request's headers did not come within 10 s"


def test_connections_send_at_once():
    with bound("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_more_connections_than_there_may_be_lock_nobody_out(server):
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=120)).sendall(b"G")
        assert server.ask("GET", "/healthz")[0] == 200


def test_stalled_bodies_make_room_for_others(models, tmp_path, image):
    (tmp_path / "lm").symlink_to(models / "lm")
    path, one = "/v1/models/lm:predict", json.dumps({"instances": [image]}).encode()
    limits = ("--timeout", "10", "--max-body", "4", "--max-bodies", "8", "--max-connections", "64", "--no-page")
    with serving(tmp_path, *limits) as own, contextlib.ExitStack() as stack:
        own.ask("POST", path, json.dumps({"instances": [image] * 64}).encode())
        before = own.rss()
        stalled = []
        for _ in range(20):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", own.port), timeout=120))
            raw.sendall(_head(path, 2**22) + b" " * (2**22 - 1))
            stalled.append(raw)
        statuses = {answered(raw)[0].split()[1] for raw in stalled[:16]}
        assert statuses <= {"408", "429"}
        assert own.ask("POST", path, one)[0] == 200
        assert own.rss() - before < own.memory_mib == 4 * 8 + 64 * 3 / 8


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:1"}, 200),
        ({"Host": "[::1]:8501"}, 200),
        ({"Host": "attacker.example"}, 421),
        ({"Host": "localhost.attacker.example"}, 421),
        ({"Host": "127.0.0.1@attacker.example"}, 421),
        ({"Host": "["}, 421),
        ({"Host": "attacker.example@localhost"}, 421),
        ({"Host": "localhost/attacker.example"}, 421),
        ({"Host": "localhost:9", "Origin": "http://localhost:9"}, 200),
        ({"Host": "localhost:9", "Origin": "http://localhost:10"}, 403),
        ({"Origin": "https://attacker.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ],
)
def test_only_its_own_pages_may_ask(server, image, headers, status):
    for path, body in (
        ("/v1/models/lm:predict", {"instances": [image]}),
        ("/demonstrations/lm", {"image": "A" * 1044 + "AA==", "attack": "fgsm", "epsilon": 0.1}),
    ):
        found, answer = server.ask("POST", path, json.dumps(body).encode(), headers)
        assert found == status, answer
        assert status == 200 or json.loads(answer)["error"]


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://localhost:1/healthz", 200),
        ("HTTP://127.0.0.1/v1/models/lm?x=http://a", 200),
        ("http://localhost/nothing", 404),
        ("http://localhost?q=/", 200),
        ("http://attacker.example?q=localhost/healthz", 421),
        ("http://attacker.example/healthz", 421),
        ("http://localhost@attacker.example/healthz", 421),
        ("http:///healthz", 421),
        ("https://localhost/healthz", 404),
    ],
)
def test_a_request_for_a_whole_url_is_one_to_its_host(server, url, status):
    for header in ("localhost", "attacker.example") if url.lower().startswith("http:") else ("localhost",):
        assert server.ask("GET", url, headers={"Host": header})[0] == status


def test_a_name_can_be_allowed(talkative):
    for host, status in {"models.example:8501": 200, "127.0.0.1": 200, "other.example": 421}.items():
        assert talkative.ask("GET", "/healthz", headers={"Host": host})[0] == status
    headers = {"Host": "127.0.0.1", "Origin": "https://models.example"}  # as behind a proxy
    assert talkative.ask("GET", "/healthz", headers=headers)[0] == 200


def test_each_request_is_a_line_where_that_is_wanted(talkative, image):
    talkative.ask("POST", "/v1/models/lm:predict", json.dumps({"instances": [image]}).encode())
    talkative.ask("GET", "/%0a%22")
    lines: list[dict] = []
    while not lines or lines[-1]["path"] != '/\n"':  # which may come after the answer
        lines = [json.loads(line) for line in talkative.said().splitlines(True) if line.endswith("}\n")]
    (predicted,) = (line for line in lines if line["route"] == "predict")
    assert (predicted["status"], predicted["model"], predicted["method"]) == (200, "lm", "POST")


@pytest.mark.parametrize("path", ["/", "/page.js", "/healthz", "/v1/models/lm", "/v1/models/none", "/nothing", "/%00"])
def test_every_answer_tells_browsers_what_it_may_do(server, path):
    for method in ("GET", "HEAD", "DELETE"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            body = answer.read()
            if method == "DELETE" and answer.status == 405:
                assert answer.headers["Allow"] == "GET, HEAD"
            elif method == "HEAD":
                assert (answer.status, body) == (
                    200 if path in ("/", "/page.js", "/healthz", "/v1/models/lm") else 404,
                    b"",
                )


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/models/lm:predict", "POST"),
        ("PUT", "/v1/models/lm/versions/1:predict", "POST"),
        ("POST", "/v1/models/lm", "GET, HEAD"),
        ("POST", "/v1/models/lm/metadata", "GET, HEAD"),
        ("GET", "/demonstrations/lm", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("POST", "/page.js", "GET, HEAD"),
    ],
)
def test_another_method_is_told_which_there_are(server, method, path, allowed):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
        assert json.loads(answer.read())["error"].startswith("Method Not Allowed")


@pytest.mark.parametrize("range_", ["bytes=0-9", "bytes=99999999-", "no range"])
def test_the_page_is_sent_whole(server, range_):
    assert server.ask("GET", "/page.js", headers={"Range": range_}) == server.ask("GET", "/page.js")


def test_a_demonstration_takes_64_kilobytes(server):
    status, answer = server.ask("POST", "/demonstrations/lm", b'{"image": "' + b"A" * 2**16 + b'"}')
    assert (status, json.loads(answer)["error"]) == (413, "The request's body is larger than 65536 bytes")


def test_what_is_said_to_be_broken_is(server):
    described = json.loads(server.ask("GET", "/demonstrations")[1])
    broken = {model["name"]: (model["broken"], model["samples"]) for model in described if model["broken"]}
    assert broken
    for name, (told, samples) in broken.items():
        wanted = {"attack": told["attack"], "epsilon": told["epsilon"], **samples[told["sample"]]}
        _, answer = server.ask("POST", f"/demonstrations/{name}", json.dumps(wanted).encode())
        last = json.loads(answer.splitlines()[-1])
        assert last["accepted"]
        assert np.argmax(last["defended"]) != wanted["label"]


def test_chunks_of_a_byte_are_refused(server, image):
    body = json.dumps({"instances": [image]}).encode()
    head = _head("/v1/models/lm:predict", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    for size, status in ((1, "400"), (1000, "200")):
        parts = [body[i : i + size] for i in range(0, len(body), size)]
        chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts) + b"0\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as raw:
            raw.sendall(head + chunks)
            assert answered(raw)[0].split()[1] == status


def test_what_nobody_waits_for_is_dropped(models, tmp_path, image):
    (tmp_path / "adam").symlink_to(models / "adam")
    with serving(tmp_path, "--no-page", "--no-batching") as own:
        body = json.dumps({"instances": [image] * 500}).encode()
        with socket.create_connection(("127.0.0.1", own.port), timeout=120) as raw:
            raw.sendall(_head("/v1/models/adam:predict", len(body)) + body)
            while metric(own, "inc_waiting_images") == 0:
                pass
        while metric(own, "inc_waiting_images") > 0:
            pass
        assert own.ask("POST", "/v1/models/adam:predict", json.dumps({"instances": [image]}).encode())[0] == 200
        assert metric(own, 'inc_images_total{model="adam"}') < 500
        assert metric(own, 'inc_requests_total{model="adam",route="predict",status="499"}') == 1


def test_the_metrics_tell_what_an_alert_needs(server, image):
    def count(status: int, outcome: str) -> tuple[float, float]:
        return (
            metric(server, f'inc_requests_total{{model="lm",route="predict",status="{status}"}}'),
            metric(server, f'inc_request_seconds_count{{model="lm",outcome="{outcome}",route="predict"}}'),
        )

    before = count(200, "ok"), count(400, "refused"), metric(server, 'inc_images_total{model="lm"}')
    for document in ({"instances": [image] * 3}, {"instances": [0]}):
        server.ask("POST", "/v1/models/lm:predict", json.dumps(document).encode())
    after = count(200, "ok"), count(400, "refused"), metric(server, 'inc_images_total{model="lm"}')
    (ok, ok_seconds), (refused, refused_seconds), images = before
    assert after == ((ok + 1, ok_seconds + 1), (refused + 1, refused_seconds + 1), images + 3)
    assert metric(server, 'inc_graph_seconds_count{model="lm"}') == metric(
        server, 'inc_queue_seconds_count{model="lm"}'
    )
    assert metric(server, 'inc_model_available{model="lm",version="1"}') == 1
    assert metric(server, "inc_batches_in_progress") == 0
    assert metric(server, "process_resident_memory_bytes") > 2**20
    assert b"inc_build_info{" in server.ask("GET", "/metrics")[1]


def metric(server: Server, name: str) -> float:
    """Its value now; 0 where it has none yet."""
    lines = server.ask("GET", "/metrics")[1].decode().splitlines()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def answered(raw: socket.socket) -> tuple[str, bytes]:
    """An answer on a connection that is closed after it: its head and its body."""
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            part = raw.recv(4096)
            if not part:
                break
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body


def test_a_folder_without_models_is_one_sentence(tmp_path):
    done = CliRunner().invoke(main, ["serve", str(tmp_path), "--port", str(free_port())])
    assert done.exit_code == 1
    assert "holds no model" in done.output
    assert "Traceback" not in done.output


def test_a_port_in_use_is_one_sentence(models):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = CliRunner().invoke(main, ["serve", str(models), "--port", str(port)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert f"127.0.0.1:{port} cannot be bound (Address already in use)" in done.output


def test_the_port_is_bound_before_tensorflow_is_there():
    code = "import sys, inc_tf.serving.server; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("", "--host is empty; 127.0.0.1 is this machine alone"),
        ("a" * 64 + ".example", "cannot be bound"),
        ("203.0.113.1", "203.0.113.1:0 cannot be bound"),
    ],
)
def test_an_address_that_is_none_of_ours_is_one_sentence(host, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        bound(host, 0)
    assert "\n" not in str(error.value)


def test_a_client_that_does_not_read_does_not_hold_the_shutdown():
    async def long_answer(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        for more in [True] * 64 + [False]:
            await send({"type": "http.response.body", "body": b" " * 2**20, "more_body": more})

    config = uvicorn.Config(long_answer, http=protocol(Limits()), ws="none", lifespan="off", log_config=None)
    server, listening = uvicorn.Server(config), bound("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    with socket.create_connection(listening.getsockname(), timeout=120) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(12) == b"HTTP/1.1 200"
        server.should_exit = True
        thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "options",
    [
        ("--timeout", "nan"),
        ("--timeout", "-1"),
        ("--timeout", "inf"),
        ("--max-body", "0"),
        ("--max-bodies", "1"),
        ("--max-waiting", "-5"),
        ("--max-connections", "0"),
    ],
)
def test_a_limit_that_is_no_such_number_is_refused(models, options):
    done = CliRunner().invoke(main, ["serve", str(models), "--port", str(free_port()), *options])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "must be" in done.output


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_models_come_go_and_break_while_the_others_are_served(models, tmp_path, image):
    body = json.dumps({"instances": [image]}).encode()
    shutil.copytree(models / "lm", tmp_path / "lm")
    broken = {
        "no-weights": lambda folder: (folder / "variables" / "variables.index").unlink(),
        "no-graph": lambda folder: (folder / "saved_model.pb").write_bytes(b"no protocol buffer"),
        "no-card": lambda folder: (folder / "assets" / "card.json").write_text('{"threshold": Infinity}'),
        "nothing": lambda folder: [path.unlink() for path in folder.rglob("*") if path.is_file()],
    }
    for name, spoil in broken.items():
        shutil.copytree(models / "lm", tmp_path / name)
        spoil(tmp_path / name / "1")
    with serving(tmp_path, "--no-page") as own:
        assert json.loads(own.ask("GET", "/healthz")[1]) == {"status": "ready", "unavailable": sorted(broken)}
        for name in broken:
            ((version,), *_) = json.loads(own.ask("GET", f"/v1/models/{name}")[1]).values()
            assert version["state"] == "END"
            assert f"{name}/1' cannot be served" in version["status"]["error_message"]
            status, answer = own.ask("POST", f"/v1/models/{name}:predict", body)
            assert (status, version["status"]["error_message"] in json.loads(answer)["error"]) == (503, True)
        status, answer = own.ask("POST", "/v1/models/lm:predict", body)
        assert status == 200

        def states(name: str) -> list[tuple[str, str]]:
            found = json.loads(own.ask("GET", f"/v1/models/{name}")[1]).get("model_version_status", [])
            return [(version["version"], version["state"]) for version in found]

        shutil.copytree(models / "lm" / "1", tmp_path / ".new")
        (tmp_path / ".new").rename(tmp_path / "lm" / "2")
        while states("lm") != [("2", "AVAILABLE")]:
            assert own.ask("POST", "/v1/models/lm:predict", body) == (200, answer)
        assert own.ask("POST", "/v1/models/lm/versions/1:predict", body)[0] == 404
        (tmp_path / "lm" / "3").mkdir()
        while states("lm") != [("3", "END"), ("2", "AVAILABLE")]:
            assert own.ask("POST", "/v1/models/lm:predict", body) == (200, answer)
        (tmp_path / "no-card").rename(tmp_path / ".gone")
        while states("no-card"):
            pass
        shutil.copytree(models / "lm", tmp_path / ".late")
        (tmp_path / ".late").rename(tmp_path / "late")
        while states("late") != [("1", "AVAILABLE")]:
            pass
        assert own.ask("POST", "/v1/models/late:predict", body) == (200, answer)
        assert metric(own, 'inc_model_available{model="late",version="1"}') == 1
        assert metric(own, 'inc_model_available{model="lm",version="3"}') == 0


def test_a_model_whose_page_is_broken_is_not_available(server):
    assert json.loads(server.ask("GET", "/healthz")[1]) == {"status": "ready", "unavailable": ["broken"]}
    (version,) = json.loads(server.ask("GET", "/v1/models/broken")[1])["model_version_status"]
    assert version["state"] == "END"
    assert "broken/1' cannot be served" in version["status"]["error_message"]
    assert [shown["name"] for shown in json.loads(server.ask("GET", "/demonstrations")[1])] == ["adam", "lm"]


def test_a_server_that_loads_answers_and_stops(models):
    port = free_port()
    command = [
        sys.executable,
        "-c",
        "from inc_tf.cli.main import main; main()",
        "serve",
        str(models),
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert "is loading" in process.stdout.readline()
        status, answer = ask(port, "GET", "/healthz")
        assert (status, json.loads(answer)) == (503, {"status": "loading"})
        status, answer = ask(port, "POST", "/v1/models/lm:predict", b"{}")
        assert (status, json.loads(answer)["error"][:31]) == (503, "'lm' may still be loading; /hea")
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
        assert "available" not in process.stdout.read()  # it did not finish loading first


def test_under_fire_nothing_breaks(models, tmp_path, image):
    (tmp_path / "lm").symlink_to(models / "lm")
    with serving(tmp_path, "--max-body", "2", "--max-bodies", "8", "--max-connections", "128") as own:
        found = under_fire(own, "lm", image, 2, lambda asked, seconds: asked < 20)
        assert found.failures == []
        assert set(found.statuses) >= {400, 413}
        assert found.growth_mib < own.memory_mib
        assert own.ask("GET", "/healthz")[0] == 200
