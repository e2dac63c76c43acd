"""TensorFlow Serving's REST bodies: JSON to arrays and back, and its errors.

After its `json_tensor.cc`: rows (`instances` in, `predictions` out) or columns (`inputs`, `outputs`). Values must have
the signature's type; nothing is rounded, cut or read out of strings.

A body may have megabytes, and Python's JSON holds the interpreter until it is done. So bodies are read and written a
piece at a time, an image at most, by generators that pause between pieces; `in_turns` shares the event loop among them.
"""

import asyncio
import codecs
import json
import re
import time
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

DEFAULT_SIGNATURE = "serving_default"
SMALL = 2**16
"""Bytes of JSON that any value but an image may have."""

_NUMBER = 48  # bytes of JSON that a number of an image may have, blanks around it included
_MEMBERS = 64  # keys of a request's document, of which it needs three
_SLICE = 0.002  # seconds of work between two looks at other requests
_INT32 = np.iinfo(np.int32)
_BLANK = re.compile(rb"[ \t\n\r]*")


class Refused(Exception):
    """A request that gets an error: its HTTP status, and one sentence."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class Model(Protocol):
    """What this module needs to know of a model.

    Attributes:
      signatures: by name.
      image_shape: (H, W, C).
      dtype: of images.
      range: the lowest and the highest value of a pixel.
    """

    @property
    def signatures(self) -> Iterable[str]: ...

    image_shape: tuple[int, ...]
    dtype: np.dtype
    range: tuple[float, float]


class Prediction(NamedTuple):
    """A parsed body: `images` [N, H, W, C], a seed for each, and whether it has the row format."""

    signature: str
    images: np.ndarray
    seeds: list[int]
    rows: bool


async def in_turns(work: Generator[Any, None, Any], turn: asyncio.Lock) -> Any:
    """Run a generator to its end, a few milliseconds at a time; returns its result.

    Those that share `turn` go round in order, one slice in each pass of the event loop, so that nobody waits for a
    large body.
    """
    while True:
        async with turn:
            until = time.monotonic() + _SLICE
            try:
                while time.monotonic() < until:
                    next(work)
            except StopIteration as done:
                return done.value
        await asyncio.sleep(0)


def parsed(body: bytes | bytearray, longest: int) -> dict[str, Any]:
    """The JSON object of a body of at most `longest` bytes. Raises `Refused` for anything else."""
    reader = _Reader(body)
    reader.check_object()
    document = reader.value(longest)
    reader.end()
    return document


def prediction(body: bytes | bytearray, model: Model, most: int) -> Generator[None, None, Prediction]:
    """The images and seeds of a predict request, read one image at a time.

    Raises `Refused` for anything that the signature does not take, and for more than `most` images (413).
    """
    reader = _Reader(body)
    reader.check_object()
    signature = DEFAULT_SIGNATURE
    tensors: _Tensors | None = None
    rows = False
    for key in reader.members():
        if key in ("instances", "inputs"):
            if tensors is not None:
                raise _one_of_both()
            rows = key == "instances"
            tensors = _Tensors(model, most)
            yield from (tensors.read_rows if rows else tensors.read_columns)(reader)
        else:
            value = reader.value(SMALL)
            if key == "signature_name":
                signature = _signature(value, model)
        yield
    reader.end()
    if tensors is None:
        raise _one_of_both()
    return Prediction(signature, *tensors.arrays(), rows)


def response(answers: list[dict[str, np.ndarray]], rows: bool) -> Generator[bytes, None, None]:
    """The response's body, in pieces: a row for each image, or a column for each output."""
    if rows:
        for i, row in enumerate(answers):
            yield (b"," if i else b'{"predictions":[') + _dumped({name: _plain(part) for name, part in row.items()})
        yield b"]}"
        return
    for i, name in enumerate(answers[0]):
        yield (b"," if i else b'{"outputs":{') + _dumped(name) + b":["
        for j, row in enumerate(answers):
            yield (b"," if j else b"") + _dumped(_plain(row[name]))
        yield b"]"
    yield b"}}"


def _plain(part: Any) -> Any:
    """An output of one image as JSON has it; TensorFlow's strings are bytes."""
    if isinstance(part, bytes):
        return part.decode(errors="replace")
    return part.tolist()


