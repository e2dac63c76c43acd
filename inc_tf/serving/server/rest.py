"""TensorFlow Serving's REST bodies: JSON to arrays and back, and its errors.

After its `json_tensor.cc`: rows (`instances` in, `predictions` out) or columns (`inputs`, `outputs`). Values must have
the signature's type; nothing is rounded, cut or read out of strings.
"""

import json
from typing import Any, NamedTuple

import numpy as np

from inc_tf.serving.server.servable import Servable

DEFAULT_SIGNATURE = "serving_default"
_INT32 = np.iinfo(np.int32)


class Refused(Exception):
    """A request that gets an error: its HTTP status, and one sentence."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class Prediction(NamedTuple):
    """A body that was understood: `images` [N, H, W, C], `seeds` one for each, and whether it came as rows."""

    signature: str
    images: np.ndarray
    seeds: list[int]
    rows: bool


def parsed(body: bytes) -> dict[str, Any]:
    """The body's JSON object. Raises `Refused` for what is none."""
    try:
        document = json.loads(body)
    except RecursionError as error:
        raise Refused(400, "JSON Parse error: the document is nested too deeply") from error
    except ValueError as error:  # UnicodeDecodeError too
        raise Refused(400, f"JSON Parse error: {_shown(str(error))}") from error
    if not isinstance(document, dict):
        raise Refused(400, f"JSON Value: {_shown(document)} Is not object")
    return document


def prediction(body: bytes, servable: Servable) -> Prediction:
    """What a predict request asks for. Raises `Refused` for anything that the signature does not take."""
    document = parsed(body)
    signature = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature, str):
        raise Refused(400, f"'signature_name' key must be a string value; it is {_shown(signature)}")
    signature = signature or DEFAULT_SIGNATURE
    if signature not in servable.card["signatures"]:
        known = ", ".join(servable.card["signatures"])
        raise Refused(400, f'Serving signature name: "{_shown(signature)}" not found in signature def: {known}')
    if ("instances" in document) == ("inputs" in document):
        raise Refused(400, "Request must have exactly one of the keys 'instances' (rows) and 'inputs' (columns)")
    rows = "instances" in document
    images, seeds = _rows(document["instances"]) if rows else _columns(document["inputs"])
    array = _array(images, servable)
    if isinstance(seeds, list):
        if len(seeds) != len(array):
            raise Refused(
                400, f"There are {len(seeds)} seeds for {len(array)} images; give one for all, or one for each"
            )
        each = [_seed(seed) for seed in seeds]
    else:
        each = [_seed(seeds)] * len(array)
    return Prediction(signature, array, each, rows)


def response(answers: list[dict[str, np.ndarray]], rows: bool) -> bytes:
    """The body that answers: a row for each image, or a column for each output."""
    if rows:
        return _dumped({"predictions": [{name: part.tolist() for name, part in row.items()} for row in answers]})
    return _dumped({"outputs": {name: [row[name].tolist() for row in answers] for name in answers[0]}})


def _dumped(document: dict) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _rows(instances: Any) -> tuple[list, list]:
    """Each row is an image, or an object that names it and, where it likes, its seed."""
    if not isinstance(instances, list):
        raise Refused(400, f"Expecting 'instances' value to be a list; it is {_shown(instances)}")
    images, seeds = [], []
    for i, row in enumerate(instances):
        try:
            image, seed = _named(row) if isinstance(row, dict) else (row, 0)
        except Refused as refused:
            raise Refused(400, f"Failed to process element: {i} of 'instances' list. Error: {refused}") from refused
        images.append(image)
        seeds.append(seed)
    return images, seeds


def _columns(inputs: Any) -> tuple[Any, Any]:
    return _named(inputs) if isinstance(inputs, dict) else (inputs, 0)


def _named(tensors: dict) -> tuple[Any, Any]:
    unknown = [name for name in tensors if name not in ("images", "seed")]
    if unknown:
        raise Refused(400, f"JSON object: does not have named input: {_shown(unknown[0])}; there are images and seed")
    if "images" not in tensors:
        raise Refused(400, "Missing named input: images")
    return tensors["images"], tensors.get("seed", 0)


def _array(images: Any, servable: Servable) -> np.ndarray:
    shape = "[N, " + ", ".join(map(str, servable.image_shape)) + "]"
    if not isinstance(images, list) or not images:
        raise Refused(400, f"images must be a list of shape {shape}, N at least 1; it is {_shown(images)}")
    try:
        values = np.array(images, dtype=object)
    except ValueError as error:
        raise Refused(400, f"images must have shape {shape}; its lists have different lengths") from error
    if values.shape[1:] != servable.image_shape:
        raise Refused(400, f"images has shape {_shape(values)}; it must be {shape}")
    values = values.ravel()
    kinds = {int} if servable.dtype == np.uint8 else {int, float}
    if not set(map(type, values)) <= kinds:
        wrong = next(value for value in values if type(value) not in kinds)
        raise Refused(400, f"JSON Value: {_shown(wrong)} is not of expected type: {servable.dtype}")
    low, high = servable.range
    with np.errstate(invalid="ignore"):
        inside = (low <= values) & (values <= high)  # NaN is not
    if not inside.all():
        wrong = values[np.argmin(inside)]
        raise Refused(400, f"images has the value {_shown(wrong)}; all must lie in [{low:g}, {high:g}]")
    return values.astype(servable.dtype).reshape(-1, *servable.image_shape)


def _shape(values: np.ndarray) -> str:
    ragged = ", …" if any(isinstance(value, list) for value in values.ravel()) else ""
    return "[" + ", ".join(map(str, values.shape)) + ragged + "]"


def _seed(seed: Any) -> int:
    if type(seed) is not int or not _INT32.min <= seed <= _INT32.max:
        raise Refused(400, f"seed is {_shown(seed)}; it must be an int32, one for all images or one for each")
    return seed


def _shown(value: Any) -> str:
    """As much of a value as an error quotes."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "…"
