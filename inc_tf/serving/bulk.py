"""Projection of many images on Ray Data: images in, Parquet out, block by block; what `inc project` does.

A block is a range of the input's images, and one file of the output, written whole or not at all: after a kill, the
next run makes only the missing blocks, in any order. Memory does not grow with the input.
"""

import functools
import hashlib
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from pyarrow import parquet
from tqdm import tqdm

from inc_tf import data, plugins, zoo
from inc_tf.data.image_files import decode
from inc_tf.defense import Classification, InvertAndClassify
from inc_tf.errors import InputError
from inc_tf.evaluation import cluster
from inc_tf.saving import configuration, write_text
from inc_tf.serving import answer
from inc_tf.serving.image_files import printable

BLOCK = 512
"""Images in a block: for MNIST 2 MiB of projections, for CelebA 24."""

# Readers of a folder of Parquet leave out what begins with an underscore.
_RUN = "_run.json"
_INPUT = "_input.parquet"
_IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Block:
    """Images `first` to `first + count` of a source: a file of many, a TFDS split, or a folder of image files."""

    kind: str
    source: str
    first: int
    count: int

    @property
    def file(self) -> str:
        """The name of this block's file."""
        which = hashlib.sha256(self.source.encode()).hexdigest()[:8]  # files in two folders may share a name
        return f"{Path(self.source).name.replace(':', '-')}-{which}-{self.first:08d}-{self.count:05d}.parquet"


def project(
    source: str,
    out: Path,
    name: str = "mnist",
    *,
    steps: int | None = None,
    threshold: float | None = None,
    classifier: str | None = None,
    seed: int = 0,
    block: int = BLOCK,
    address: str = cluster.LOCAL,
    quiet: bool = False,
) -> dict:
    """Run a defence on the images of `source`, and write projections and classes to the folder `out`, as Parquet.

    Args:
      source: a folder of image files, of Parquet or of TFRecord files, one such file, or `NAME` or `NAME:SPLIT` of TFDS
        (the default split is test). Parquet and TFRecord hold encoded images in the column or feature `image`.
      out: a folder; each file there has the rows of one block: `id`, the image's file or place in the source,
        `projection` and `code`, float32 lists, and the fields of `answer.rows`. `pandas.read_parquet(out)` reads it.
      name: the defence, as `zoo.load` takes it.
      steps: likewise.
      threshold: likewise.
      classifier: likewise.
      seed: seed of the search's starts.
      block: images in each block.
      address: the Ray cluster's address; all its machines must see `source` and `out`. `cluster.LOCAL` starts one here.

    Returns: the number of `images` projected, in this run and before, the number `accepted`, and the ids of those
    `skipped` because they cannot be read. Raises `InputError` for a source that has no images or has changed since the
    run began, an `out` that holds another run's projections or lies in the source, a defence that does not project, and
    whenever `zoo.load` and `cluster.connect` do.
    """
    _check_apart(Path(source), out)
    listing = list(_listing(source))
    cut = list(blocks(source, block))
    if not cut:
        raise InputError(f"{source!r} has no image in it.")
    declared, named = zoo.understand(name)
    made: dict[str, Any] = {"name": name, "steps": steps, "threshold": threshold, "classifier": classifier}
    defense = zoo.projecting(zoo.load(**made), name)
    agreement = cluster.Agreement.on([declared.checkpoints[p] for p in named.parts if p in declared.checkpoints])
    run = {"source": source, "block": block, "seed": seed, "defense": configuration(defense)}
    _claim(out, run, listing)
    missing = [one for one in cut if not (out / one.file).exists()]
    if missing:
        _compute(missing, out, made, agreement, seed, address, quiet)
    return _summary([out / one.file for one in cut])


def _check_apart(source: Path, out: Path) -> None:
    if source.is_dir() and (out.resolve() == source.resolve() or source.resolve() in out.resolve().parents):
        raise InputError(f"The output {str(out)!r} lies in the input {str(source)!r}: name a folder elsewhere.")


def _compute(
    missing: list[Block], out: Path, made: dict, agreement: cluster.Agreement, seed: int, address: str, quiet: bool
) -> None:
    ray = cluster.connect(address)
    room, needs = cluster.room(ray)
    # It warns that it has no bar, and says when it is done; what is set on "ray.data" itself, it sets anew.
    logging.getLogger("ray.data._internal").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.DataContext.get_current().print_on_execution_start = False
    tasks = ray.data.from_items([asdict(one) for one in missing], override_num_blocks=len(missing))
    done = tasks.map(
        Projector,
        fn_constructor_args=(made, agreement, plugins.loaded(), str(out.resolve()), seed),
        compute=ray.data.ActorPoolStrategy(size=min(room, len(missing))),
        **needs,
    )
    with tqdm(total=sum(one.count for one in missing), desc="project", unit="image", disable=quiet) as bar:
        for row in done.iter_rows():
            if row["error"]:
                raise InputError(row["error"])
            bar.update(row["count"])


