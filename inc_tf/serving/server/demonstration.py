"""What the page shows: an attack, and the defence's search for the projection as it converges.

Images travel as base64 of H·W·C bytes, 0 for the bounds' lowest value and 255 for the highest.
"""

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inc_tf import data
from inc_tf.attacks import METHODS, TARGETS
from inc_tf.attacks.checks import Classifier, has_gradient
from inc_tf.data.scaling import to_bytes
from inc_tf.defense import InvertAndClassify
from inc_tf.projection import LatentProjector, LevenbergMarquardt, Zeros
from inc_tf.projection.solvers.protocol import is_dense
from inc_tf.serving import export
from inc_tf.serving.server.rest import Refused, shown
from inc_tf.zoo import Parts

LOOKS = (1, 3, 10, 30, 100, 300, 1000)
"""After how many steps the search is looked at."""

_SAMPLES = 12
_ATTACKS = {
    "fgsm": "FGSM: one step",
    "bim": "BIM: {steps} steps",
    "pgd": "PGD: {steps} steps",
    "implicit": "AutoPGD through the search",
    "surrogate-reverse": "PGD through half of the reverse process",
    "end-to-end": "AutoPGD through the whole defence",
    "bpda": "AutoPGD, as if the projection changed nothing",
}
"""What the page offers, of `METHODS`, in its order and in its words; of those that know the defence, one."""
_FIRST = "pgd"
_TRIES = 6  # samples among which one is looked for that an attack on the whole defence breaks
_STRENGTHS = (0.2, 0.15, 0.1, 0.05)  # ε of the first view, as shares of the range, until one tells the story
_LARGEST = 2**12  # values of an image whose gradient through the defence takes a second or two
_ROOM = 0.05  # share of η that an attack through the projection leaves between it and its distance
_PENALTY = 20.0  # what a distance of η too many counts in the true class's logit


def through(defense: InvertAndClassify) -> Callable[[tf.Tensor], Classifier]:
    """The whole defence, for an attack that knows it and whose images must be accepted too.

    Returns: labels ↦ the logits of a projection, with the gradient that the implicit function theorem gives to a
    search. If the distance comes close to η, the true class's logit rises, so that the attack turns elsewhere.
    """
    both = TARGETS["thresholded"].build(defense, Parts({}, defense.bounds), 1)

    def against(labels: tf.Tensor) -> Classifier:
        def classify(images: tf.Tensor) -> tf.Tensor:
            logits, distances = both(images)
            if defense.threshold is None:
                return logits
            excess = tf.nn.relu(distances / defense.threshold - (1 - _ROOM))
            return logits + _PENALTY * tf.one_hot(labels, logits.shape[-1]) * excess[:, tf.newaxis]

        return classify

    return against


def possible(card: dict[str, Any]) -> bool:
    """Whether the page can show a defence: only if there are images that it may show."""
    return "generator" in card["projector"] or _has_samples(card["dataset"])


def _has_samples(dataset: str | None) -> bool:
    return dataset == "digits" or (dataset == "mnist" and data.tfds.prepared("mnist"))


