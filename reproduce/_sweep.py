"""Attacks × defences over images: what most tables and figures are made of, shard by shard and kept as it comes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

import inc_tf as inc
from inc_tf import data, evaluation
from inc_tf.projection.solvers.protocol import Solver
from inc_tf.projection.starts import Start
from inc_tf.store import Arrays
from reproduce._common import Run

SHARDS = {"mnist": 500, "digits": 500, "celeb_a": 50}
"""Images a unit of work, by data set: what a kill may cost is minutes."""

_SMALL = 3072
"""Values of an image up to which the least-squares solver is the faster one, as on 32×32 colour images."""

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
    "combined-fgsm": (inc.attacks.fgsm, "combined"),
    "combined-pgd": (inc.attacks.pgd, "combined"),
    "pgd": (inc.attacks.pgd, "classifier"),
    "own": (inc.attacks.pgd, "own"),
    "bpda": (inc.attacks.pgd, "bpda"),
    "unrolled": (inc.attacks.pgd, "unrolled"),
    "implicit": (inc.attacks.pgd, "implicit"),
    "latent": (inc.attacks.latent, "latent"),
    "implicit-fgsm": (inc.attacks.fgsm, "implicit"),
    "square": (inc.attacks.square, "own"),
    "spsa": (inc.attacks.spsa, "own"),
    "boundary": (inc.attacks.boundary, "own"),
    # In ℓ2.
    "pgd-l2": (inc.attacks.pgd, "classifier"),
    "own-l2": (inc.attacks.pgd, "own"),
    "implicit-l2": (inc.attacks.pgd, "implicit"),
    "square-l2": (inc.attacks.square, "own"),
}

CLASSIFIERS = {"undefended": "classifier", "manifold-trained": "robust", "pgd-trained": "pgd"}
"""The defences that are a classifier and nothing more, by the records' name: the part of `CHECKPOINTS` that each is."""

# The searches for a code, solver and start, by the records' name of the defence; inc-500 is the first of 500 steps.
SEARCHES: dict[str, dict[str, tuple[Solver, Start]]] = {
    "mnist": {
        "inc": (inc.Adam(), inc.Normal()),
        "inc-fast": (inc.LevenbergMarquardt(), inc.Nearest()),
        "inc-lbfgs": (inc.LBFGS(), inc.Nearest()),
    },
    # The paper's learning rate there; codes start as BEGAN's were drawn.
    "celeb_a": {
        "inc": (inc.Adam(0.01), inc.Normal(stddev=2.0)),
        "inc-fast": (inc.LBFGS(), inc.Nearest(stddev=2.0)),
    },
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
    experiment: Run,
    images: data.Dataset,
    attacks: list[Attack],
    defenses: list[str],
    keep: tuple[str, ...] = (),
    seed: int | None = None,
) -> dict[tuple[Attack, str], Arrays]:
    """Every attack on `images` against every defence; `seed` is the defences', in the place of the run's.

    Answers by (attack, defence): `correct`, bool [N], and, behind a projector, `distance`, float32 [N], and the parts
    of the `Classification` that `keep` names.
    """
    parts: dict[tuple[Attack, str], list[Arrays]] = {(attack, name): [] for attack in attacks for name in defenses}
    total = len(parts) * len(images)
    with tqdm(total=total, desc=experiment.name, unit="image", disable=experiment.quiet) as bar:
        for shard in images.shards(SHARDS.get(images.name, 100)):
            for attack in attacks:
                attacked = attack_images(experiment, attack, shard)
                for name in defenses:
                    key = {**attack.key(), "defense": name, **({"keep": keep} if keep else {})}
                    key |= {} if seed is None else {"defense_seed": seed}
                    answer = experiment.cached(key, shard, lambda: _answer(experiment, name, attacked, keep, seed))  # noqa: B023
                    parts[attack, name].append(answer)
                    bar.update(len(shard))
    return {
        case: {key: np.concatenate([p[key] for p in shards]) for key in shards[0]} for case, shards in parts.items()
    }


