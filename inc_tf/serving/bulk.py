"""Projection of many images on Ray Data: images in, Parquet out, block by block; what `inc project` does.

A block is a run of the input's images, and one file of the output, written whole or not at all: a killed run carries on
with the blocks that are missing, in any order, and memory does not grow with the input.
"""

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from pyarrow import parquet
from tqdm import tqdm

from inc_tf import data
from inc_tf.evaluation import cluster
from inc_tf.serving import image_files, export
from inc_tf.defense import Classification
from inc_tf.errors import InputError
from inc_tf.saving import write_text

BLOCK = 512
"""Images a block: of MNIST 2 MiB of projections, of CelebA 24."""

_RUN = "run.json"
_IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".bmp"}


@dataclass(frozen=True)
class Block:
    """Images `first` to `first + count` of a source: a file of many, a TFDS split, or a folder of image files."""

    kind: str
    source: str
    first: int
    count: int

    @property
    def file(self) -> str:
        """Of the output."""
        which = hashlib.sha256(self.source.encode()).hexdigest()[:8]  # files in two folders may share a name
        return f"{Path(self.source).name.replace(':', '-')}-{which}-{self.first:08d}-{self.count:05d}.parquet"


def project(
    source: str,
    out: Path,
    model: str = "mnist",
    *,
    solver: str = "lm",
    steps: int | None = None,
    threshold: float | None = None,
    seed: int = 0,
    block: int = BLOCK,
    address: str = cluster.LOCAL,
    quiet: bool = False,
) -> dict:
    """Project the images of `source` and write what the defence makes of them to the folder `out`, as Parquet.

    Args:
      source: a folder of image files, of Parquet or of TFRecord files, one such file, or `NAME` or `NAME:SPLIT` of
        TFDS (test, where no split is named). Parquet and TFRecord hold encoded images in the column or feature `image`.
      out: a folder; each file there has the rows of one block: `id`, the image's file or place in the source,
        `projection` and `code`, float32 lists, `distance` ‖G(z*) − x‖₂, `label`, `probability` and `accepted`.
      model, solver, steps, threshold: as `serving.named` takes them.
      seed: of the search's starts.
      block: images a block.
      address: of the Ray cluster, all of whose machines must see `source` and `out`; `cluster.LOCAL` starts one here.

    Returns: the number of `images` projected, in this run and before, of those `accepted`, and the ids of those
    `skipped` because they cannot be read. Raises `InputError` for a source with no images, an `out` that holds another
    run's projections, and where `serving.named` and `cluster.connect` do.
    """
    cut = list(blocks(source, block))
    agreed = export.DEFENSES.get(model)
    names = [agreed.classifier, agreed.generative] if agreed else []
    defense = export.named(model, solver=solver, steps=steps, threshold=threshold)
    made = {"model": model, "solver": solver, "steps": steps, "threshold": defense.threshold}
    agreement = cluster.Agreement.on(names)
    run = {"source": source, "block": block, "seed": seed, **made, "checkpoints": dict(agreement.hashes)}
    _claim(out, run)
    missing = [one for one in cut if not (out / one.file).exists()]
    if missing:
        _compute(missing, out, made, agreement, seed, address, quiet)
    return _summary([out / one.file for one in cut])


def _compute(
    missing: list[Block], out: Path, made: dict, agreement: cluster.Agreement, seed: int, address: str, quiet: bool
) -> None:
    ray = cluster.connect(address)
    room, needs = cluster.room(ray)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.DataContext.get_current().print_on_execution_start = False
    tasks = ray.data.from_items([asdict(one) for one in missing], override_num_blocks=len(missing))
    done = tasks.map(
        Projector,
        fn_constructor_args=(made, agreement, str(out.resolve()), seed),
        concurrency=min(room, len(missing)),
        **needs,
    )
    with tqdm(total=sum(one.count for one in missing), desc="project", unit="image", disable=quiet) as bar:
        for row in done.iter_rows():
            if row["error"]:
                raise InputError(row["error"])
            bar.update(row["count"])


