"""Attacks × defences over images: what most tables and figures are made of, shard by shard and kept as it comes."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

import inc_tf as inc
from inc_tf import data
from inc_tf import estimates
from inc_tf.models.celeba import BEGAN
from inc_tf.projection.solvers.protocol import Solver
from inc_tf.projection.starts import Start
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.single import ON_STAND_IN, STAND_INS
from inc_tf.evaluation.experiment import Run
from inc_tf.evaluation.units import Bench, Unit

SHARDS = {"mnist": 500, "digits": 500, "celeb_a": 25}
"""Images a unit of work, by data set: what a kill may cost is minutes."""

_SMALL = 3072
"""Values of an image up to which the least-squares solver is the faster one, as on 32×32 colour images."""

# An attack's method, and what it is run on; see `_attacked`.
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
    "own": (inc.attacks.auto_pgd, "own"),
    **{name: (method, name) for name, method in ON_STAND_IN.items()},
    "latent": (inc.attacks.latent, "latent"),
    "implicit-fgsm": (inc.attacks.fgsm, "implicit"),
    "square": (inc.attacks.square, "own"),
    "spsa": (inc.attacks.spsa, "own"),
    "boundary": (inc.attacks.boundary, "own"),
    # In ℓ2.
    "pgd-l2": (inc.attacks.pgd, "classifier"),
    "own-l2": (inc.attacks.auto_pgd, "own"),
    "implicit-l2": (inc.attacks.auto_pgd, "implicit"),
    "square-l2": (inc.attacks.square, "own"),
}

_NEAREST = ("boundary",)
"""Methods that look for the least change, whatever ε is: one run serves every ε."""

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
    shards = list(images.shards(SHARDS.get(images.name, 100)))
    cases = [(attack, name) for attack in attacks for name in defenses]
    _ahead(experiment, shards, attacks, defenses, keep, seed)
    parts: dict[tuple[Attack, str], list[Arrays]] = {case: [] for case in cases}
    total = len(parts) * len(images)
    with tqdm(total=total, desc=experiment.name, unit="image", disable=experiment.quiet) as bar:
        for shard in shards:
            for attack in attacks:
                attacked = attack_images(experiment, attack, shard)
                for name in defenses:
                    parts[attack, name].append(experiment.answer(_answering(attack, name, attacked, keep, seed)))
                    bar.update(len(shard))
    return {
        case: {key: np.concatenate([p[key] for p in shards]) for key in shards[0]} for case, shards in parts.items()
    }


def _ahead(
    experiment: Run,
    shards: list[data.Dataset],
    attacks: list[Attack],
    defenses: list[str],
    keep: tuple[str, ...],
    seed: int | None,
) -> None:
    """Let the cluster, where there is one, attack the images, then answer for them; what only this process can is not
    asked for.
    """
    far = [a for a in attacks if a.name != "clean" and experiment.made.keys().isdisjoint({_METHODS[a.name][1]})]
    attacking = {unit.name: unit for unit in (_attacking(a, shard) for a in far for shard in shards)}
    experiment.ahead(attacking.values(), len(attacking))
    named = [name for name in defenses if name not in experiment.made]
    answers = (
        _answering(attack, name, attacked, keep, seed)
        for attack in attacks
        for shard in shards
        for attacked in [attack_images(experiment, attack, shard)]
        for name in named
    )
    experiment.ahead(answers, len(attacks) * len(shards) * len(named))


def add_accuracies(
    experiment: Run, answers: dict[tuple[Attack, str], Arrays], paper: dict[str, dict] | None = None
) -> None:
    """Add to the record the accuracy of each case, and the mean distance where there is one.

    `paper`: the paper's accuracies, by defence, attack and ε.
    """
    for (attack, defense), answer in answers.items():
        labels: dict[str, Any] = {"defense": defense, "attack": attack.name, "epsilon": attack.epsilon}
        reported = (paper or {}).get(defense, {}).get((attack.name, attack.epsilon))
        experiment.record.add(estimates.share(answer["correct"]), metric="accuracy", paper=reported, **labels)
        if "distance" in answer:
            experiment.record.add(estimates.mean(answer["distance"]), metric="distance", **labels)


def attack_images(experiment: Run, attack: Attack, images: data.Dataset) -> data.Dataset:
    """`images` as `attack` leaves them."""
    if attack.name == "clean":
        return images
    found = experiment.answer(_attacking(attack, images))["images"]
    if attack.name in _NEAREST:
        inside = np.abs(found - images.images).max(axis=(1, 2, 3), keepdims=True) <= attack.epsilon
        found = np.where(inside, found, images.images)
    return replace(images, images=found)


def _attacking(attack: Attack, images: data.Dataset) -> Unit:
    if attack.name in _NEAREST:
        attack = replace(attack, epsilon=images.bounds[1] - images.bounds[0])
    return Unit(attack.key(), images, functools.partial(_attack, attack=attack, images=images))


def _answering(attack: Attack, name: str, attacked: data.Dataset, keep: tuple[str, ...], seed: int | None) -> Unit:
    """The defence's answer to images that `attack` has left."""
    key = {**attack.key(), "defense": name, **({"keep": keep} if keep else {})}
    key |= {} if seed is None else {"defense_seed": seed}
    return Unit(key, attacked, functools.partial(_answer, name=name, images=attacked, keep=keep, seed=seed))


