"""Named weights: where they are stored, what they hold, and whether they are intact.

A checkpoint is a `.keras` file and its card, a JSON file of the same name that holds the architecture, the data, the
seed, the command, the metrics and the file's SHA-256. Nothing in the file is executed when it is loaded. A checkout has
all files; the wheel has all cards and the weights trained on the digits, and fetches the others on first use.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from inc_tf.errors import InputError
from inc_tf.registry import suggestion

if TYPE_CHECKING:  # cards are read, listed and completed without TensorFlow
    import keras

_BLOCK = 2**16  # bytes; what an interruption loses of a download


def directory() -> Path:
    """The folder of cards: `$INC_CHECKPOINTS` if it is set, else the wheel's, else the checkout's `checkpoints/`."""
    if "INC_CHECKPOINTS" in os.environ:
        return Path(os.environ["INC_CHECKPOINTS"])
    package = Path(__file__).resolve().parent
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent / "checkpoints"


def names() -> list[str]:
    """The names of the checkpoints that have a card, sorted."""
    return sorted(path.stem for path in directory().glob("*.json"))


def card(name: str) -> dict:
    """The card of checkpoint `name`. Raises `InputError` for an unknown name."""
    if name not in names():
        known = ", ".join(names()) or "none"
        raise InputError(
            f"There is no checkpoint {name!r} in {str(directory())!r}; there are: {known}.{suggestion(name, names())}"
        )
    return json.loads(_card_path(name).read_text())


def update_card(name: str, **fields) -> None:
    """Set `fields`, JSON values, in the card of checkpoint `name`; the weights and their hash stay as they are.

    The card is replaced whole or not at all. Raises `InputError` for an unknown name.
    """
    _replace({_card_path(name): _json({**card(name), **fields})})


def verify(name: str) -> Path:
    """The path of checkpoint `name`'s file, verified against the SHA-256 in its card, and fetched if it is missing.

    A file that is not in `directory()` is looked for in the place that `$INC_CHECKPOINTS_URL` or, if that is unset, the
    card's `"url"` names: a folder, a `file://` URL or an `http(s)://` one, which holds `<name>.keras`. A download goes
    into the user's cache folder, with a progress bar; after an interruption, the next call resumes it.

    Raises `InputError` for an unknown name, for a file that cannot be found, and for one that is truncated or altered.
    """
    expected = card(name)["sha256"]
    path = directory() / f"{name}.keras"
    if not path.exists():
        path = _fetch(name, expected)
    found = sha256(path)
    if found != expected:
        raise InputError(
            f"Checkpoint file {str(path)!r} is truncated or altered: its SHA-256 is {found[:12]}…, its card says "
            f"{expected[:12]}…; restore it or train it again."
        )
    return path


def replaced(name: str) -> bool:
    """Whether `install` replaced the weights that shipped as checkpoint `name`."""
    found = card(name)
    return found.get("shipped_sha256", found["sha256"]) != found["sha256"]


def load(name: str) -> keras.Model:
    """Load the model of checkpoint `name`, e.g. `"mnist-classifier"` or `"mnist-vae"`.

    Loads in Keras's safe mode: no pickle, no code from the file. Raises `InputError` whenever `verify` does.
    """
    path = verify(name)
    import keras

    from inc_tf import models  # noqa: F401  (registers the networks that a file may name)

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def save(model: keras.Model, name: str, fields: dict, *, folder: Path | None = None) -> Path:
    """Write `model` as checkpoint `name`, with a card of `fields` and the file's hash; each file whole or not at all.

    Writes to `folder`, by default `directory()`. Returns the path of the `.keras` file.
    """
    path = (folder or directory()) / f"{name}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        model_file = Path(scratch) / path.name
        model.save(model_file)
        _deflate(model_file)
        written = _json({"name": name, **fields, "sha256": sha256(model_file)})
        _replace({path: model_file.read_bytes(), path.with_suffix(".json"): written})
    return path


def install(path: Path) -> Path:
    """Install the checkpoint at `path`, with its card beside it, in `directory()`, replacing the one of that name.

    The card keeps the SHA-256 of the weights that shipped under the name, as `"shipped_sha256"`, for `replaced`.
    Returns the path of the installed `.keras` file. Raises `InputError` if `path` or its card is missing, or the two do
    not belong together.
    """
    source = path.with_suffix(".json")
    if not (path.is_file() and source.is_file()):
        raise InputError(f"{str(path)!r} must be a .keras file with its card {source.name!r} beside it.")
    fields = json.loads(source.read_text())
    weights = path.read_bytes()
    if fields.get("sha256") != hashlib.sha256(weights).hexdigest():
        raise InputError(f"{str(path)!r} is not the file that its card {source.name!r} describes: train it again.")
    if path.stem in names():
        former = card(path.stem)
        fields["shipped_sha256"] = former.get("shipped_sha256", former["sha256"])
    target = directory() / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    _replace({target: weights, target.with_suffix(".json"): _json(fields)})
    return target


def _deflate(path: Path) -> None:
    """Compress a zip file's members in place; Keras stores them as they are, and reads both."""
    packed = path.with_suffix(".packed")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
    os.replace(packed, path)


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _card_path(name: str) -> Path:
    return directory() / f"{name}.json"


