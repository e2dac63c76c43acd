"""Export: a defence as a SavedModel that TensorFlow Serving loads.

Only TensorFlow is needed to load it. `inc_tf.serving.server` serves it over HTTP.
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
"""The same defence as a Keras file, which TensorFlow Serving ignores; the page of `inc serve` attacks it."""

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

    Returns the version's folder. The other arguments are those of `zoo.load` and `export`; a file has its own search, η
    and classifier. Raises `InputError` whenever those do, for a model that is not a defence, and for a file that is
    given another search, η or classifier.
    """
    if model.endswith(".keras"):
        if (steps, threshold, classifier) != (None, None, None):
            raise InputError(f"{model!r} was saved with its search, threshold and classifier; they cannot be replaced.")
        return export(
            zoo.projecting(load_file(Path(model)), model),
            directory,
            Path(model).stem if name is None else name,
            dtype=dtype,
        )
    source, named = zoo.understand(model)
    defense = zoo.load(model, steps=steps, threshold=threshold, classifier=classifier)
    made_of = [source.checkpoints[part] for part in named.parts if part in source.checkpoints]
    hashes = {checkpoint: checkpoints.card(checkpoint)["sha256"] for checkpoint in made_of}
    return export(
        zoo.projecting(defense, model),
        directory,
        model if name is None else name,
        dtype=dtype,
        dataset=source.name,
        checkpoints=hashes,
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

    Both signatures take `images`, [N, H, W, C] of type `dtype`, and `seed`, int32, a scalar (or one for each image, all
    equal) with the default 0. They return what the defence does, for a `LatentProjector` bit for bit:

    - `serving_default`: the classification of each image, the fields of `answer.FIELDS` about it;
    - `project`: these, and the projection and its code.

    Args:
      defense: any `InvertAndClassify`; its solver, steps and threshold are baked in.
      directory: the folder of all models.
      name: the model's name in URLs: letters, digits, `_`, `.` and `-`.
      dtype: type of `images`: `"float32"` within the defence's bounds, or `"uint8"`, 0 to 255, which the graph scales.
      dataset: the data set that it was trained on, a name that `data.load` takes, for the card; the page takes its
        samples from it.
      checkpoints: the SHA-256 of each checkpoint by name, for the card.

    Returns the version's folder, which appears whole or not at all; its `assets/card.json` describes the model. Raises
    `InputError` for another type or name, an infinite η, and a folder that cannot be written; then nothing is left
    behind.
    """
    if dtype not in DTYPES:
        raise InputError(f"The images' type is {dtype!r}; it must be {' or '.join(DTYPES)}.")
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise InputError(
            f"The name is {name!r}; it must consist of letters, digits, '_', '.' and '-', for a URL, and begin with "
            "neither '.' nor '-'."
        )
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
                f"{str(error.filename)!r} is not a folder; DIR must name a folder, which may be new."
            ) from error
        said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise InputError(f"{str(folder)!r} cannot be written ({said}); nothing was written.") from error


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
    """The graph functions that `export` writes, by signature; see `export`."""
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
    """Images of 8 bits as float32 within the bounds; float32 images as they are."""
    if images.dtype != tf.uint8:
        return images
    # A product, since a graph makes one of a division by a constant, whose last bit is another.
    return bounds[0] + tf.cast(images, tf.float32) * ((bounds[1] - bounds[0]) / 255)


def describe(defense: InvertAndClassify, dtype: str) -> dict:
    """The description of a defence in its card: types, ranges, the search and η, as plain values."""
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