def _dumped(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


class _Reader:
    """A JSON text that is read from its start to its end, one value at a time."""

    def __init__(self, text: bytes | bytearray):
        self._text = text
        self._at = 0

    def peek(self) -> bytes:
        """The next byte that is not blank; empty at the end."""
        blank = _BLANK.match(self._text, self._at)
        assert blank is not None
        self._at = blank.end()
        return bytes(self._text[self._at : self._at + 1])

    def value(self, longest: int) -> Any:
        """The next value, of at most `longest` bytes. Raises `Refused`."""
        self.peek()
        window = self._text[self._at : self._at + longest]
        cut = self._at + longest < len(self._text)
        try:
            text, _ = codecs.utf_8_decode(window, "strict", not cut)
            value, end = _DECODER.raw_decode(text)
            size = end if text.isascii() else len(text[:end].encode())
        except RecursionError as error:
            raise Refused(400, "JSON Parse error: the document is nested too deeply") from error
        except UnicodeDecodeError as error:
            raise Refused(400, f"JSON Parse error: byte {self._at + error.start} is not UTF-8") from error
        except ValueError as error:  # an integer of thousands of digits too
            at = getattr(error, "pos", 0)
            if cut and (at > len(text) - 16 or "Unterminated" in str(error)):
                raise _too_long(longest) from error
            raise self._wrong(shown(getattr(error, "msg", str(error))), at) from error
        if cut and end == len(text):
            raise _too_long(longest)
        self._at += size
        if "\\u" in text[:end]:
            _check_strings(value)
        return value

    def check_object(self) -> None:
        """Raises `Refused` unless the next value is an object."""
        found = self.peek()
        if not found:
            raise self._wrong("The document is empty")
        if found != b"{":
            raise Refused(400, f"JSON Value: {shown(self.value(SMALL))} Is not object")

    def members(self) -> Iterator[str]:
        """The keys of the next object; the caller reads the value after each."""
        known: set[str] = set()
        for _ in self._parts(b"{", b"}"):
            if self.peek() != b'"':
                raise self._wrong("Expecting property name enclosed in double quotes")
            key = self.value(SMALL)
            if key in known:
                raise _twice(key)
            known.add(key)
            if len(known) > _MEMBERS:
                raise Refused(400, f"JSON Parse error: the document has more than {_MEMBERS} keys")
            self._expect(b":")
            yield key

    def items(self) -> Iterator[int]:
        """The indices of the next array's items; the caller reads the item after each."""
        return self._parts(b"[", b"]")

    def end(self) -> None:
        """Raises `Refused` unless nothing follows."""
        if self.peek():
            raise self._wrong("Extra data")

    def _parts(self, opening: bytes, closing: bytes) -> Iterator[int]:
        self._expect(opening)
        number = 0
        while self.peek() != closing or number:  # a comma promises one more
            yield number
            number += 1
            if self.peek() == closing:
                break
            self._expect(b",")
        self._expect(closing)

    def _expect(self, wanted: bytes) -> None:
        if self.peek() != wanted:
            raise self._wrong(f"Expecting '{wanted.decode()}'")
        self._at += 1

    def _wrong(self, what: str, offset: int = 0) -> Refused:
        return Refused(400, f"JSON Parse error: {what}: char {self._at + offset}")


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with these members. Raises `Refused` if two have the same key."""
    document: dict[str, Any] = {}
    for key, value in members:
        if key in document:
            raise _twice(key)
        document[key] = value
    return document


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _twice(key: str) -> Refused:
    return Refused(400, f"JSON Parse error: The key {shown(key)} is there twice")


def _too_long(longest: int) -> Refused:
    return Refused(400, f"JSON Parse error: a value is longer than {longest} bytes, more than any here needs")


def _one_of_both() -> Refused:
    return Refused(400, "Request must have exactly one of the keys 'instances' (rows) and 'inputs' (columns)")


def _check_strings(value: Any) -> None:
    """Raises `Refused` for a string that is not text: half of a surrogate pair, which cannot be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Refused(400, "JSON Parse error: a lone surrogate is not a character") from error
    except ValueError as error:  # an integer of more digits than Python prints
        raise Refused(400, f"JSON Parse error: {shown(str(error))}") from error


class _Tensors:
    """The images and seeds of a request, as they are read."""

    def __init__(self, model: Model, most: int):
        self._model, self._most = model, most
        self._images: list[np.ndarray] = []
        self._seeds: Any = []
        self._longest = max(SMALL, _NUMBER * int(np.prod(model.image_shape)))

    def read_rows(self, reader: _Reader) -> Generator[None, None, None]:
        """Each row is an image, or an object with an image and, optionally, a seed."""
        if reader.peek() != b"[":
            raise Refused(400, f"Expecting 'instances' value to be a list; it is {shown(reader.value(self._longest))}")
        for i in reader.items():
            row = reader.value(self._longest)
            try:
                image, seed = _named(row) if isinstance(row, dict) else (row, 0)
            except Refused as refused:
                raise Refused(400, f"Failed to process element: {i} of 'instances' list. Error: {refused}") from refused
            self._add(image)
            self._seeds.append(_seed(seed))
            yield

    def read_columns(self, reader: _Reader) -> Generator[None, None, None]:
        """The images alone, or an object of them and a seed for all or one for each."""
        self._seeds = 0
        if reader.peek() != b"{":
            yield from self._read_images(reader)
            return
        named = False
        for key in reader.members():
            if key == "images":
                named = True
                yield from self._read_images(reader)
            elif key == "seed":
                self._seeds = reader.value(SMALL)
            else:
                raise _unknown(key)
            yield
        if not named:
            raise Refused(400, "Missing named input: images")

    def arrays(self) -> tuple[np.ndarray, list[int]]:
        """The images [N, H, W, C], and a seed for each."""
        if not self._images:
            raise self._no_images([])
        n = len(self._images)
        seeds = self._seeds if isinstance(self._seeds, list) else [self._seeds] * n
        if len(seeds) != n:
            raise Refused(400, f"There are {len(seeds)} seeds for {n} images; give one for all, or one for each")
        return np.stack(self._images), [_seed(seed) for seed in seeds]

    def _read_images(self, reader: _Reader) -> Generator[None, None, None]:
        if reader.peek() != b"[":
            raise self._no_images(reader.value(self._longest))
        for _ in reader.items():
            self._add(reader.value(self._longest))
            yield

    def _add(self, image: Any) -> None:
        if len(self._images) == self._most:
            raise Refused(413, f"There are more than {self._most} images; send them in several requests")
        self._images.append(_array(image, len(self._images), self._model))

    def _no_images(self, found: Any) -> Refused:
        shape = "[N, " + ", ".join(map(str, self._model.image_shape)) + "]"
        return Refused(400, f"images must be a list of shape {shape}, N at least 1; it is {shown(found)}")


def _signature(name: Any, model: Model) -> str:
    if not isinstance(name, str):
        raise Refused(400, f"'signature_name' key must be a string value; it is {shown(name)}")
    name = name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        known = ", ".join(model.signatures)
        raise Refused(400, f'Serving signature name: "{shown(name)}" not found in signature def: {known}')
    return name


def _named(tensors: dict) -> tuple[Any, Any]:
    for name in tensors:
        if name not in ("images", "seed"):
            raise _unknown(name)
    if "images" not in tensors:
        raise Refused(400, "Missing named input: images")
    return tensors["images"], tensors.get("seed", 0)


def _unknown(name: str) -> Refused:
    return Refused(400, f"JSON object: does not have named input: {shown(name)}; there are images and seed")


def _array(image: Any, number: int, model: Model) -> np.ndarray:
    wanted = list(model.image_shape)
    try:
        values = np.array(image, dtype=object)
    except ValueError as error:
        raise Refused(400, f"Image {number} must have shape {wanted}; its lists have different lengths") from error
    if values.shape != model.image_shape:
        raise Refused(400, f"Image {number} has shape {_shape(values)}; it must be {wanted}")
    values = values.ravel()
    kinds = {int} if model.dtype == np.uint8 else {int, float}
    if not set(map(type, values)) <= kinds:
        wrong = next(value for value in values if type(value) not in kinds)
        raise Refused(400, f"JSON Value: {shown(wrong)} is not of expected type: {model.dtype}")
    low, high = model.range
    with np.errstate(invalid="ignore"):
        inside = (low <= values) & (values <= high)  # NaN is not
    if not inside.all():
        wrong = values[np.argmin(inside)]
        raise Refused(400, f"images has the value {shown(wrong)}; all must lie in [{low:g}, {high:g}]")
    return values.astype(model.dtype).reshape(model.image_shape)


def _shape(values: np.ndarray) -> str:
    ragged = [", …"] if any(isinstance(value, list) for value in values.ravel()) else []
    return "[" + ", ".join(map(str, values.shape)) + "".join(ragged) + "]"


def _seed(seed: Any) -> int:
    if type(seed) is not int or not _INT32.min <= seed <= _INT32.max:
        raise Refused(400, f"seed is {shown(seed)}; it must be an int32, one for all images or one for each")
    return seed


def shown(value: Any) -> str:
    """The part of a value that an error quotes."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "…"
