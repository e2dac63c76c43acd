import http.server
import json
import os
import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest

from inc_tf import checkpoints
from inc_tf.errors import InputError
from inc_tf.models import mnist
from inc_tf.training import recipes

CARD = Path(__file__).parent.parent / "checkpoints" / "digits-classifier.json"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("INC_CHECKPOINTS", str(tmp_path))
    monkeypatch.delenv("INC_CHECKPOINTS_URL", raising=False)
    return tmp_path


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves files from any byte, and notes from which each was asked for; `cut` is the byte where the line drops."""

    asked: list[int]
    cut: int | None = None

    def do_GET(self):
        file = Path(self.translate_path(self.path))
        if not file.exists():
            self.send_error(404)
            return
        content = file.read_bytes()
        start = int(re.findall(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[0])
        type(self).asked.append(start)
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.cut])

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(folder, tmp_path_factory, monkeypatch):
    """The checkpoint `small`, of which the folder has the card and a mirror the file; the cache is empty."""
    elsewhere = tmp_path_factory.mktemp("mirror")
    os.rename(checkpoints.save(small_model(units=20_000), "small", {}), elsewhere / "small.keras")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    handler = type("OneMirror", (Mirror,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(elsewhere))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("INC_CHECKPOINTS_URL", f"http://127.0.0.1:{server.server_port}")
        handler.file = elsewhere / "small.keras"
        yield handler
        server.shutdown()
        thread.join()


def small_model(seed: int = 0, units: int = 2) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(units)])


def test_checkpoint_comes_back_with_its_card(folder):
    model = small_model()
    checkpoints.save(model, "small", {"dataset": "none"})
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(checkpoints.load("small")(x), model(x))
    card = checkpoints.card("small")
    assert card["name"] == "small"
    assert card["dataset"] == "none"
    assert card["sha256"] == checkpoints.sha256(folder / "small.keras")
    assert sorted(path.name for path in folder.iterdir()) == ["small.json", "small.keras"]


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:]])
def test_rejects_truncated_or_altered_file(folder, damage):
    path = checkpoints.save(small_model(), "small", {})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"small\.keras' is truncated or altered: its SHA-256 is"):
        checkpoints.load("small")


def test_rejects_card_without_its_file(folder):
    checkpoints.save(small_model(), "small", {}).unlink()
    with pytest.raises(InputError, match=r"has a card but no file .* set INC_CHECKPOINTS_URL .*, or INC_CHECKPOINTS"):
        checkpoints.load("small")


@pytest.mark.parametrize("name", ["smal", "../small", ""])
def test_rejects_unknown_name_and_lists_the_known(folder, name):
    checkpoints.save(small_model(), "small", {})
    with pytest.raises(InputError, match=r"There is no checkpoint .* there are: small\.") as error:
        checkpoints.load(name)
    assert str(error.value).endswith("Did you mean 'small'?" if name else "there are: small.")


def test_failed_save_leaves_the_earlier_checkpoint(folder):
    checkpoints.save(small_model(seed=0), "small", {})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(TypeError):
        checkpoints.save(small_model(seed=1), "small", {"not JSON": object()})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_code_in_a_file_is_not_run(folder):
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    checkpoints.save(model, "lambda", {})
    with pytest.raises(Exception, match=r"[Ll]ambda"):
        checkpoints.load("lambda")


def test_card_takes_fields_and_keeps_the_hash(folder):
    checkpoints.save(small_model(), "small", {"dataset": "none"})
    before = checkpoints.card("small")
    checkpoints.update_card("small", thresholds={"inc": 6.25})
    checkpoints.update_card("small", dataset="some")
    assert checkpoints.card("small") == {**before, "dataset": "some", "thresholds": {"inc": 6.25}}
    checkpoints.verify("small")
    with pytest.raises(TypeError):
        checkpoints.update_card("small", thresholds=object())
    assert checkpoints.card("small")["thresholds"] == {"inc": 6.25}
    assert sorted(path.name for path in folder.iterdir()) == ["small.json", "small.keras"]


def test_installed_checkpoint_is_called_replaced_until_the_shipped_one_returns(folder):
    shipped = checkpoints.save(small_model(seed=0), "small", {}).read_bytes()
    checkpoints.update_card("small", thresholds={"inc": 1.0})
    hash_of_shipped = checkpoints.sha256(folder / "small.keras")
    runs = [folder / "runs" / str(seed) for seed in (1, 2)]
    for seed, run in enumerate(runs, 1):
        checkpoints.save(small_model(seed=seed), "small", {"seed": seed}, folder=run)
    assert (folder / "small.keras").read_bytes() == shipped
    assert not checkpoints.replaced("small")
    for seed, run in enumerate(runs, 1):
        assert checkpoints.install(run / "small.keras") == folder / "small.keras"
        card = checkpoints.card("small")
        assert (card["seed"], card["shipped_sha256"]) == (seed, hash_of_shipped)
        assert "thresholds" not in card  # they were of the other weights
        assert checkpoints.replaced("small")
        x = np.ones((1, 3), np.float32)
        np.testing.assert_array_equal(checkpoints.load("small")(x), small_model(seed=seed)(x))
    (folder / "back").mkdir()
    (folder / "back" / "small.keras").write_bytes(shipped)
    (folder / "back" / "small.json").write_text(json.dumps({"name": "small", "sha256": hash_of_shipped}))
    checkpoints.install(folder / "back" / "small.keras")
    assert not checkpoints.replaced("small")


def test_new_name_is_installed_as_nobodys_replacement(folder):
    checkpoints.install(checkpoints.save(small_model(), "new", {}, folder=folder / "run"))
    assert checkpoints.names() == ["new"]
    assert not checkpoints.replaced("new")


def test_install_rejects_a_file_that_is_not_its_cards(folder):
    checkpoints.save(small_model(seed=0), "small", {})
    other = checkpoints.save(small_model(seed=1), "small", {}, folder=folder / "run")
    other.write_bytes(other.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"is not the file that its card 'small\.json' describes"):
        checkpoints.install(other)
    other.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"with its card 'small\.json' beside it"):
        checkpoints.install(other)
    assert not checkpoints.replaced("small")


def test_fetches_a_file_once_with_progress(mirror, capsys):
    x = np.ones((1, 3), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(checkpoints.load("small")(x), small_model(units=20_000)(x))
    assert mirror.asked == [0]
    size = mirror.file.stat().st_size
    assert re.search(rf"small\.keras: 100%.*{size / 1000:.3g}k", capsys.readouterr().err)
    assert not (checkpoints.directory() / "small.keras").exists()


def test_interrupted_download_carries_on(mirror):
    mirror.cut = 200_000
    with pytest.raises(InputError, match=r"small\.keras' cannot be fetched .* the same command carries on"):
        checkpoints.verify("small")
    mirror.cut = None
    assert checkpoints.verify("small").read_bytes() == mirror.file.read_bytes()
    assert mirror.asked == [0, 3 * 2**16]  # the last whole block


def test_download_that_was_killed_before_its_check_carries_on(mirror):
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "inc_tf"
    cache.mkdir()
    whole = mirror.file.read_bytes()
    (cache / f"small-{checkpoints.card('small')['sha256'][:12]}.keras.part").write_bytes(whole)
    assert checkpoints.verify("small").read_bytes() == whole
    assert mirror.asked == [len(whole)]


def test_rejects_altered_download(mirror):
    whole = mirror.file.read_bytes()
    mirror.file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for _ in range(2):
        with pytest.raises(InputError, match=r"What came from .*small\.keras' is truncated or altered"):
            checkpoints.verify("small")
    assert mirror.asked == [0, 0]
    mirror.file.write_bytes(whole)
    checkpoints.verify("small")


def test_mirror_without_the_file_is_said(mirror):
    mirror.file.unlink()
    with pytest.raises(InputError, match=r"small\.keras' cannot be fetched \(404 .*INC_CHECKPOINTS_URL to another"):
        checkpoints.verify("small")


@pytest.mark.parametrize("form", [str, Path.as_uri], ids=["folder", "file URL"])
def test_folder_serves_in_place(mirror, form, monkeypatch):
    monkeypatch.setenv("INC_CHECKPOINTS_URL", form(mirror.file.parent))
    assert checkpoints.verify("small") == mirror.file
    mirror.file.write_bytes(b"altered")
    with pytest.raises(InputError, match="is truncated or altered"):
        checkpoints.verify("small")
    mirror.file.unlink()
    with pytest.raises(InputError, match=r"There is no '.*small\.keras', where INC_CHECKPOINTS_URL"):
        checkpoints.verify("small")


def test_card_names_a_mirror_that_the_environment_overrules(mirror, monkeypatch):
    checkpoints.update_card("small", url=str(mirror.file.parent))
    monkeypatch.delenv("INC_CHECKPOINTS_URL")
    assert checkpoints.verify("small") == mirror.file
    monkeypatch.setenv("INC_CHECKPOINTS_URL", "ftp://example.org")
    with pytest.raises(InputError, match=r"INC_CHECKPOINTS_URL is 'ftp://example\.org'; it must be"):
        checkpoints.verify("small")


def test_cards_are_read_without_tensorflow_or_keras():
    code = (
        "import sys; from inc_tf import checkpoints; checkpoints.card('digits-vae'); "
        "assert not {'tensorflow', 'keras', 'numpy', 'pooch', 'requests'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", checkpoints.names())
def test_shipped_card_is_complete(name):
    card = checkpoints.card(name)
    trained = name.partition("-seed-")[0]
    assert f"{card['command']} ".startswith(f"inc train {trained} --seed {card['seed']} ")
    assert name == (f"{trained}-seed-{card['seed']}" if card["seed"] else trained)
    assert {"architecture", "dataset", "seed", "steps", "images_seen", "seconds", "metrics", "versions"} <= set(card)
    for metric in card["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]
    assert json.dumps(card)


@pytest.mark.slow
@pytest.mark.parametrize("name", checkpoints.names())
def test_shipped_checkpoint_is_intact_and_measures_what_its_card_says(name):
    found = recipes.remeasure(name)  # which also compares the hash, and raises where either differs
    if found is None:
        pytest.skip(f"the data set of {name} is not on disk")
    assert found.n == 200


def test_rejects_checkpoint_that_measures_something_else(folder):
    checkpoints.save(mnist.classifier(), "digits-classifier", {"metrics": json.loads(CARD.read_text())["metrics"]})
    with pytest.raises(InputError, match=r"but its card says 0.99"):
        recipes.remeasure("digits-classifier")
