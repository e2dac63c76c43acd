"""The deep image prior on photographs, image by image, for Table 2 and Figure 10.

One search for each attacked image, up to the sweep's limit, covers every limit and rule at once: the classifier's
prediction is kept at each of `CHECKPOINTS` and where each rule would have stopped.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from inc_tf import checkpoints, data, estimates, zoo
from inc_tf.attacks import METHODS
from inc_tf.attacks.checks import check_labels
from inc_tf.errors import InputError
from inc_tf.evaluation.cluster import Agreement
from inc_tf.evaluation.run import Options, Run
from inc_tf.evaluation.store import Arrays, Store
from inc_tf.evaluation.sweep import CLEAN, Attack
from inc_tf.evaluation.units import Bench, Blueprint, Unit
from inc_tf.models import imagenet
from inc_tf.models.skip import skip_network
from inc_tf.projection import DeepImagePrior, ErrorBelow, MovingVariance
from inc_tf.saving import configuration

ATTACKS = [CLEAN, *(Attack("bim", epsilon) for epsilon in (0.01, 0.05, 0.1))]
CHECKPOINTS = (50, *range(100, 1001, 100))
LIMITS = {"dip": 500, "dip-100": 100}
"""The paper's two limits of steps, each together with its threshold of the error."""
RULES = (ErrorBelow(), MovingVariance())
PICTURES = ("attacked", "projection")
"""The parts of an answer that show a photograph; kept apart, since these may not be published."""
PAPERS = "imagenet2012"

Craft = Callable[[Bench, data.Dataset], np.ndarray]
"""(bench, one image) ↦ the attacked image, float32 [H, W, 3]."""


class Shard(NamedTuple):
    """The i-th of n parts, counted from 1."""

    i: int
    n: int

    def __str__(self) -> str:
        return f"{self.i}/{self.n}"


_WHOLE = Shard(1, 1)


@dataclass(frozen=True)
class Photography:
    """The photographs and the prior; the fields are the scripts' options.

    Attributes:
      classifier: a network of `keras.applications`, or a `.keras` file.
      channels: channels of the skip network; the paper's 128.
      steps: the limit of the sweep over steps.
      split: ImageNet's.
      folder: a folder of images with a `labels.txt`, instead of ImageNet.
      shard: the part of the images to run: every n-th from the i-th on.
      merge: results folders of shards whose finished work is merged; nothing is computed then.
    """

    classifier: str = "ResNet152"
    channels: int = 128
    steps: int = CHECKPOINTS[-1]
    split: str = "validation"
    folder: Path | None = None
    shard: Shard = _WHOLE
    merge: tuple[Path, ...] = ()


@dataclass(frozen=True)
class PhotographParts:
    """Makes the classifier, and the projector with a skip network for images of the classifier's size.

    Raises `InputError` if `sha256` is given and the classifier's differs.
    """

    classifier: str
    channels: int
    steps: int
    sha256: str | None = None

    def __call__(self) -> zoo.Parts:
        classifier = imagenet.load_classifier(self.classifier)
        if classifier.input_shape[3] != 3:
            raise InputError(
                f"The classifier {self.classifier!r} takes {classifier.input_shape[1:]}; photographs are RGB."
            )
        if self.sha256 is not None and self.sha256 != _sha256(classifier, self.classifier):
            raise InputError(f"A worker has another classifier {self.classifier!r}: give all machines the same.")
        network = skip_network((*classifier.input_shape[1:3], 3), self.channels)
        models = {"classifier": classifier, "projector": DeepImagePrior(network, steps=self.steps)}
        return zoo.Parts(models, DeepImagePrior.bounds)


