"""The deep image prior on photographs, image by image: what Table 2 and Figure 10 are made of.

One search an attacked image, as far as the sweep's limit, answers for every limit and every rule at once: the
classifier's answer is noted at each of `CHECKPOINTS` and where each rule would have stopped.
"""

import functools
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
from tqdm import tqdm

import inc_tf as inc
from inc_tf import checkpoints, data
from inc_tf import estimates
from inc_tf.attacks.checks import check_labels
from inc_tf.evaluation.cluster import Agreement
from inc_tf.errors import InputError
from inc_tf.models import imagenet
from inc_tf.models.skip import skip_network
from inc_tf.evaluation.store import Arrays, Store
from inc_tf.evaluation.experiment import Run, check_out
from inc_tf.cli.script_options import RAY_OPTION, RUN_OPTIONS
from inc_tf.evaluation.sweep import CLEAN, Attack
from inc_tf.evaluation.units import Bench, Blueprint, Unit

ATTACKS = [CLEAN, *(Attack("bim", epsilon) for epsilon in (0.01, 0.05, 0.1))]
CHECKPOINTS = (50, *range(100, 1001, 100))
LIMITS = {"dip": 500, "dip-100": 100}
"""The paper's two limits of steps, each together with its threshold of the error."""
RULES = (inc.ErrorBelow(), inc.MovingVariance())
Craft = Callable[[keras.Model, data.Dataset, Attack], np.ndarray]
"""(classifier, one image, the attack) ↦ the attacked image, float32 [H, W, 3]."""
PICTURES = ("attacked", "projection")
"""What of an answer shows a photograph. It is kept apart: the rest may be passed on where photographs may not."""
TRAINING = (
    "The images are ImageNet training images, which the classifier was probably trained on: no validation accuracy."
)


