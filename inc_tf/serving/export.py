"""Export: a defence as a SavedModel that TensorFlow Serving loads, and the defences that can be named.

What is written needs TensorFlow alone to be loaded. `inc_tf.server` serves it over HTTP.
"""

import contextlib
import errno
import json
import math
import os
import platform
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from inc_tf import checkpoints, data
from inc_tf.defense import InvertAndClassify, threshold_at
from inc_tf.errors import InputError
from inc_tf.models import imagenet
from inc_tf.models.mnist import VAE
from inc_tf.models.skip import skip_network
from inc_tf.projection import LBFGS, Adam, DeepImagePrior, FromEncoder, LatentProjector, LevenbergMarquardt, Normal
from inc_tf.projection.solvers.protocol import Solver
from inc_tf.projection.starts import Start
from inc_tf.saving import Settings, load_file

CARD = Path("assets") / "card.json"
KERAS_FILE = Path("assets.extra") / "defense.keras"
"""The same defence for Keras, which TensorFlow Serving ignores; the page of `inc serve` attacks it."""

DTYPES = ("float32", "uint8")
FALSE_REJECTION_RATE = 0.05
_VALIDATION_IMAGES = 200


@dataclass(frozen=True)
class Parts:
    """What a named defence is made of: two checkpoints, the data set that they know, Adam's learning rate on it."""

    classifier: str
    generative: str
    dataset: str
    learning_rate: float = 0.1


DEFENSES = {
    "mnist": Parts("mnist-classifier", "mnist-vae", "mnist"),
    "digits": Parts("digits-classifier", "digits-vae", "digits"),
    "celeba": Parts("celeba-gender", "celeba-began", "celeb_a", learning_rate=0.01),
}

SOLVERS = ("adam", "lm", "lbfgs")
DEEP_IMAGE_PRIOR = "dip"


def named(
    model: str,
    *,
    solver: str = "adam",
    steps: int | None = None,
    threshold: float | None = None,
    classifier: str = "ResNet152",
) -> InvertAndClassify:
    """The defence of this name: of the checkpoints that ship, or the deep image prior of any classifier.

    Args:
      model: a key of `DEFENSES`, or `"dip"`.
      solver: `"adam"` from z₀ ~ N(0, σ²), the paper's search; `"lm"` (Levenberg–Marquardt) or `"lbfgs"`, both from E(x)
        where the generative model has an encoder for its generator's codes.
      steps: the most that the search takes; None is the solver's own default, for Adam 2000, for `"dip"` 500.
      threshold: η; None rejects 5 % of the first 200 clean validation images, with `"dip"` nothing.
      classifier: of `"dip"`, as `models.imagenet.load_classifier` takes it; the prior has its images' size.

    `"dip"` has its own search: `solver` must be `"adam"`. Raises `InputError` for unknown names, steps below 1, a
    checkpoint or classifier that is not there, or no η and no images.
    """
    if model == DEEP_IMAGE_PRIOR:
        if solver != "adam":
            raise InputError(f"The deep image prior's search is Adam on weights; it cannot be {solver!r}.")
        images = imagenet.load_classifier(classifier)
        given: dict[str, Any] = {} if steps is None else {"steps": steps}
        return InvertAndClassify(images, DeepImagePrior(skip_network(images.input_shape[1:]), **given), threshold)
    if model not in DEFENSES:
        known = ", ".join([*DEFENSES, DEEP_IMAGE_PRIOR])
        raise InputError(f"There is no defence {model!r}; there are {known}, or a .keras file's path.")
    parts = DEFENSES[model]
    decided, generative = checkpoints.load(parts.classifier), checkpoints.load(parts.generative)
    projector = LatentProjector(generative.generator, *_search(generative, solver, steps, parts.learning_rate))
    bounds = tuple(checkpoints.card(parts.classifier)["bounds"])
    if threshold is None:
        clean = data.load(parts.dataset, "validation").take(_VALIDATION_IMAGES)
        threshold = threshold_at(projector(clean.images).distances.numpy(), FALSE_REJECTION_RATE)
    return InvertAndClassify(decided, projector, threshold, bounds)


def _search(generative: keras.Model, solver: str, steps: int | None, learning_rate: float) -> tuple[Solver, Start]:
    if steps is not None and steps < 1:
        raise InputError(f"steps is {steps}; it must be at least 1.")
    if solver not in SOLVERS:
        raise InputError(f"There is no solver {solver!r}; there are {', '.join(SOLVERS)}.")
    normal = Normal(stddev=getattr(generative, "latent_stddev", 1.0))
    if solver == "adam":
        return Adam(learning_rate, **({} if steps is None else {"steps": steps})), normal
    kind = LevenbergMarquardt if solver == "lm" else LBFGS
    start = FromEncoder(generative.encoder) if isinstance(generative, VAE) else normal
    return kind(**({} if steps is None else {"max_steps": steps})), start