class Photographs:
    """A run of the deep image prior on photographs.

    Attributes:
      run: the run that computes and keeps the units, and writes the record.
      units: units of work, one image each.
      checkpoints: the steps at which the classifier's answer is noted.
    """

    def __init__(self, options: Options, wanted: Photography):
        if wanted.steps < CHECKPOINTS[0]:
            raise InputError(f"--steps is {wanted.steps}; it must be at least {CHECKPOINTS[0]}.")
        self.wanted, self.steps = wanted, wanted.steps
        self.checkpoints = [*(c for c in CHECKPOINTS if c < wanted.steps), wanted.steps]
        made = PhotographParts(wanted.classifier, wanted.channels, wanted.steps)
        parts = made()
        self.classifier = parts["classifier"]
        images = _images(options, wanted, self.classifier.input_shape[1])
        check_labels(images.labels, len(images), self.classifier.output_shape[1])
        self.units = list(images.shards(1))[wanted.shard.i - 1 :: wanted.shard.n]
        if len(self.units) < 2:
            raise InputError(f"There are {len(self.units)} images to run on; an interval needs at least 2: raise --n.")
        sha256 = _sha256(self.classifier, wanted.classifier)
        self.run = Run(
            replace(options, name=self._name(options.name)),
            images,
            Bench(parts, options.seed),
            Blueprint(replace(made, sha256=sha256), options.seed, Agreement.on([])),
            checkpoints={self.classifier.name: sha256},
            quick=not options.full,
            papers=PAPERS,
        )
        self.run.record.artefact = options.name
        self.run.record.deviations += list(self._deviations(images))
        self.kept = Store(options.out / "pictures")
        for other in wanted.merge:
            _take_over(other, options.out)

    def _name(self, script: str) -> str:
        """The script's, with what differs from the paper's run."""
        channels = "" if self.wanted.channels == 128 else f"-{self.wanted.channels}-channels"
        i, n = self.wanted.shard
        return script + channels + ("" if n == 1 else f"-shard-{i}-of-{n}")

    def _deviations(self, images: data.Dataset):
        if self.classifier.name != "ResNet152":
            yield f"{self.classifier.name} instead of ResNet152."
        if images.name != PAPERS:
            yield f"A folder of images, {images.name!r}, instead of ImageNet's validation images."
        if images.split == "train":
            yield (
                "The images are ImageNet training images, which the classifier was probably trained on: this is not "
                "validation accuracy."
            )
        if images.skipped:
            yield _skipped(images)
        if self.wanted.channels != 128:
            yield f"A skip network of {self.wanted.channels} channels instead of 128."
        if self.steps < max(LIMITS.values()):
            yield f"At most {self.steps} steps instead of the paper's 500."
        if self.wanted.shard.n > 1:
            yield f"Shard {self.wanted.shard.i} of {self.wanted.shard.n} of the images."

    def answers(
        self,
        attacks: list[Attack] = ATTACKS,
        unit: Callable[[data.Dataset, Attack], Unit] | None = None,
        first: int | None = None,
    ) -> dict[Attack, Arrays]:
        """What `_answer` says of every image but its pictures, or of the `first`, stacked, by attack; `unit` may be a
        script's own.
        """
        units = [(attack, (unit or self.unit)(image, attack)) for image in self.units[:first] for attack in attacks]
        if not self.wanted.merge:
            self.run.ahead((one for _, one in units), len(units), self._file)
        found: dict[Attack, list[Arrays]] = {attack: [] for attack in attacks}
        total = len(units) * self.steps
        with tqdm(total=total, desc=self.run.name, unit="step", smoothing=0.02, disable=self.run.quiet) as bar:
            for attack, one in units:
                before = bar.n
                found[attack].append(self.run.cached(one.key, functools.partial(self._compute, one, bar)))
                bar.update(before + self.steps - bar.n)
        return {
            attack: {name: np.stack([p[name] for p in parts]) for name in parts[0]} for attack, parts in found.items()
        }

    def unit(self, image: data.Dataset, attack: Attack, craft: Craft | None = None, **crafted: Any) -> Unit:
        """The search on one image under one attack: of `METHODS`, or computed by `craft` and described by `crafted`."""
        bench = self.run.bench
        if craft is None:
            craft = functools.partial(_craft, attack=attack)
            if attack != CLEAN:
                method = METHODS[attack.name]
                crafted = configuration(method.settings(epsilon=attack.epsilon, **attack.settings))
        key = {
            "attack": attack.name,
            "crafted": crafted,
            "classifier": bench.digest("classifier"),
            "projector": bench.digest("projector"),
            "noted": self.checkpoints,
            "rules": configuration(RULES),
            "seed": bench.seed,
            **image.digest,
        }
        answer = functools.partial(_answer, image=image, craft=craft, noted=self.checkpoints)
        return Unit(key, answer, f"image {image.start} under {attack.name} {attack.epsilon:g}")

    def _compute(self, unit: Unit, bar: tqdm) -> Arrays:
        if not self.wanted.merge:
            return self._set_aside(unit, unit.compute(self.run.bench, progress=bar.update))
        raise InputError(
            f"{unit.name[0].upper()}{unit.name[1:]} is in none of the merged folders: run its shard, with the same "
            "options."
        )

    def _file(self, unit: Unit, arrays: Arrays, seconds: float) -> None:
        self.run.store.put(unit.key, self._set_aside(unit, arrays), seconds)

    def _set_aside(self, unit: Unit, arrays: Arrays) -> Arrays:
        """Keep the pictures of an answer; returns the rest."""
        self.kept.put(unit.key, {name: arrays[name] for name in PICTURES}, 0.0)
        return {name: array for name, array in arrays.items() if name not in PICTURES}

    def pictures(self, units: list[Unit]) -> Arrays:
        """The `PICTURES` of finished units, stacked."""
        found = [self.kept.get(unit.key, functools.partial(self._refuse, unit)) for unit in units]
        return {name: np.stack([arrays[name] for arrays in found]) for name in PICTURES}

    def _refuse(self, unit: Unit) -> Arrays:
        raise InputError(
            f"The pictures of {unit.name} are not in {str(self.run.out)!r}: name another --out, or merge shards that "
            "have them."
        )

    def limited(self, answer: Arrays, limit: int) -> Arrays:
        """The paper's rule at a limit of steps: `right`, `mse` and `steps` of each image."""
        limit = min(limit, self.steps)
        i = self.checkpoints.index(limit)
        early = answer["stopped"][:, 0] & (answer["rule_steps"][:, 0] <= limit)
        return {
            "right": np.where(early, answer["rule"][:, 0], answer["at"][:, i]),
            "mse": np.where(early, answer["rule_mse"][:, 0], answer["mse_at"][:, i]),
            "steps": np.where(early, answer["rule_steps"][:, 0], limit),
        }

    def add_row(self, answer: Arrays, paper: float | None, **labels: Any) -> None:
        """Add to the record one defence's accuracy, and the mean error and steps of its searches."""
        self.run.record.add(estimates.share(answer["right"]), metric="accuracy", paper=paper, **labels)
        for metric in ("mse", "steps"):
            if metric in answer:
                self.run.record.add(estimates.mean(answer[metric]), metric=metric, **labels)