def _json(fields: dict) -> bytes:
    return (json.dumps(fields, indent=2) + "\n").encode()


def _replace(contents: dict[Path, bytes]) -> None:
    """Write all files in the folder where they belong, under other names, then move each into place."""
    scratch = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in contents}
    try:
        for path, content in contents.items():
            scratch[path].write_bytes(content)
        for path in contents:
            os.replace(scratch[path], path)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} cannot be written ({error.strerror}); choose a folder that can be: by INC_CHECKPOINTS for "
            "what ships, by --run-dir for a run."
        ) from error
    finally:
        for file in scratch.values():
            file.unlink(missing_ok=True)


def _fetch(name: str, expected: str) -> Path:
    """The path of checkpoint `name`'s file if that is not in `directory()`."""
    base = os.environ.get("INC_CHECKPOINTS_URL") or card(name).get("url")
    if not base:
        raise InputError(
            f"Checkpoint {name!r} has a card but no file in {str(directory())!r}: set INC_CHECKPOINTS_URL to a folder "
            f"or mirror that has {name}.keras, or INC_CHECKPOINTS to a checkout's checkpoints/."
        )
    scheme = urlsplit(base).scheme
    if scheme in ("http", "https"):
        return _download(f"{base.rstrip('/')}/{name}.keras", f"{name}-{expected[:12]}.keras", expected)
    if scheme not in ("", "file"):
        raise InputError(f"INC_CHECKPOINTS_URL is {base!r}; it must be a folder, a file:// or an http(s):// URL.")
    path = Path(url2pathname(urlsplit(base).path) if scheme else base) / f"{name}.keras"
    if not path.is_file():
        raise InputError(f"There is no {str(path)!r}, where INC_CHECKPOINTS_URL or the card looks for {name!r}.")
    return path


def _download(url: str, file: str, expected: str) -> Path:
    """The file at `url`, in the user's cache folder under the name `file`."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    cache = Path(pooch.os_cache("inc_tf"))
    try:
        return Path(
            pooch.retrieve(
                url, f"sha256:{expected}", fname=file, path=cache, downloader=partial(_resumed, cache / f"{file}.part")
            )
        )
    except requests.RequestException as error:
        raise InputError(
            f"{url!r} cannot be fetched ({str(error)[:200]}); the same command carries on, or set INC_CHECKPOINTS_URL "
            "to another mirror."
        ) from error
    except ValueError as error:  # pooch found another hash
        raise InputError(
            f"What came from {url!r} is truncated or altered: its SHA-256 is not {expected[:12]}…, as the card says; "
            "try again or set INC_CHECKPOINTS_URL to another mirror."
        ) from error


def _resumed(part: Path, url: str, output_file: str, _pooch) -> None:
    """Download `url` for pooch, carrying on with what an interrupted call left in `part`."""
    import requests
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        if response.status_code != requests.codes.requested_range_not_satisfiable:  # which says that all is here
            response.raise_for_status()
            have = have if response.status_code == requests.codes.partial_content else 0
            total = have + int(response.headers.get("Content-Length", 0)) or None
            with (
                open(part, "ab" if have else "wb") as file,
                tqdm(total=total, initial=have, desc=url.rpartition("/")[2], unit="B", unit_scale=True) as bar,
            ):
                for block in response.iter_content(_BLOCK):
                    bar.update(file.write(block))
    os.replace(part, output_file)