def _attack(bench: Bench, attack: Attack, images: data.Dataset) -> Arrays:
    method, part = _METHODS[attack.name]
    against = str(attack.surrogate["against"]) if part == "own" else part
    settings = dict(attack.settings) if attack.epsilon is None else {"epsilon": attack.epsilon, **attack.settings}
    model = _attacked(bench, against)
    found = method(model, images.images, images.labels, bounds=images.bounds, seed=bench.seed, **settings)
    return {"images": found.numpy()}


def _attacked(bench: Bench, name: str) -> Callable:
    """What an attack is run on, images → logits: one of the bench's models, a stand-in of the search with the fast
    solver that a gradient goes through, or a whole defence as it answers; the latent attack takes the search itself.
    """
    if name in bench.models:
        return bench.models[name]
    if name == "latent":
        return build_defense(bench, "inc-fast")
    if name in STAND_INS:
        defense = build_defense(bench, "inc-fast")
        start = {"encoder": _start(bench, defense)} if name == "unrolled" else {}
        bench.models[name] = STAND_INS[name](defense, **start)
        return bench.models[name]
    defense = build_defense(bench, name)
    answer = (lambda images: defense(images).logits) if isinstance(defense, inc.InvertAndClassify) else defense
    if name in _searches(bench):
        return answer  # compiled already
    images = tf.TensorSpec([None, *bench.models["classifier"].input_shape[1:]], tf.float32)
    return tf.function(answer, input_signature=[images], autograph=False)


def _start(bench: Bench, defense: inc.InvertAndClassify) -> Callable | None:
    """Where the unrolled search starts, images → codes: E(x); for BEGAN, whose encoder answers the decoder's codes and
    not the generator's, where the fast search ends.
    """
    model = bench.models["generative"]
    if isinstance(model, BEGAN):
        return lambda images: tf.stop_gradient(defense.projector(tf.stop_gradient(images)).codes)
    return getattr(model, "encoder", None)


def build_defense(bench: Bench, name: str) -> keras.Model:
    """The defence that the records call `name`, of the bench's models; built once."""
    if name in bench.made:
        return bench.made[name]
    if name not in bench.defenses:
        bench.defenses[name] = (
            bench.models[CLASSIFIERS[name]]
            if name in CLASSIFIERS
            else inc.InvertAndClassify(bench.models["classifier"], _projector(bench, name), bounds=bench.bounds)
        )
    return bench.defenses[name]


def _projector(bench: Bench, name: str) -> keras.Layer:
    model = bench.models["generative"]
    if name == "autoencode":
        return inc.EncoderProjector(model.encoder, model.generator)
    searches = _searches(bench)
    if name.removeprefix("inc-").isdigit():
        solver, start = searches["inc"]
        assert isinstance(solver, inc.Adam)
        return inc.LatentProjector(model.generator, replace(solver, steps=int(name.removeprefix("inc-"))), start)
    return inc.LatentProjector(model.generator, *searches[name])


def _searches(bench: Bench) -> dict[str, tuple[Solver, Start]]:
    """The data set's own; for models that a user brings, by the size of the generator's images."""
    if bench.dataset in SEARCHES:
        return SEARCHES[bench.dataset]
    model = bench.models["generative"]
    if math.prod(model.generator.output_shape[1:]) <= _SMALL:
        return SEARCHES["mnist"]
    stddev = getattr(model, "latent_stddev", 1.0)
    return {
        "inc": (inc.Adam(0.01), inc.Normal(stddev=stddev)),
        "inc-fast": (inc.LBFGS(), inc.Nearest(stddev=stddev)),
    }


def _answer(bench: Bench, name: str, images: data.Dataset, keep: tuple[str, ...], seed: int | None) -> Arrays:
    defense = build_defense(bench, name)
    if not isinstance(defense, inc.InvertAndClassify):
        return {"correct": defense.predict(images.images, verbose=0).argmax(axis=1) == images.labels}
    answer = defense(images.images, seed=bench.seed if seed is None else seed)
    return {
        "correct": answer.predictions.numpy() == images.labels,
        "distance": answer.distances.numpy(),
        **{part: getattr(answer, part).numpy() for part in keep},
    }
