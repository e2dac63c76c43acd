"""Export: a defence as a SavedModel that TensorFlow Serving loads.

What is written needs TensorFlow alone to be loaded. `inc_tf.serving.server` serves it over HTTP.
"""

import contextlib
import errno
import json
import os
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from inc_tf import checkpoints, data, zoo
from inc_tf.attacks.checks import check_whole
from inc_tf.defense import InvertAndClassify
from inc_tf.errors import InputError
from inc_tf.projection import LatentProjector
from inc_tf.saving import configuration, load_file
from inc_tf.serving.answer import SIGNATURES, fields, outputs

CARD = Path("assets") / "card.json"
KERAS_FILE = Path("assets.extra") / "defense.keras"
"""The same defence for Keras, which TensorFlow Serving ignores; the page of `inc serve` attacks it."""

DTYPES = ("float32", "uint8")


def export_named(
    model: str,
    directory: Path,
    *,
    name: str | None = None,
    steps: int | None = None,
    threshold: float | None = None,
    classifier: str | None = None,
    dtype: str = "float32",
) -> Path:
    """Export the defence `model`: a name that `zoo.load` takes, or the path of an `InvertAndClassify`'s `.keras` file.

    Returns the version's folder. The other arguments are those of `zoo.load` and `export`; a file has its own search
    and η. Raises `InputError` where those do, and for what is not a defence or is given another search.
    """
    if model.endswith(".keras"):
        if (steps, threshold, classifier) != (None, None, None):
            raise InputError(f"{model!r} was saved with its search, threshold and classifier; they cannot be replaced.")
        return export(zoo.projecting(load_file(Path(model)), model), directory, name or Path(model).stem, dtype=dtype)
    source, named = zoo.understand(model)
    defense = zoo.load(model, steps=steps, threshold=threshold, classifier=classifier)
    made_of = [source.checkpoints[part] for part in named.parts if part in source.checkpoints]
    hashes = {checkpoint: checkpoints.card(checkpoint)["sha256"] for checkpoint in made_of}
    return export(
        zoo.projecting(defense, model), directory, name or model, dtype=dtype, dataset=source.name, checkpoints=hashes
    )


def export(
    defense: InvertAndClassify,
    directory: str | Path,
    name: str,
    *,
    dtype: str = "float32",
    dataset: str | None = None,
    checkpoints: dict[str, str] | None = None,
) -> Path:
    """Write `directory/name/version/`, the layout that TensorFlow Serving loads; the version is the next one there.

    Both signatures take `images`, [N, H, W, C] of type `dtype`, and `seed`, int32, a scalar (or one an image, all
    alike); who leaves it out gets 0. They answer what the defence does, behind a `LatentProjector` to the last bit:

    - `serving_default`: what becomes of each image, the fields of `answer.FIELDS` about classification;
    - `project`: these, and the projection and its code.

    Args:
      defense: any `InvertAndClassify`; its solver, steps and threshold are baked in.
      directory: of all models.
      name: the model's, in URLs: letters, digits, `_`, `.` and `-`.
      dtype: of `images`: `"float32"` within the defence's bounds, or `"uint8"`, 0 to 255, which the graph scales.
      dataset: what it was trained on, of `data.load`'s names, for the card; the page takes its samples from there.
      checkpoints: SHA-256 of each by name, for the card.

    Returns the version's folder, which appears whole or not at all; `assets/card.json` in it says all this. Raises
    `InputError` for another type or name, an infinite η, and a folder that cannot be written; then nothing is left.
    """
    if dtype not in DTYPES:
        raise InputError(f"The images' type is {dtype!r}; it must be {' or '.join(DTYPES)}.")
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise InputError(f"The name is {name!r}; it must be of letters, digits, '_', '.' and '-', for a URL.")
    check_whole(defense)
    facts = {"name": name, "dataset": dataset, "checkpoints": checkpoints or {}, **describe(defense, dtype)}
    folder = Path(directory) / name
    made = [path for path in (folder, *folder.parents) if not os.path.exists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:
            written = Path(scratch) / "version"
            _save(defense, written, dtype, Path(scratch) / CARD.name)
            return _placed(written, folder, facts)
    except (OSError, tf.errors.OpError) as error:
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, FileExistsError | NotADirectoryError):
            raise InputError(
                f"{str(error.filename)!r} is not a folder; DIR must name one, or what can become one."
            ) from error
        said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise InputError(f"{str(folder)!r} cannot be written ({said}); nothing was.") from error


def _placed(written: Path, folder: Path, facts: dict) -> Path:
    """Move what was written to the next version there; returns its folder. Another export may take a number first."""
    while True:
        version = 1 + max((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), default=0)
        card = {"name": facts["name"], "version": version, **facts}
        (written / CARD).write_text(json.dumps(card, indent=2, allow_nan=False) + "\n")
        try:
            return written.rename(folder / str(version))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _save(defense: InvertAndClassify, folder: Path, dtype: str, card: Path) -> None:
    module = tf.Module()
    card.touch()  # its version is not known yet
    module.card = tf.saved_model.Asset(str(card))
    searches = isinstance(defense.projector, LatentProjector)
    with defense.projector.held() if searches else contextlib.nullcontext([]) as held:
        module.weights = [*(variable.value for variable in defense.variables), *held]
        tf.saved_model.save(module, str(folder), signatures=signatures(defense, dtype))
    (folder / KERAS_FILE).parent.mkdir()
    defense.save(folder / KERAS_FILE)


def signatures(defense: InvertAndClassify, dtype: str = "float32") -> dict[str, Callable]:
    """The graph functions that `export` writes, by signature; see there."""
    specs = [
        tf.TensorSpec([None, *defense.image_shape], dtype, name="images"),
        tf.TensorSpec(None, tf.int32, name="seed"),  # any rank: REST's rows make a column of it
    ]

    def answered(images, seed):
        seeds = tf.reshape(seed, [-1])
        tf.debugging.assert_equal(seeds, seeds[0], "The images of one call must have the same seed.")
        return defense(scaled(images, defense.bounds), seed=seeds[0])

    def served(signature: str) -> Callable:
        @tf.function(input_signature=specs, autograph=False)
        def serve(images, seed=tf.constant(0)):
            return outputs(answered(images, seed), defense, signature)

        return serve

    return {signature: served(signature) for signature in SIGNATURES}


def scaled(images: tf.Tensor, bounds: data.Bounds) -> tf.Tensor:
    """Images of 8 bits as float32 within the bounds; float32 as they are."""
    if images.dtype != tf.uint8:
        return images
    # A product, since a graph makes one of a division by a constant, whose last bit is another.
    return bounds[0] + tf.cast(images, tf.float32) * ((bounds[1] - bounds[0]) / 255)


def describe(defense: InvertAndClassify, dtype: str) -> dict:
    """What a card says of the defence: types, ranges, the search and η, as plain values."""
    return {
        "images": {
            "dtype": dtype,
            "shape": [None, *defense.image_shape],
            "range": [0, 255] if dtype == "uint8" else list(defense.bounds),
        },
        "seed": {"dtype": "int32", "default": 0, "meaning": "of the search's starts"},
        "signatures": {
            signature: {field.name: f"{field.form}: {field.meaning}" for field in fields(signature)}
            for signature in SIGNATURES
        },
        "bounds": list(defense.bounds),
        "threshold": defense.threshold,
        "class_names": None if defense.class_names is None else list(defense.class_names),
        "projector": configuration(defense.projector),
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
    }