class Projector:
    """A worker: it loads the defence once, then reads, projects and writes one block after another."""

    def __init__(self, made: dict, agreement: cluster.Agreement, declaring: tuple[str, ...], out: str, seed: int):
        cluster.one_core()
        self.made, self.agreement, self.declaring, self.out, self.seed = made, agreement, declaring, Path(out), seed

    @functools.cached_property
    def defense(self):
        """Made at the first block, where an error has somewhere to go."""
        self.agreement.check()
        for plugin in self.declaring:
            plugins.load(Path(plugin))
        return zoo.load(**self.made)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        block = Block(row["kind"], row["source"], row["first"], row["count"])
        try:
            self._write(block)
        except InputError as error:
            return {"count": 0, "error": str(error)}
        return {"count": block.count, "error": ""}

    def _write(self, block: Block) -> None:
        ids, images, skipped = [], [], []
        for name, encoded in read(block):
            try:
                images.append(decode(encoded, name, self.defense.image_shape, self.defense.bounds))
                ids.append(name)
            except InputError:
                skipped.append(name)
        found = self.defense(np.stack(images), seed=self.seed) if images else None
        _write_parquet(self.out / block.file, ids, found, self.defense, skipped)


def _write_parquet(
    path: Path, ids: list[str], found: Classification | None, defense: InvertAndClassify, skipped: list[str]
) -> None:
    """One file of the output, whole or not at all; what was skipped is in its schema's metadata."""
    columns: dict[str, Any] = {"id": pa.array(ids, pa.string())}
    shape: list[int] = []
    if found is not None:
        shape = list(found.projections.shape[1:])
        for name, values in {"projection": found.projections, "code": found.codes}.items():
            flat = values.numpy().reshape(len(ids), math.prod(values.shape[1:]))
            if not flat.shape[1]:  # a projector without codes
                continue
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
        rows = answer.rows(found, defense)
        columns |= {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    table = pa.table(columns).replace_schema_metadata({"shape": json.dumps(shape), "skipped": json.dumps(skipped)})
    scratch = path.with_suffix(".tmp")
    try:
        parquet.write_table(table, scratch, compression="zstd")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise InputError(
            f"{str(path)!r} cannot be written ({error.strerror or error}). The blocks that are finished are kept: put "
            "that right and run the same again."
        ) from error


def _claim(out: Path, run: dict, listing: list[dict]) -> None:
    """Make `out` the folder of this run; raises `InputError` if it belongs to another run or is not a folder, or if the
    input has changed.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is not a folder.")
    claim = out / _RUN
    if not claim.exists():
        if out.exists() and any(file.name != _INPUT for file in out.glob("*.parquet")):
            raise InputError(f"{str(out)!r} holds Parquet files that `inc project` did not write: name another folder.")
        out.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(listing), out / _INPUT, compression="zstd")
        write_text(claim, json.dumps(run, indent=1) + "\n")
        return
    before = json.loads(claim.read_text())
    for name in run:
        if before.get(name) != run[name]:
            raise InputError(f"{str(out)!r} holds projections of a run with another {name}: name another folder.")
    _check_unchanged(parquet.read_table(out / _INPUT).to_pylist(), listing, out)


def _check_unchanged(before: list[dict], now: list[dict], out: Path) -> None:
    old, new = ({one["name"]: one for one in listing} for listing in (before, now))
    for name in [*new, *old]:
        if old.get(name) != new.get(name):
            what = "is new" if name not in old else "is gone" if name not in new else "has changed"
            raise InputError(
                f"The input has changed since the run in {str(out)!r} began: {name!r} {what}. Name another folder, or "
                "put the input back."
            )


def _listing(source: str) -> Iterator[dict]:
    """The files of the input: each file's `name`, `size` in bytes and `time` of its last change, in ns."""
    path = Path(source)
    if not path.exists():
        name, _, split = source.partition(":")
        yield {"name": source, "size": data.tfds.count(name, split or "test"), "time": 0}
        return
    for file in _files(path) if path.is_dir() else [path]:
        about = file.stat()
        within = file.relative_to(path) if path.is_dir() else Path(file.name)
        yield {"name": printable(within), "size": about.st_size, "time": about.st_mtime_ns}


def _files(root: Path) -> list[Path]:
    """The files of a folder that are read: Parquet and TFRecord files if there are any, else image files."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return [file for file in files if _kind(file)] or [file for file in files if file.suffix.lower() in _IMAGES]


def _summary(written: list[Path]) -> dict:
    images = accepted = 0
    skipped: list[str] = []
    for path in written:
        file = parquet.ParquetFile(path)
        images += file.metadata.num_rows
        skipped += json.loads(file.schema_arrow.metadata[b"skipped"])
        if file.metadata.num_rows:
            accepted += int(np.sum(file.read(columns=["accepted"])["accepted"].to_numpy()))
    return {"images": images, "accepted": accepted, "skipped": skipped}


def blocks(source: str, size: int = BLOCK) -> Iterator[Block]:
    """The blocks of a source, which `project` describes, in order; raises `InputError` if there is no image."""
    path = Path(source)
    if path.is_dir():
        many = _files(path)
        if not many:
            raise InputError(f"{source!r} has no image, Parquet or TFRecord file in it.")
        if not _kind(many[0]):
            yield from _cut("folder", source, len(many), size)
            return
    elif path.is_file():
        many = [path]
        if not _kind(path):
            raise InputError(f"{source!r} is neither Parquet nor TFRecord, nor a folder of images.")
    else:
        name, _, split = source.partition(":")
        yield from _cut("tfds", source, data.tfds.count(name, split or "test"), size)
        return
    for file in many:
        kind = _kind(file)
        assert kind
        yield from _cut(kind, str(file), _COUNTS[kind](file), size)


def _kind(path: Path) -> str | None:
    if path.suffix == ".parquet":
        return "parquet"
    return "tfrecord" if ".tfrecord" in path.name else None


def _cut(kind: str, source: str, n: int, size: int) -> Iterator[Block]:
    for first in range(0, n, size):
        yield Block(kind, source, first, min(size, n - first))


def _parquet_rows(path: Path) -> int:
    try:
        file = parquet.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{str(path)!r} is not a Parquet file that can be read.") from error
    if "image" not in file.schema_arrow.names:
        raise InputError(f"{str(path)!r} has the columns {', '.join(file.schema_arrow.names)}; it must have image.")
    return file.metadata.num_rows


def _tfrecord_rows(path: Path) -> int:
    try:
        return int(tf.data.TFRecordDataset(str(path)).reduce(np.int64(0), lambda n, _: n + 1))
    except tf.errors.DataLossError as error:
        raise InputError(f"{str(path)!r} is not a TFRecord file, or is damaged.") from error


def read(block: Block) -> Iterator[tuple[str, bytes]]:
    """The id and the encoded content of each image of a block, in order."""
    return _READERS[block.kind](block)


_COUNTS = {"parquet": _parquet_rows, "tfrecord": _tfrecord_rows}


def _read_folder(block: Block) -> Iterator[tuple[str, bytes]]:
    root = Path(block.source)
    for file in _listed(root)[block.first : block.first + block.count]:
        try:
            encoded = file.read_bytes()
        except OSError:  # it is skipped, as what is not an image is
            encoded = b""
        yield printable(file.relative_to(root)), encoded


_listed = functools.cache(_files)
"""On a worker, which lists a folder once and not for each of its blocks."""


def _read_parquet(block: Block) -> Iterator[tuple[str, bytes]]:
    file, at = parquet.ParquetFile(block.source), 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        first, last = max(block.first, at) - at, min(block.first + block.count, at + rows) - at
        if first < last:
            column = file.read_row_group(group, columns=["image"])["image"].slice(first, last - first)
            for i, value in enumerate(column.to_pylist(), start=at + first):
                encoded = value.get("bytes") if isinstance(value, dict) else value  # as Hugging Face writes images
                yield f"{Path(block.source).name}#{i}", encoded if isinstance(encoded, bytes) else b""
        at += rows


def _read_tfrecord(block: Block) -> Iterator[tuple[str, bytes]]:
    wanted = {"image": tf.io.FixedLenFeature([], tf.string, default_value="")}
    records = tf.data.TFRecordDataset(block.source).skip(block.first).take(block.count)
    for i, record in enumerate(records.as_numpy_iterator(), start=block.first):
        encoded = tf.io.parse_single_example(record, wanted)["image"].numpy()
        yield f"{Path(block.source).name}#{i}", encoded


def _read_tfds(block: Block) -> Iterator[tuple[str, bytes]]:
    name, _, split = block.source.partition(":")
    for i, encoded in enumerate(data.tfds.encoded(name, split or "test", block.first, block.count), start=block.first):
        yield f"{name}:{split or 'test'}#{i}", encoded


_READERS = {"folder": _read_folder, "parquet": _read_parquet, "tfrecord": _read_tfrecord, "tfds": _read_tfds}
