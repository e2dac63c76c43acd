"""What the page shows: an attack on the classifier, and the search for the projection as it converges.

Images travel as base64 of H·W·C bytes, 0 for the bounds' lowest value and 255 for the highest.
"""

import base64
import binascii
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from inc_tf import attacks, data
from inc_tf.defense import InvertAndClassify
from inc_tf.models import celeba
from inc_tf.projection import LatentProjector
from inc_tf.serving import export
from inc_tf.serving.server.rest import Refused
from inc_tf.serving.server.servable import Servable

ATTACKS = {"fgsm": attacks.fgsm, "bim": attacks.bim, "pgd": attacks.pgd}
LOOKS = (1, 3, 10, 30, 100, 300, 1000)
"""After how many steps the search is looked at."""

_SAMPLES = 12
_CLASSES = {"celeb_a": celeba.CLASSES}


class Demonstration:
    """One model on the page; its defence comes from the `.keras` file beside the SavedModel, and has a generator.

    Attributes:
      servable: the version that it belongs to.
    """

    def __init__(self, servable: Servable):
        self.servable = servable
        self.bounds: data.Bounds = tuple(servable.card["bounds"])

    def load(self) -> None:
        """Load the defence, choose the samples, compile the searches."""
        path = self.servable.folder / export.KERAS_FILE
        self._defense: InvertAndClassify = keras.saving.load_model(path, compile=False, safe_mode=True)
        self._searches = searches(self._defense)
        self._samples = self._choose_samples()
        for _ in self._events(tf.constant(self._samples[0][0])[tf.newaxis], None, "fgsm", 0.0, 0):
            pass

    def describe(self) -> dict:
        """The model, and what there is to choose from."""
        card = self.servable.card
        loaded = hasattr(self, "_samples")
        return {
            "name": self.servable.name,
            "version": self.servable.version,
            "shape": list(self.servable.image_shape),
            "bounds": list(self.bounds),
            "threshold": card["threshold"],
            "solver": card["projector"].get("solver"),
            "classes": _CLASSES.get(card["dataset"]),
            "attacks": list(ATTACKS),
            "samples": [{"image": self._encoded(x), "label": y} for x, y in self._samples] if loaded else [],
        }

    def work(self, wanted: dict[str, Any]) -> Iterator[dict]:
        """The events of one demonstration, computed as they are asked for. Raises `Refused` before the first."""
        unknown = set(wanted) - {"image", "label", "attack", "epsilon", "seed"}
        if unknown:
            raise Refused(
                400, f"There is no {sorted(unknown)[0][:40]!r}; there are image, label, attack, epsilon, seed"
            )
        attack, epsilon, label, seed = (
            wanted.get("attack"),
            wanted.get("epsilon", -1),
            wanted.get("label"),
            wanted.get("seed", 0),
        )
        if not isinstance(attack, str) or attack not in ATTACKS:
            raise Refused(400, f"attack must be one of {', '.join(ATTACKS)}")
        width = self.bounds[1] - self.bounds[0]
        if type(epsilon) not in (int, float) or not 0 <= epsilon <= width:
            raise Refused(400, f"epsilon must be a number from 0 to {width:g}")
        classes = self._defense.classifier.output_shape[-1]
        if label is not None and (type(label) is not int or not 0 <= label < classes):
            raise Refused(400, f"label must be null or a class, 0 to {classes - 1}")
        if type(seed) is not int or not 0 <= seed < 2**31:
            raise Refused(400, "seed must be an integer from 0 to 2147483647")
        return self._events(self._decoded(wanted.get("image")), label, attack, float(epsilon), seed)

    def _events(self, images: tf.Tensor, label: int | None, attack: str, epsilon: float, seed: int) -> Iterator[dict]:
        """The attack, then a look at the search after more and more steps; the last is the defence's answer."""
        classifier = self._defense.classifier
        clean = classifier(images, training=False)
        target = tf.argmax(clean, axis=1) if label is None else tf.constant([label], tf.int64)
        attacked = ATTACKS[attack](classifier, images, target, bounds=self.bounds, epsilon=epsilon, seed=seed)
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

    def _choose_samples(self) -> list[tuple[np.ndarray, int | None]]:
        """Test images where the data is at hand and may be shown; else images that the generator makes, unlabelled."""
        name = self.servable.card["dataset"]
        if name == "digits" or (name == "mnist" and data.tfds.prepared("mnist")):
            test = data.load(name, "test").take(200)
            first = [np.flatnonzero(test.labels == c)[0] for c in range(10)]
            more = [i for i in range(len(test)) if i not in first][: _SAMPLES - len(first)]
            return [(test.images[i], int(test.labels[i])) for i in [*first, *more]]
        generator = self._defense.projector.generator
        stddev = getattr(getattr(self._defense.projector, "start", None), "stddev", 1.0)
        shape = [_SAMPLES, generator.input_shape[1]]
        made = generator(tf.random.stateless_normal(shape, [0, 0], stddev=stddev), training=False)
        return [(image, None) for image in np.clip(made.numpy(), *self.bounds)]

    def _encoded(self, image: np.ndarray | tf.Tensor) -> str:
        low, high = self.bounds
        bytes_ = np.clip(np.rint((np.asarray(image) - low) * (255 / (high - low))), 0, 255).astype(np.uint8)
        return base64.b64encode(bytes_.tobytes()).decode()

    def _decoded(self, image: Any) -> tf.Tensor:
        shape = self.servable.image_shape
        size = int(np.prod(shape))
        try:
            pixels = base64.b64decode(image, validate=True) if isinstance(image, str) else b""
        except (binascii.Error, ValueError):
            pixels = b""
        if len(pixels) != size:
            raise Refused(400, f"image must be base64 of {size} bytes, {list(shape)} from 0 to 255")
        values = np.frombuffer(pixels, np.uint8).reshape(1, *shape)
        return export.scaled(tf.constant(values), self.bounds)


def searches(defense: InvertAndClassify) -> dict[int | None, InvertAndClassify]:
    """The defence with its search cut off after each of `LOOKS`, and whole; by number of steps, None where it has none.

    Each starts from where the whole one does, so they are looks at one search.
    """
    projector = defense.projector
    if not isinstance(projector, LatentProjector):
        return {None: defense}
    solver: Any = projector.solver
    field = next(name for name in ("steps", "max_steps") if hasattr(solver, name))
    last = getattr(solver, field)

    def cut(steps: int) -> InvertAndClassify:
        shorter = LatentProjector(projector.generator, dataclasses.replace(solver, **{field: steps}), projector.start)
        return InvertAndClassify(defense.classifier, shorter, defense.threshold, defense.bounds)

    return {**{steps: cut(steps) for steps in LOOKS if steps < last}, last: defense}


def _probabilities(logits: tf.Tensor) -> list[float]:
    return [round(float(p), 6) for p in tf.nn.softmax(logits[0])]