def add_accuracies(
    experiment: Run, answers: dict[tuple[Attack, str], Arrays], paper: dict[str, dict] | None = None
) -> None:
    """Add to the record the accuracy of each case, and the mean distance where there is one.

    `paper`: the paper's accuracies, by defence, attack and ε.
    """
    for (attack, defense), answer in answers.items():
        labels: dict[str, Any] = {"defense": defense, "attack": attack.name, "epsilon": attack.epsilon}
        reported = (paper or {}).get(defense, {}).get((attack.name, attack.epsilon))
        experiment.record.add(evaluation.share(answer["correct"]), metric="accuracy", paper=reported, **labels)
        if "distance" in answer:
            experiment.record.add(evaluation.mean(answer["distance"]), metric="distance", **labels)


def attack_images(experiment: Run, attack: Attack, images: data.Dataset) -> data.Dataset:
    """`images` as `attack` leaves them."""
    if attack.name == "clean":
        return images
    method, attacked = _METHODS[attack.name]
    model: Callable = experiment.models.get(attacked) or (lambda x: build_defense(experiment, attacked)(x).logits)
    settings = dict(attack.settings) if attack.epsilon is None else {"epsilon": attack.epsilon, **attack.settings}

    def run() -> Arrays:
        found = method(
            model, images.images, images.labels, bounds=images.bounds, seed=experiment.record.seed, **settings
        )
        return {"images": found.numpy()}

    return replace(images, images=experiment.cached(attack.key(), images, run)["images"])


def build_defense(experiment: Run, name: str) -> keras.Model:
    """The defence that the records call `name`, of the experiment's models; built once."""
    if name not in experiment.defenses:
        classifier, bounds = experiment.models["classifier"], experiment.data.bounds
        experiment.defenses[name] = (
            experiment.models[CLASSIFIERS[name]]
            if name in CLASSIFIERS
            else inc.InvertAndClassify(classifier, _projector(experiment, name), bounds=bounds)
        )
    return experiment.defenses[name]


def _projector(experiment: Run, name: str) -> keras.Layer:
    model = experiment.models["generative"]
    if name == "autoencode":
        return inc.EncoderProjector(model.encoder, model.generator)
    searches = _searches(experiment)
    if name.removeprefix("inc-").isdigit():
        solver, start = searches["inc"]
        assert isinstance(solver, inc.Adam)
        return inc.LatentProjector(model.generator, replace(solver, steps=int(name.removeprefix("inc-"))), start)
    return inc.LatentProjector(model.generator, *searches[name])


def _searches(experiment: Run) -> dict[str, tuple[Solver, Start]]:
    """The data set's own; for models that a user brings, by the size of the generator's images."""
    name = experiment.record.dataset
    if name in SEARCHES:
        return SEARCHES[name]
    model = experiment.models["generative"]
    if math.prod(model.generator.output_shape[1:]) <= _SMALL:
        return SEARCHES["mnist"]
    stddev = getattr(model, "latent_stddev", 1.0)
    return {
        "inc": (inc.Adam(0.01), inc.Normal(stddev=stddev)),
        "inc-fast": (inc.LBFGS(), inc.Nearest(stddev=stddev)),
    }


def _answer(experiment: Run, name: str, images: data.Dataset, keep: tuple[str, ...], seed: int | None) -> Arrays:
    defense = build_defense(experiment, name)
    if not isinstance(defense, inc.InvertAndClassify):
        return {"correct": defense.predict(images.images, verbose=0).argmax(axis=1) == images.labels}
    answer = defense(images.images, seed=experiment.record.seed if seed is None else seed)
    return {
        "correct": answer.predictions.numpy() == images.labels,
        "distance": answer.distances.numpy(),
        **{part: getattr(answer, part).numpy() for part in keep},
    }