def export_named(
    model: str,
    directory: Path,
    *,
    name: str | None = None,
    solver: str | None = None,
    steps: int | None = None,
    threshold: float | None = None,
    classifier: str | None = None,
    dtype: str = "float32",
) -> Path:
    """Export the defence `model`: a name that `named` takes, or the path of a `.keras` file of an `InvertAndClassify`.

    Returns the version's folder. The other arguments are those of `named` and `export`; a file has its own search and
    η. Raises `InputError` where those do, and for a file that is no defence or that is given another search.
    """
    if classifier is not None and model != DEEP_IMAGE_PRIOR:
        raise InputError(f"{model!r} has its own classifier; only {DEEP_IMAGE_PRIOR!r} takes one.")
    if model == DEEP_IMAGE_PRIOR:
        classifier = classifier or "ResNet152"
        defense = named(model, solver=solver or "adam", steps=steps, threshold=threshold, classifier=classifier)
        return export(defense, directory, name or model, dtype=dtype)
    if not model.endswith(".keras"):
        defense = named(model, solver=solver or "adam", steps=steps, threshold=threshold)
        parts = DEFENSES[model]
        hashes = {part: checkpoints.card(part)["sha256"] for part in (parts.classifier, parts.generative)}
        return export(defense, directory, name or model, dtype=dtype, dataset=parts.dataset, checkpoints=hashes)
    if (solver, steps, threshold) != (None, None, None):
        raise InputError(f"{model!r} was saved with its search and its threshold; they cannot be given anew.")
    return export(_from_file(Path(model)), directory, name or Path(model).stem, dtype=dtype)


def _from_file(path: Path) -> InvertAndClassify:
    model = load_file(path)
    if not isinstance(model, InvertAndClassify):
        raise InputError(f"{str(path)!r} holds a {type(model).__name__}; it must hold an InvertAndClassify.")
    return model


def export(
    defense: InvertAndClassify,
    directory: Path,
    name: str,
    *,
    dtype: str = "float32",
    dataset: str | None = None,
    checkpoints: dict[str, str] | None = None,
) -> Path:
    """Write `directory/name/version/`, the layout that TensorFlow Serving loads; the version is the next one there.

    Both signatures take `images`, [N, H, W, C] of type `dtype`, and `seed`, int32, a scalar (or one an image, all
    alike); who leaves it out gets 0. They answer what the defence does, behind a `LatentProjector` to the last bit:

    - `serving_default`: `label`, int64 [N]; `probabilities`, float32 [N, classes]; `distance`, float32 [N];
      `accepted`, bool [N].
    - `project`: `image`, float32 [N, H, W, C]; `code`, float32 [N, k]; `distance`, float32 [N].

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
    facts = {"name": name, "dataset": dataset, "checkpoints": checkpoints or {}, **describe(defense, dtype)}
    folder = directory / name
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
    module.weights = [variable.value for variable in defense.variables]
    card.touch()  # its version is not known yet
    module.card = tf.saved_model.Asset(str(card))
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

    @tf.function(input_signature=specs, autograph=False)
    def classify(images, seed=tf.constant(0)):
        answer = answered(images, seed)
        return {
            "label": answer.predictions,
            "probabilities": tf.nn.softmax(answer.logits),
            "distance": answer.distances,
            "accepted": ~answer.rejected,
        }

    @tf.function(input_signature=specs, autograph=False)
    def project(images, seed=tf.constant(0)):
        answer = answered(images, seed)
        return {"image": answer.projections, "code": answer.codes, "distance": answer.distances}

    return {"serving_default": classify, "project": project}


def scaled(images: tf.Tensor, bounds: data.Bounds) -> tf.Tensor:
    """Images of 8 bits as float32 within the bounds; float32 as they are."""
    if images.dtype != tf.uint8:
        return images
    return bounds[0] + tf.cast(images, tf.float32) * ((bounds[1] - bounds[0]) / 255)


def describe(defense: InvertAndClassify, dtype: str) -> dict:
    """What a card says of the defence: types, ranges, the search and η, as plain values.

    Raises `InputError` for an infinite η, which JSON does not know.
    """
    if defense.threshold is not None and not math.isfinite(defense.threshold):
        raise InputError(f"The threshold η is {defense.threshold}; it must be finite, or None to reject nothing.")
    projector = defense.projector
    parts = {key: getattr(projector, key, None) for key in projector.get_config() if key not in ("name", "dtype")}
    classes = defense.classifier.output_shape[-1]
    return {
        "images": {
            "dtype": dtype,
            "shape": [None, *defense.image_shape],
            "range": [0, 255] if dtype == "uint8" else list(defense.bounds),
        },
        "seed": {"dtype": "int32", "default": 0, "meaning": "of the search's starts"},
        "signatures": {
            "serving_default": {
                "label": "int64 [N]: the class of the projection",
                "probabilities": f"float32 [N, {classes}]: the classifier's, on the projection",
                "distance": "float32 [N]: ‖G(z*) − x‖₂ over the whole image, in the units of the defence's bounds",
                "accepted": "bool [N]: whether the distance is below the threshold",
            },
            "project": {
                "image": "float32: G(z*), in the defence's bounds",
                "code": "float32: z*",
                "distance": "float32 [N]: as above",
            },
        },
        "bounds": list(defense.bounds),
        "threshold": defense.threshold,
        "projector": {"class": type(projector).__name__, **{key: _plain(part) for key, part in parts.items()}},
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
    }


def _plain(part):
    if isinstance(part, Settings):
        return {"class": type(part).__name__, **part.get_config()}
    if isinstance(part, keras.layers.Layer):
        return {"class": type(part).__name__, "name": part.name, "parameters": part.count_params()}
    if isinstance(part, float) and not math.isfinite(part):
        return str(part)
    return part if isinstance(part, str | int | float | None) else repr(part)