def options(command: Callable) -> Callable:
    """The options of both scripts."""
    for option in (
        *RUN_OPTIONS,
        RAY_OPTION,
        click.option("--seed", default=0, show_default=True, help="Of the weights, z and its noise."),
        click.option("--steps", default=CHECKPOINTS[-1], show_default=True, help="The limit of the sweep over steps."),
        click.option("--channels", default=128, show_default=True, help="Of the skip network; the paper's is 128."),
        click.option(
            "--classifier",
            default="ResNet152",
            show_default=True,
            help="A network of keras.applications, with ImageNet's weights, or a .keras file; images in [−1, 1].",
        ),
        click.option(
            "--folder",
            type=click.Path(path_type=Path),
            help="A folder of images with a labels.txt in ImageNet's place: a file name and a class on each line.",
        ),
        click.option("--split", default="validation", show_default=True, help="ImageNet's."),
        click.option("--full", is_flag=True, help="All images."),
        click.option("--n", default=4, show_default=True, help="The first N images."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class Models:
    """Makes the classifier and the projector with a skip network of its images' size, searching for `steps`.

    `classifier` is a file or a network's name. Raises `InputError` where it has not the `sha256`, if that is given.
    """

    classifier: str
    channels: int
    steps: int
    sha256: str | None = None

    def __call__(self) -> dict[str, Any]:
        classifier = imagenet.load_classifier(self.classifier)
        if self.sha256 is not None and self.sha256 != _sha256(classifier, self.classifier):
            raise InputError(f"A worker has another classifier {self.classifier!r}: give all machines the same.")
        network = skip_network((*classifier.input_shape[1:3], 3), self.channels)
        return {"classifier": classifier, "projector": inc.DeepImagePrior(network, steps=self.steps)}


class Photographs(Run):
    """A run of the deep image prior on photographs; the arguments are the scripts' options.

    `shard` is (i, of): of the images, every `of`-th from the i-th on, counted from 1. `merge` are result folders of
    shards, whose finished work is taken over; nothing is computed then.
    """

    def __init__(
        self,
        n: int,
        full: bool,
        split: str,
        folder: Path | None,
        classifier: str,
        channels: int,
        steps: int,
        seed: int,
        out: Path,
        quiet: bool,
        shard: tuple[int, int] = (1, 1),
        merge: tuple[Path, ...] = (),
    ):
        check_out(out)
        if steps < CHECKPOINTS[0]:
            raise InputError(f"--steps is {steps}; it must be at least {CHECKPOINTS[0]}.")
        self.steps = steps
        self.checkpoints = [*(c for c in CHECKPOINTS if c < steps), steps]
        self.shard, self.merging, self.channels = shard, bool(merge), channels
        made = Models(classifier, channels, steps)
        models = made()
        self.classifier = models["classifier"]
        images = _images(n, full, split, folder, self.classifier.input_shape[1])
        check_labels(images.labels, len(images), self.classifier.output_shape[1])
        self.units = list(images.shards(1))[shard[0] - 1 :: shard[1]]
        if len(self.units) < 2:
            raise InputError(f"There are {len(self.units)} images to run on; an interval needs at least 2: raise --n.")
        sha256 = _sha256(self.classifier, classifier)
        self.made_of = replace(made, sha256=sha256)
        hashes = {self.classifier.name: sha256}
        super().__init__(images, models, hashes, seed, out, quiet, papers="imagenet2012", quick=not full)
        self.record.deviations += list(self._deviations())
        self.kept = Store(out / "pictures")
        for other in merge:
            _take_over(other, out)

    def _deviations(self):
        if self.classifier.name != "ResNet152":
            yield f"{self.classifier.name} in the place of ResNet152."
        if self.data.name != "imagenet2012":
            yield f"A folder of images, {self.data.name!r}, in the place of ImageNet's validation images."
        if self.data.split == "train":
            yield TRAINING
        if self.data.skipped:
            yield f"{len(self.data.skipped)} files are no images and were skipped: {', '.join(self.data.skipped)}."
        if self.channels != 128:
            yield f"A skip network of {self.channels} channels in the place of 128."
        if self.steps < max(LIMITS.values()):
            yield f"At most {self.steps} steps in the place of the paper's 500."
        if self.shard[1] > 1:
            yield f"Shard {self.shard[0]} of {self.shard[1]} of the images."

    def pictures(self, images: list[data.Dataset], attacks: list[Attack]) -> Arrays:
        """The `PICTURES` of the images under each of the attacks, stacked; of what is finished."""
        found = []
        for image in images:
            for attack in attacks:
                unit = self._unit(image, attack)
                found.append(self.kept.get(self.key(unit.key, unit.images), functools.partial(self._refuse, unit)))
        return {name: np.stack([arrays[name] for arrays in found]) for name in PICTURES}

    def _refuse(self, unit: Unit) -> Arrays:
        raise InputError(
            f"{_said(unit)} has no pictures in {str(self.out)!r}: name another --out, or merge shards that have them."
        )

    def file(self, unit: Unit, arrays: Arrays, seconds: float) -> None:
        super().file(unit, self._set_aside(unit, arrays), seconds)

    def _set_aside(self, unit: Unit, arrays: Arrays) -> Arrays:
        """Keep the pictures of an answer; returns the rest."""
        self.kept.put(self.key(unit.key, unit.images), {name: arrays[name] for name in PICTURES}, 0.0)
        return {name: array for name, array in arrays.items() if name not in PICTURES}

    def blueprint(self) -> Blueprint:
        """How another process makes this bench; a classifier's file must lie there too."""
        return Blueprint(self.dataset, self.bounds, self.seed, self.made_of, Agreement.on([]))

    def craft(self, image: data.Dataset, attack: Attack) -> Craft:
        """How a unit comes by its attacked image."""
        return _craft

    def answers(self, attacks: list[Attack] = ATTACKS) -> dict[Attack, Arrays]:
        """What `_answer` says of every image but its pictures, stacked, by attack."""
        units = [(attack, self._unit(image, attack)) for image in self.units for attack in attacks]
        if not self.merging:
            self.ahead((unit for _, unit in units), len(units))
        found: dict[Attack, list[Arrays]] = {attack: [] for attack in attacks}
        with tqdm(
            total=len(units) * self.steps, desc=self.name, unit="step", smoothing=0.02, disable=self.quiet
        ) as bar:
            for attack, unit in units:
                before = bar.n
                found[attack].append(self.cached(unit.key, unit.images, lambda: self._compute(unit, bar)))  # noqa: B023
                bar.update(before + self.steps - bar.n)
        return {
            attack: {name: np.stack([p[name] for p in parts]) for name in parts[0]} for attack, parts in found.items()
        }

    def _unit(self, image: data.Dataset, attack: Attack) -> Unit:
        key = {
            **attack.key(),
            "sha256": hashlib.sha256(image.images.tobytes()).hexdigest(),
            "channels": self.channels,
            "steps": self.steps,
            "rules": [rule.get_config() for rule in RULES],
        }
        answer = functools.partial(
            _answer, image=image, attack=attack, craft=self.craft(image, attack), noted=self.checkpoints
        )
        return Unit(key, image, answer)

    def _compute(self, unit: Unit, bar: tqdm) -> Arrays:
        if not self.merging:
            return self._set_aside(unit, unit.compute(self, progress=bar.update))
        raise InputError(f"{_said(unit)} is in none of the merged folders: run its shard, with the same options.")

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
        self.record.add(estimates.share(answer["right"]), metric="accuracy", paper=paper, **labels)
        for metric in ("mse", "steps"):
            if metric in answer:
                self.record.add(estimates.mean(answer[metric]), metric=metric, **labels)

    def path(self, suffix: str) -> Path:
        """Where a result goes; what differs from the paper's run joins the name."""
        channels = "" if self.channels == 128 else f"-{self.channels}-channels"
        shard = "" if self.shard[1] == 1 else f"-shard-{self.shard[0]}-of-{self.shard[1]}"
        path = super().path(suffix)
        return path.with_name(path.name.removesuffix(suffix) + channels + shard + suffix)


def _craft(classifier: keras.Model, image: data.Dataset, attack: Attack) -> np.ndarray:
    """The paper's attacks, on the bare classifier."""
    if attack == CLEAN:
        return image.images[0]
    epsilon = attack.epsilon or 0.0
    return inc.attacks.bim(classifier, image.images, image.labels, bounds=image.bounds, epsilon=epsilon).numpy()[0]


def _answer(
    bench: Bench,
    image: data.Dataset,
    attack: Attack,
    craft: Craft,
    noted: list[int],
    progress: Callable[[int], object] = lambda steps: None,
) -> Arrays:
    """One image under one attack, at the steps that are `noted`; `progress` is told how many were taken.

    `attacked` and `projection` are images, the latter as the paper's limit and threshold leave it; `undefended`, `at`
    and `rule` say whether the classifier is right on the attacked image, on each noted step's reconstruction and on
    each rule's.
    """
    classifier, projector = bench.models["classifier"], bench.models["projector"]
    attacked = craft(classifier, image, attack)
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


def _images(n: int, full: bool, split: str, folder: Path | None, size: int) -> data.Dataset:
    wanted = None if full else n
    images = data.load_imagenet(split, wanted, size) if folder is None else data.load_folder(folder, wanted, size)
    if images.skipped:
        click.echo(f"{len(images.skipped)} files are no images and were skipped: {', '.join(images.skipped)}.")
    return images


def _sha256(classifier: keras.Model, path_or_name: str) -> str:
    """Of the file, or of the weights of a network that Keras downloads."""
    if path_or_name.endswith(".keras"):
        return checkpoints.sha256(Path(path_or_name))
    return hashlib.sha256(b"".join(weight.tobytes() for weight in classifier.get_weights())).hexdigest()


def _said(unit: Unit) -> str:
    assert unit.images
    return f"Image {unit.images.start} under {unit.key['attack']} {unit.key['epsilon']:g}"


def _take_over(other: Path, out: Path) -> None:
    """Copy the finished work of another results' folder, with its pictures where it has them."""
    if not (other / "units").is_dir():
        raise InputError(f"{str(other)!r} holds no finished work (units/); --merge names the --out of a shard.")
    for file in (*other.glob("units/*.npz"), *other.glob("pictures/*.npz")):
        copy = out / file.relative_to(other)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if not copy.exists():
            shutil.copy(file, copy)