class Demonstration:
    """One model on the page: its defence with Keras, the searches, and samples.

    Args:
      path: the `.keras` file of the defence; it is `possible`.
      card: the export's, with the name and version that are served.

    Attributes:
      description: what there is to choose from, a first demonstration (which sample, its events), and a sample that
        the attack on the whole defence breaks; JSON.
      largest_body: bytes of a request's body: 64 kB, or what an image takes as base64.
    """

    def __init__(self, path: Path, card: dict[str, Any]):
        self._card = card
        self.bounds: data.Bounds = tuple(card["bounds"])
        self._defense: InvertAndClassify = keras.saving.load_model(path, compile=False, safe_mode=True)
        self._shape: tuple[int, ...] = tuple(self._defense.image_shape)
        self._searches = searches(self._defense)
        self._breaking, self._through = knowing(self._defense)
        self._offered = [name for name in _ATTACKS if name == self._breaking or not METHODS[name].searches]
        self._samples = self._choose_samples()
        self._first, self._broken = self._choose_first(), self._choose_broken()
        for attack in self._offered:  # compiles what each needs
            next(self._events(self._samples[0][:1], None, attack, 0.0, 0))
        self.description = json.dumps(self._describe(), allow_nan=False).encode()
        self.largest_body = max(2**16, 4 * math.prod(self._shape) // 3 + 2**12)

    def _describe(self) -> dict:
        images, labels = self._samples
        return {
            "name": self._card["name"],
            "version": self._card["version"],
            "dataset": self._card["dataset"],
            "shape": list(self._shape),
            "bounds": list(self.bounds),
            "threshold": self._card["threshold"],
            "solver": self._card["projector"].get("solver"),
            "generates": "generator" in self._card["projector"],
            "classes": self._defense.class_names,
            "attacks": [
                {
                    "name": name,
                    "label": _ATTACKS[name].format(**METHODS[name].settings()),
                    "knows_defense": METHODS[name].searches,
                }
                for name in self._offered
            ],
            "samples": [{"image": self._encoded(x), "label": y} for x, y in zip(images, labels, strict=True)],
            "first": self._first,
            "broken": self._broken,
        }

    def work(self, wanted: dict[str, Any]) -> Iterator[dict]:
        """The events of one demonstration, computed as they are asked for. Raises `Refused` before the first."""
        members = {"image": None, "label": None, "attack": None, "epsilon": None, "seed": 0}
        for name in wanted:
            if name not in members:
                raise Refused(400, f"There is no {shown(name)}; there are {', '.join(members)}")
        image, label, attack, epsilon, seed = ({**members, **wanted}[name] for name in members)
        if not isinstance(attack, str) or attack not in self._offered:
            raise Refused(400, f"attack must be one of {', '.join(self._offered)}")
        width = self.bounds[1] - self.bounds[0]
        if type(epsilon) not in (int, float) or not 0 <= epsilon <= width:
            raise Refused(400, f"epsilon must be a number from 0 to {width:g}")
        classes = self._defense.classifier.output_shape[-1]
        if label is not None and (type(label) is not int or not 0 <= label < classes):
            raise Refused(400, f"label must be null or a class, 0 to {classes - 1}")
        if type(seed) is not int or not 0 <= seed < 2**31:
            raise Refused(400, "seed must be an integer from 0 to 2147483647")
        return self._events(self._decoded(image), label, attack, float(epsilon), seed)

    def _events(self, images: np.ndarray, label: int | None, attack: str, epsilon: float, seed: int) -> Iterator[dict]:
        """The attack, then a look at the search after more and more steps; the last is the defence's answer."""
        images = tf.constant(images)
        classifier = self._defense.classifier
        clean = classifier(images, training=False)
        target = tf.argmax(clean, axis=1) if label is None else tf.constant([label], tf.int64)
        attacked = self._attacked(images, target, attack, epsilon, seed)
        yield {
            "event": "attack",
            "label": int(target[0]),
            "image": self._encoded(images[0]),
            "adversarial": self._encoded(attacked[0]),
            "clean": _probabilities(clean),
            "undefended": _probabilities(classifier(attacked, training=False)),
        }
        for steps, search in self._searches.items():
            answer = search(attacked, seed=seed)
            yield {
                "event": "look",
                "steps": steps,
                "projection": self._encoded(answer.projections[0]),
                "distance": float(answer.distances[0]),
                "defended": _probabilities(answer.logits),
                "accepted": not bool(answer.rejected[0]),
            }

    def _attacked(
        self, images: np.ndarray | tf.Tensor, labels: np.ndarray | tf.Tensor, attack: str, epsilon: float, seed: int = 0
    ) -> tf.Tensor:
        method = METHODS[attack]
        target = self._through(labels) if attack == self._breaking else self._defense.classifier
        return method.function(
            target, images, labels, bounds=self.bounds, epsilon=epsilon, seed=seed, **method.arguments
        )

    def _choose_samples(self) -> tuple[np.ndarray, list[int | None]]:
        """Test images where the data is at hand and may be shown; else images that the generator makes, unlabelled."""
        if _has_samples(self._card["dataset"]):
            test = data.load(self._card["dataset"], "test").take(200)
            first = [int(np.flatnonzero(test.labels == c)[0]) for c in range(10)]
            more = [i for i in range(len(test)) if i not in first][: _SAMPLES - len(first)]
            chosen = [*first, *more]
            return self._as_sent(test.images[chosen]), [int(test.labels[i]) for i in chosen]
        generator = self._defense.projector.generator
        stddev = getattr(getattr(self._defense.projector, "start", None), "stddev", 1.0)
        shape = [_SAMPLES, generator.input_shape[1]]
        made = generator(tf.random.stateless_normal(shape, [0, 0], stddev=stddev), training=False)
        return self._as_sent(np.clip(made.numpy(), *self.bounds)), [None] * _SAMPLES

    def _choose_first(self) -> dict[str, Any]:
        """A sample that an attack on the classifier fools and the projection surely saves; the first, if none is so."""
        first = (0, _STRENGTHS[0] * (self.bounds[1] - self.bounds[0]))
        told = (one for one in self._saved() if self._alone_and_behind(one[0], _FIRST, one[1]) == (False, True))
        i, epsilon = next(told, first)
        events = list(self._events(self._samples[0][i : i + 1], self._samples[1][i], _FIRST, epsilon, 0))
        return {"sample": i, "attack": _FIRST, "epsilon": epsilon, "events": events}

    def _choose_broken(self) -> dict[str, Any] | None:
        """A sample that the attack on the whole defence breaks, and ε; None where none of a few is."""
        epsilon = _STRENGTHS[0] * (self.bounds[1] - self.bounds[0])
        for i in range(_TRIES if self._breaking else 0):
            if self._alone_and_behind(i, self._breaking, epsilon)[1] is False:
                return {"sample": i, "attack": self._breaking, "epsilon": epsilon}
        return None

    def _alone_and_behind(self, i: int, attack: str, epsilon: float) -> tuple[bool, bool | None]:
        """Whether the classifier alone, and the defence, have the attacked sample right; None where it is refused."""
        attacked, *_, last = self._events(self._samples[0][i : i + 1], self._samples[1][i], attack, epsilon, 0)
        behind = bool(np.argmax(last["defended"]) == attacked["label"]) if last["accepted"] else None
        return bool(np.argmax(attacked["undefended"]) == attacked["label"]), behind

    def _saved(self) -> Iterator[tuple[int, float]]:
        """Samples, and ε, with which `_FIRST` fools the classifier and not the defence; the surest of each ε first."""
        images, labels = self._samples
        right = tf.argmax(self._defense.classifier(images, training=False), axis=1).numpy()
        wanted = np.array([r if label is None else label for r, label in zip(right, labels, strict=True)])
        rows = np.arange(len(images))
        for share in _STRENGTHS:
            epsilon = round(share * (self.bounds[1] - self.bounds[0]), 6)
            attacked = self._attacked(images, wanted, _FIRST, epsilon)
            alone = tf.nn.softmax(self._defense.classifier(attacked, training=False)).numpy()
            answer = self._defense(attacked, seed=0)
            behind = tf.nn.softmax(answer.logits).numpy()
            fooled = (right == wanted) & (alone.argmax(1) != wanted)
            sure = np.where(fooled & (behind.argmax(1) == wanted) & ~answer.rejected, behind[rows, wanted], 0)
            yield from ((int(i), epsilon) for i in np.argsort(-sure) if sure[i])

    def _as_sent(self, images: np.ndarray) -> np.ndarray:
        """The images in 8 bits, as the page sends them back: what an attack does to another may end otherwise."""
        return np.concatenate([self._decoded(self._encoded(image)) for image in images])

    def _encoded(self, image: np.ndarray | tf.Tensor) -> str:
        return base64.b64encode(to_bytes(np.asarray(image), self.bounds).tobytes()).decode()

    def _decoded(self, image: Any) -> np.ndarray:
        size = math.prod(self._shape)
        try:
            pixels = base64.b64decode(image, validate=True) if isinstance(image, str) else b""
        except (binascii.Error, ValueError):
            pixels = b""
        if len(pixels) != size:
            raise Refused(400, f"image must be base64 of {size} bytes, {list(self._shape)} from 0 to 255")
        values = np.frombuffer(pixels, np.uint8).reshape(1, *self._shape)
        return export.scaled(tf.constant(values), self.bounds).numpy()


def searches(defense: InvertAndClassify) -> dict[int | None, InvertAndClassify]:
    """The defence with its search cut off after each of `LOOKS`, and whole; by number of steps, None where it has none.

    Each starts from where the whole one does, so they are looks at one search.
    """
    projector = defense.projector
    if not isinstance(projector, LatentProjector):
        return {None: defense}
    most = projector.solver.steps  # type: ignore[attr-defined]

    def cut(steps: int) -> InvertAndClassify:
        shorter = projector.with_steps(steps)
        return InvertAndClassify(defense.classifier, shorter, defense.threshold, defense.bounds)

    return {**{steps: cut(steps) for steps in LOOKS if steps < most}, most: defense}


def knowing(defense: InvertAndClassify) -> tuple[str, Callable[[tf.Tensor], Classifier]]:
    """The attack on the whole defence that takes a second or two, and its target for labels; "" where there is none."""
    nothing = "", lambda labels: defense.classifier
    if math.prod(defense.classifier.input_shape[1:]) > _LARGEST:
        return nothing
    if isinstance(defense.projector, LatentProjector):
        quick = is_dense(defense.projector.generator)  # the Jacobian of convolutions takes long
        return ("implicit", through(fast_search(defense))) if quick else nothing
    if has_gradient(defense, tf.fill([1, *defense.image_shape], defense.bounds[0])):
        return "end-to-end", through(defense)
    name = "surrogate-reverse" if TARGETS["reverse"].suits(defense) else "bpda"
    target = TARGETS[METHODS[name].target].build(defense, Parts({}, defense.bounds), 1)
    return name, lambda labels: target


def fast_search(defense: InvertAndClassify) -> InvertAndClassify:
    """The defence with a search that converges in a few steps, through which an attack can have its gradient.

    Its own where that is Levenberg–Marquardt, else that from z = 0.
    """
    projector = defense.projector
    if isinstance(projector.solver, LevenbergMarquardt):
        return defense
    quick = LatentProjector(projector.generator, LevenbergMarquardt(), Zeros())
    return InvertAndClassify(defense.classifier, quick, defense.threshold, defense.bounds)


def _probabilities(logits: tf.Tensor) -> list[float]:
    return [round(float(p), 6) for p in tf.nn.softmax(logits[0])]
