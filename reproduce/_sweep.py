"""Attacks × defences over images: what most tables and figures are made of, shard by shard and kept as it comes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

import inc_tf as inc
from inc_tf import data, evaluation
from inc_tf.store import Arrays
from reproduce._common import Experiment

SHARD = 500
"""Images a unit of work."""

# An attack's method, and the model that it is run on: one of the experiment's.
_METHODS: dict[str, tuple[Callable, str]] = {
    "fgsm": (inc.attacks.fgsm, "classifier"),
    "bim": (inc.attacks.bim, "classifier"),
    "cw-l2": (inc.attacks.cw_l2, "classifier"),
    "cw-l0": (inc.attacks.cw_l0, "classifier"),
    "cw-linf": (inc.attacks.cw_linf, "classifier"),
    "autoencode-fgsm": (inc.attacks.fgsm, "autoencode"),
    "autoencode-pgd": (inc.attacks.pgd, "autoencode"),
    "substitute-fgsm": (inc.attacks.fgsm, "substitute"),
    "substitute-bim": (inc.attacks.bim, "substitute"),
}


@dataclass(frozen=True)
class Attack:
    """An attack as the records name it.

    Attributes:
      name: as in the records.
      epsilon: ε, where it has one.
      settings: the method's arguments that are not its defaults.
      surrogate: how the model that it is run on was trained, where that is no checkpoint.
    """

    name: str
    epsilon: float | None = None
    settings: dict = field(default_factory=dict, hash=False)
    surrogate: dict = field(default_factory=dict, hash=False)

    def key(self) -> dict:
        """What its images depend on beside the clean ones."""
        return {"attack": self.name, "epsilon": self.epsilon, **self.settings, **self.surrogate}


CLEAN = Attack("clean", 0.0)


def attack_name(attack: Attack) -> str:
    """The attack as tables name it: its name, and its ε where it has one above 0."""
    return f"{attack.name} {attack.epsilon:g}" if attack.epsilon else attack.name


def sweep(
    experiment: Experiment, images: data.Dataset, attacks: list[Attack], defenses: list[str]
) -> dict[tuple[Attack, str], Arrays]:
    """Every attack on `images` against every defence.

    Answers by (attack, defence): `correct`, bool [N], and, behind a projector, `distance`, float32 [N].
    """
    built = {name: build_defense(name, experiment.models) for name in defenses}
    parts: dict[tuple[Attack, str], list[Arrays]] = {(attack, name): [] for attack in attacks for name in defenses}
    total = len(parts) * len(images)
    with tqdm(total=total, desc=experiment.name, unit="image", disable=experiment.quiet) as bar:
        for shard in images.shards(SHARD):
            for attack in attacks:
                attacked = attack_images(experiment, attack, shard)
                for name in defenses:
                    key = {**attack.key(), "defense": name}
                    answer = experiment.cached(key, shard, lambda: _answer(built[name], attacked, experiment))  # noqa: B023
                    parts[attack, name].append(answer)
                    bar.update(len(shard))
    return {
        case: {key: np.concatenate([p[key] for p in shards]) for key in shards[0]} for case, shards in parts.items()
    }


def add_accuracies(experiment: Experiment, answers: dict[tuple[Attack, str], Arrays]) -> None:
    """Add to the record the accuracy of each case, and the mean distance where there is one."""
    for (attack, defense), answer in answers.items():
        labels: dict[str, Any] = {"defense": defense, "attack": attack.name, "epsilon": attack.epsilon}
        experiment.record.add(evaluation.share(answer["correct"]), metric="accuracy", **labels)
        if "distance" in answer:
            experiment.record.add(evaluation.mean(answer["distance"]), metric="distance", **labels)


def attack_images(experiment: Experiment, attack: Attack, images: data.Dataset) -> data.Dataset:
    """`images` as `attack` leaves them."""
    if attack.name == "clean":
        return images
    method, attacked = _METHODS[attack.name]
    if attacked == "autoencode":
        autoencode = build_defense("autoencode", experiment.models)
        model: Callable = lambda x: autoencode(x).logits  # noqa: E731
    else:
        model = experiment.models[attacked]
    settings = dict(attack.settings) if attack.epsilon is None else {"epsilon": attack.epsilon, **attack.settings}

    def run() -> Arrays:
        found = method(
            model, images.images, images.labels, bounds=images.bounds, seed=experiment.record.seed, **settings
        )
        return {"images": found.numpy()}

    return replace(images, images=experiment.cached(attack.key(), images, run)["images"])


def build_defense(name: str, models: dict[str, keras.Model]) -> keras.Model:
    """The defence that the records call `name`, of these models."""
    classifier = models["classifier"]
    if name == "undefended":
        return classifier
    projectors = {
        "inc": lambda: inc.LatentProjector(models["vae"].generator),
        "inc-fast": lambda: inc.LatentProjector(models["vae"].generator, inc.LevenbergMarquardt(), inc.Nearest()),
        "inc-lbfgs": lambda: inc.LatentProjector(models["vae"].generator, inc.LBFGS(), inc.Nearest()),
        "autoencode": lambda: inc.EncoderProjector(models["vae"].encoder, models["vae"].generator),
    }
    return inc.InvertAndClassify(classifier, projectors[name]())


def _answer(defense: keras.Model, images: data.Dataset, experiment: Experiment) -> Arrays:
    if not isinstance(defense, inc.InvertAndClassify):
        return {"correct": defense.predict(images.images, verbose=0).argmax(axis=1) == images.labels}
    answer = defense(images.images, seed=experiment.record.seed)
    return {"correct": answer.predictions.numpy() == images.labels, "distance": answer.distances.numpy()}