class Later:
    """What is read when it is needed, or when it is sent to another process."""

    def __init__(self, read: Callable[[], Any]):
        self.read = read

    def __call__(self) -> Any:
        return self.read()

    def __reduce__(self):
        return functools.partial, (_same, self.read())


def _same(value: Any) -> Any:
    return value


def _craft(bench: Bench, image: data.Dataset, attack: Attack) -> np.ndarray:
    """A declared attack on the bare classifier."""
    if attack == CLEAN:
        return image.images[0]
    method = METHODS[attack.name]
    settings = method.settings(epsilon=attack.epsilon, **attack.settings)
    classifier = bench.parts["classifier"]
    return method.function(classifier, image.images, image.labels, bounds=image.bounds, **settings).numpy()[0]


def _answer(
    bench: Bench,
    image: data.Dataset,
    craft: Craft,
    noted: list[int],
    progress: Callable[[int], object] = lambda steps: None,
) -> Arrays:
    """One attacked image, at the steps that are `noted`; `progress` is told how many were taken.

    `attacked` and `projection` are images, the latter as the paper's limit and threshold leave it; `undefended`, `at`
    and `rule` say whether the classifier is right on the attacked image, on each noted step's reconstruction and on
    each rule's.
    """
    classifier, projector = bench.parts["classifier"], bench.parts["projector"]
    attacked = craft(bench, image)
    found = projector.trajectory(attacked, noted, RULES, bench.seed, progress)
    seen = [*found.checkpoints, *found.answers]
    logits = classifier.predict(np.stack([attacked, *(s.image for s in seen)]), verbose=0)
    right = logits.argmax(axis=1) == image.labels[0]
    k = len(noted) + 1
    below, limit = found.answers[0], min(LIMITS["dip"], noted[-1])
    early = found.stopped[0] and below.steps <= limit
    return {
        "attacked": attacked,
        "projection": (below if early else found.checkpoints[noted.index(limit)]).image,
        "undefended": right[0],
        "at": right[1:k],
        "mse_at": np.array([s.error for s in found.checkpoints]),
        "rule": right[k:],
        "rule_mse": np.array([s.error for s in found.answers]),
        "rule_steps": np.array([s.steps for s in found.answers]),
        "stopped": np.array(found.stopped),
        "restarted": np.array(found.restarts > 0),
    }


def _images(options: Options, wanted: Photography, size: int) -> data.Dataset:
    n = None if options.full else options.n
    if wanted.folder is None:
        images = data.load_imagenet(wanted.split, n, size)
    else:
        images = data.load_folder(wanted.folder, n, size)
    if images.skipped:
        warnings.warn(_skipped(images), stacklevel=2)
    return images


def _skipped(images: data.Dataset) -> str:
    return f"{len(images.skipped)} files are not images and were skipped: {', '.join(images.skipped)}."


def _sha256(classifier: keras.Model, path_or_name: str) -> str:
    """Of the file, or of the weights of a network that Keras downloads."""
    if path_or_name.endswith(".keras"):
        return checkpoints.sha256(Path(path_or_name))
    return hashlib.sha256(b"".join(weight.tobytes() for weight in classifier.get_weights())).hexdigest()


def _take_over(other: Path, out: Path) -> None:
    """Copy the finished work of another results folder, with its pictures if it has them."""
    if not (other / "units").is_dir():
        raise InputError(f"{str(other)!r} holds no finished work (units/); --merge names the --out of a shard.")
    for file in (*other.glob("units/*.npz"), *other.glob("pictures/*.npz")):
        copy = out / file.relative_to(other)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            shutil.copy(file, copy)
