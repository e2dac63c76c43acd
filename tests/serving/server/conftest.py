"""One server for all tests here: a slow search that XLA compiles, and a fast one that it does not."""

import json
import shutil
import signal

import numpy as np
import pytest
from serving_clients import Server, serving

from inc_tf import zoo
from inc_tf.serving.export import export_named

SEARCHES = {"adam": ("digits-inc", 10), "lm": ("digits-inc-fast", 5)}
THRESHOLD = 2.0


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, (defense, steps) in SEARCHES.items():
        export_named(defense, folder, name=name, steps=steps, threshold=THRESHOLD)
    return folder


@pytest.fixture(scope="session")
def defenses():
    """What is served, as the library has it."""
    return {name: zoo.load(defense, steps=n, threshold=THRESHOLD) for name, (defense, n) in SEARCHES.items()}


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    """Serves both, with their pages, beside one whose page is broken."""
    folder = tmp_path_factory.mktemp("served")
    for name in SEARCHES:
        (folder / name).symlink_to(models / name)
    shutil.copytree(models / "lm", folder / "broken")
    (folder / "broken" / "1" / "assets.extra" / "defense.keras").write_bytes(b"no zip file")
    with serving(folder, "--timeout", "100", "--max-body", "2") as started:
        yield started
        assert started.stop() == -signal.SIGTERM  # uvicorn shuts down, then lets the signal through


@pytest.fixture(scope="session")
def image(digits) -> list:
    return digits.images[0].tolist()


@pytest.fixture
def ask(server: Server):
    """``ask(path, document) -> (status, parsed answer)``; GET without a document."""

    def asked(path, document=None, **headers):
        body = None if document is None else json.dumps(document).encode()
        status, answer = server.ask("GET" if body is None else "POST", path, body, headers)
        return status, json.loads(answer)

    return asked


@pytest.fixture(scope="session")
def batch_of():
    """The images' own sizes on the server: padded to the next power of two, as the last one repeated."""
    return lambda images: images[np.minimum(np.arange(1 << (len(images) - 1).bit_length()), len(images) - 1)]