class Projector:
    """A worker: it loads the defence once, then reads, projects and writes block after block."""

    def __init__(self, made: dict, agreement: cluster.Agreement, out: str, seed: int):
        cluster.one_core()
        self.made, self.agreement, self.out, self.seed = made, agreement, Path(out), seed

    @functools.cached_property
    def defense(self):
        """Made at the first block, where an error has somewhere to go."""
        self.agreement.check()
        return export.named(**self.made)

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
                images.append(image_files.decode(encoded, name, self.defense.image_shape, self.defense.bounds))
                ids.append(name)
            except InputError:
                skipped.append(name)
        answer = self.defense(np.stack(images), seed=self.seed) if images else None
        _write_parquet(self.out / block.file, ids, answer, skipped)


def _write_parquet(path: Path, ids: list[str], answer: Classification | None, skipped: list[str]) -> None:
    """One file of the output, whole or not at all; what was skipped is in its schema's metadata."""
    columns: dict[str, Any] = {"id": pa.array(ids, pa.string())}
    shape: list[int] = []
    if answer is not None:
        shape = list(answer.projections.shape[1:])
        for name, values in {"projection": answer.projections, "code": answer.codes}.items():
            flat = values.numpy().reshape(len(ids), -1)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), flat.shape[1])
        columns |= {
            "distance": answer.distances.numpy(),
            "label": answer.predictions.numpy(),
            "probability": tf.reduce_max(tf.nn.softmax(answer.logits), axis=1).numpy(),
            "accepted": ~answer.rejected.numpy(),
        }
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


def _claim(out: Path, run: dict) -> None:
    """Make `out` the folder of this run; raises `InputError` where it is another's, or no folder."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{str(out)!r} is not a folder.")
    claim = out / _RUN
    if not claim.exists():
        if out.exists() and any(out.glob("*.parquet")):
            raise InputError(f"{str(out)!r} holds Parquet files that are not of `inc project`: name another folder.")
        write_text(claim, json.dumps(run, indent=1) + "\n")
        return
    before = json.loads(claim.read_text())
    for name in run:
        if before.get(name) != run[name]:
            raise InputError(
                f"{str(out)!r} holds projections of another run, with {name} {before.get(name)!r} in the place of "
                f"{run[name]!r}: name another folder."
            )


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
    """The blocks of a source, which `project` describes, in order; raises `InputError` where there is no image."""
    path = Path(source)
    if path.is_dir():
        many = sorted(file for file in path.rglob("*") if file.is_file() and _kind(file))
        if not many:
            pictures = _pictures(path)
            if not pictures:
                raise InputError(f"{source!r} has no image, Parquet or TFRecord file in it.")
            yield from _cut("folder", source, len(pictures), size)
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
        raise InputError(f"{str(path)!r} is no Parquet file that can be read.") from error
    if "image" not in file.schema_arrow.names:
        raise InputError(f"{str(path)!r} has the columns {', '.join(file.schema_arrow.names)}; it must have image.")
    return file.metadata.num_rows


def _tfrecord_rows(path: Path) -> int:
    try:
        return int(tf.data.TFRecordDataset(str(path)).reduce(np.int64(0), lambda n, _: n + 1))
    except tf.errors.DataLossError as error:
        raise InputError(f"{str(path)!r} is no TFRecord file, or a damaged one.") from error


def read(block: Block) -> Iterator[tuple[str, bytes]]:
    """The id and the encoded content of each image of a block, in order."""
    return _READERS[block.kind](block)


_COUNTS = {"parquet": _parquet_rows, "tfrecord": _tfrecord_rows}


def _read_folder(block: Block) -> Iterator[tuple[str, bytes]]:
    root = Path(block.source)
    for file in _listed(root)[block.first : block.first + block.count]:
        yield str(file.relative_to(root)), file.read_bytes()


def _pictures(root: Path) -> list[Path]:
    return sorted(file for file in root.rglob("*") if file.is_file() and file.suffix.lower() in _IMAGES)


_listed = functools.cache(_pictures)
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
