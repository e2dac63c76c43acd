"""The named defences, each declared once, and the checkpoints that they are made of on each data set.

The command line, the server's models, the tables and a notebook all get their defences here, so that one name is one
defence everywhere. A full name joins the names of a data set and a defence, e.g. `mnist-inc-fast`; the data set's name
alone stands for the defence that its declaration calls the default.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from inc_tf import checkpoints, data
from inc_tf.errors import InputError
from inc_tf.registry import Registry, suggestion

if TYPE_CHECKING:
    import keras

    from inc_tf.defense import InvertAndClassify
    from inc_tf.projection.solvers.protocol import Solver
    from inc_tf.projection.starts import Start

FALSE_REJECTION_RATE = 0.05
"""The share of clean validation images that a calibrated defence rejects."""

_CALIBRATION_IMAGES = 200
_SMALL = 3072
"""The least-squares solver is the faster one on images of at most this many values, e.g. 32×32 colour images."""


@dataclass(frozen=True)
class Parts:
    """What defences are made of: models by the part that each plays, and facts about their images.

    Attributes:
      models: `"classifier"`, C; `"generative"`, a model with a `generator` G, optionally an `encoder` E of its codes,
        and a `latent_stddev`, σ of the codes that it was trained on, if that is not 1; and others by name.
      bounds: (lowest, highest) value of a pixel.
      class_names: the name of each label; None: the labels' numbers.
    """

    models: Mapping[str, Any]
    bounds: data.Bounds
    class_names: tuple[str, ...] | None = None

    def __getitem__(self, part: str) -> Any:
        return self.models[part]

    @property
    def generator(self) -> keras.Model:
        """G."""
        return self.models["generative"].generator

    @property
    def encoder(self) -> keras.Model | None:
        """E, from images to the generator's codes, or None; BEGAN's gives codes of its decoder instead."""
        from inc_tf.models.celeba import BEGAN

        model = self.models.get("generative")
        return None if isinstance(model, BEGAN) else getattr(model, "encoder", None)

    @property
    def latent_stddev(self) -> float:
        """σ of the generator's codes."""
        return getattr(self.models["generative"], "latent_stddev", 1.0)


@dataclass(frozen=True)
class GenerativeModel:
    """A generator of your own, with its encoder and the spread of its codes.

    Attributes:
      generator: G, codes [N, k] → images.
      encoder: E, images → codes of G; None if there is none.
      latent_stddev: σ of the codes that G was trained on.
    """

    generator: keras.Model
    encoder: keras.Model | None = None
    latent_stddev: float = 1.0


@dataclass(frozen=True)
class NamedDefense:
    """The declaration of a defence.

    Attributes:
      name: its name in full names, options, records and file names.
      label: its name in tables and plots.
      build: maps its parts to the defence: an `InvertAndClassify`, or a classifier alone.
      parts: the parts that `build` takes; a data set without a checkpoint for one of them does not have the defence.
      suits: whether a data set that has these checkpoints can have the defence.
      color: its colour in every plot, a name that matplotlib knows.
    """

    name: str
    label: str
    build: Callable[[Parts], keras.Model]
    parts: tuple[str, ...] = ("classifier", "generative")
    suits: Callable[[data.Source], bool] = lambda source: True
    color: str = "C9"


DEFENSES: Registry[NamedDefense] = Registry("defence")


def register(defense: NamedDefense) -> NamedDefense:
    """Declare a defence, so that it can be looked up by its name."""
    return DEFENSES.add(defense.name, defense)


def inverting(parts: Parts, solver: Solver, start: Start) -> InvertAndClassify:
    """C behind a projection onto the range of G, which `solver` searches from `start`."""
    from inc_tf.projection import LatentProjector

    return behind(parts, LatentProjector(parts.generator, solver, start))


def paper_search(parts: Parts) -> tuple[Solver, Start]:
    """Algorithm 1 as the paper runs it: 2,000 steps of Adam from one draw of the generator's own codes."""
    from inc_tf.projection import Adam, Normal

    return Adam(learning_rate(parts.generator)), Normal(stddev=parts.latent_stddev)


def learning_rate(generator: keras.Model) -> float:
    """Adam's learning rate: 0.1 on small images and 0.01 on larger ones, the paper's for MNIST and CelebA."""
    return 0.1 if _is_small(generator) else 0.01


def fast_search(parts: Parts) -> tuple[Solver, Start]:
    """The fast search that suits the generator best: least squares on small images, L-BFGS on larger ones.

    Each starts from the closest of 4,096 random codes.
    """
    from inc_tf.projection import LBFGS, LevenbergMarquardt, Nearest

    solver = LevenbergMarquardt() if _is_small(parts.generator) else LBFGS()
    return solver, Nearest(stddev=parts.latent_stddev)


def _is_small(generator: keras.Model) -> bool:
    return math.prod(generator.output_shape[1:]) <= _SMALL


def behind(parts: Parts, projector: keras.Layer) -> InvertAndClassify:
    """C behind a projector."""
    from inc_tf.defense import InvertAndClassify

    return InvertAndClassify(parts["classifier"], projector, bounds=parts.bounds, class_names=parts.class_names)


def _shorter(steps: int) -> Callable[[Parts], keras.Model]:
    """The paper's search, with fewer steps."""

    def build(parts: Parts) -> keras.Model:
        solver, start = paper_search(parts)
        return inverting(parts, dataclasses.replace(solver, steps=steps), start)  # type: ignore[type-var]

    return build


def _lbfgs(parts: Parts) -> keras.Model:
    from inc_tf.projection import LBFGS, Nearest

    return inverting(parts, LBFGS(), Nearest(stddev=parts.latent_stddev))


def _autoencode(parts: Parts) -> keras.Model:
    from inc_tf.projection import EncoderProjector

    if parts.encoder is None:
        raise InputError("Autoencode-and-Classify needs an encoder of the generator's codes; this generator has none.")
    return behind(parts, EncoderProjector(parts.encoder, parts.generator))


def _deep_image_prior(parts: Parts) -> keras.Model:
    from inc_tf.models.skip import skip_network
    from inc_tf.projection import DeepImagePrior

    return behind(parts, DeepImagePrior(skip_network(parts["classifier"].input_shape[1:])))


def _transformed(kind: str) -> Callable[[Parts], keras.Model]:
    """C behind the input transformation of the class `kind`, with its defaults."""

    def build(parts: Parts) -> keras.Model:
        from inc_tf.projection import transformations

        return behind(parts, getattr(transformations, kind)(bounds=parts.bounds))

    return build


def _defense_gan(parts: Parts) -> keras.Model:
    """The defence of Defense-GAN's code for MNIST: 200 steps from each of ten draws of N(0, 1/k)."""
    from inc_tf.projection import LatentProjector, Momentum, Normal

    generator = parts["wgan"].generator
    start = Normal(restarts=10, stddev=generator.input_shape[1] ** -0.5)
    return behind(parts, LatentProjector(generator, Momentum(), start))


def _diffusion(parts: Parts) -> keras.Model:
    from inc_tf.projection import DiffusionProjector

    return behind(parts, DiffusionProjector(parts["denoiser"], bounds=parts.bounds))


def _smoothed(parts: Parts) -> keras.Model:
    from inc_tf.smoothing import SmoothedClassifier

    return SmoothedClassifier(parts["noise-trained"], bounds=parts.bounds)


def _divisible(source: data.Source) -> bool:
    """Whether the skip network can make images of the data set's size."""
    return all(side % 32 == 0 for side in source.image_shape[:2])


for _declared in (
    NamedDefense("undefended", "undefended", lambda parts: parts["classifier"], ("classifier",), color="C7"),
    NamedDefense("autoencode", "Autoencode-and-Classify", _autoencode, suits=lambda source: source.encodes, color="C2"),
    NamedDefense(
        "manifold-trained", "trained against pairs", lambda p: p["manifold-trained"], ("manifold-trained",), color="C4"
    ),
    NamedDefense("pgd-trained", "trained against PGD", lambda p: p["pgd-trained"], ("pgd-trained",), color="C5"),
    NamedDefense("inc", "INC, the paper's search", lambda parts: inverting(parts, *paper_search(parts)), color="C0"),
    NamedDefense("inc-fast", "INC, fast search", lambda parts: inverting(parts, *fast_search(parts)), color="C1"),
    NamedDefense("inc-lbfgs", "INC, L-BFGS", _lbfgs, color="C3"),
    NamedDefense("inc-500", "INC, 500 steps", _shorter(500), color="C8"),
    NamedDefense("inc-100", "INC, 100 steps", _shorter(100), color="C6"),
    NamedDefense("jpeg", "JPEG", _transformed("JPEG"), ("classifier",), color="gold"),
    NamedDefense("bit-depth", "bit depth", _transformed("BitDepth"), ("classifier",), color="darkkhaki"),
    NamedDefense("median", "median", _transformed("Median"), ("classifier",), color="hotpink"),
    NamedDefense(
        "total-variation", "total variation", _transformed("TotalVariation"), ("classifier",), color="deepskyblue"
    ),
    NamedDefense("defense-gan", "Defense-GAN", _defense_gan, ("classifier", "wgan"), color="navy"),
    NamedDefense("diffusion", "diffusion", _diffusion, ("classifier", "denoiser"), color="magenta"),
    NamedDefense("smoothed", "randomised smoothing", _smoothed, ("noise-trained",), color="black"),
    NamedDefense("dip", "deep image prior", _deep_image_prior, ("classifier",), suits=_divisible, color="C0"),
):
    register(_declared)


class Name(NamedTuple):
    """The data set and the defence that a full name stands for."""

    source: data.Source
    defense: NamedDefense

    @property
    def full(self) -> str:
        """The full name, one word."""
        return f"{self.source.name}-{self.defense.name}"


def names() -> list[str]:
    """The full names of the defences whose checkpoints ship; of each data set, its default comes first."""
    found = []
    for source in data.SOURCES.values():
        shipped = [d.name for d in DEFENSES.values() if d.suits(source) and set(d.parts) <= source.checkpoints.keys()]
        found += [f"{source.name}-{name}" for name in sorted(shipped, key=lambda n: n != source.default_defense)]
    return found


def understand(name: str) -> Name:
    """The data set and the defence of a full name. Raises `InputError` for an unknown name."""
    for source in data.SOURCES.values():
        if name == source.name:
            return Name(source, DEFENSES[source.default_defense])
        known = name.removeprefix(f"{source.name}-")
        if known != name and known in DEFENSES:
            return Name(source, DEFENSES[known])
    raise InputError(
        f"There is no defence {name!r}; there are {', '.join(names())}, or a data set's name for its default."
        + suggestion(name, [*data.SOURCES, *names()])
    )


def parts(source: data.Source, wanted: tuple[str, ...], classifier: str | None = None) -> Parts:
    """The parts of a data set's defences: its checkpoints that play `wanted`.

    Args:
      source: the data set.
      wanted: names of parts in `source.checkpoints`.
      classifier: replaces the checkpoint of C: a `.keras` file, or a network of `keras.applications`.
    """
    models = {}
    for part in wanted:
        if part == "classifier" and classifier is not None:
            from inc_tf.models import imagenet

            models[part] = imagenet.load_classifier(classifier)
            continue
        if part not in source.checkpoints:
            raise InputError(
                f"{source.title or source.name} has no checkpoint for the part {part!r}"
                + ("; pass one as `classifier` (--classifier)." if part == "classifier" else ".")
            )
        models[part] = checkpoints.load(source.checkpoints[part])
    classes = models["classifier"].output_shape[-1] if "classifier" in models else None
    names = source.class_names if classes in (None, len(source.class_names)) else None  # another classifier's classes
    return Parts(models, source.bounds, names)


def load(
    name: str, *, steps: int | None = None, threshold: float | None = None, classifier: str | None = None
) -> keras.Model:
    """Load the defence of this name, with its η, or the model of a checkpoint.

    Args:
      name: a full name, e.g. `"mnist-inc-fast"` or `"celeb_a-inc"`; a data set's name, for its default; or a
        checkpoint's, e.g. `"mnist-vae"`. A name of both, such as `"mnist-diffusion"`, means the defence.
      steps: the largest number of search steps; None: the defence's own.
      threshold: η; None: the one that the defence was calibrated to, which rejects 5 % of clean validation images; an
        uncalibrated defence rejects nothing.
      classifier: replaces the data set's checkpoint of C: a `.keras` file, or a network of `keras.applications`.

    Returns: an `InvertAndClassify`; for an `undefended` or adversarially trained defence, the classifier alone. Raises
    `InputError` for an unknown name, steps or η not above 0, a search that cannot be shortened, and a checkpoint that
    is missing or altered.
    """
    if name in checkpoints.names() and name not in names():
        return checkpoints.load(name)
    source, named = understand(name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Of the values of G")  # what is known of BEGAN's, which ship
        defense = build(named.name, parts(source, named.parts, classifier))
        if steps is not None:
            defense = _limited(defense, steps)
    if threshold is None:
        threshold = calibrated(source, named)  # of the whole search: one that is cut short rejects more
    if threshold is not None:
        if not hasattr(defense, "projector"):
            raise InputError(f"{name!r} does not project, so a threshold of {threshold:g} has no meaning.")
        defense.threshold = threshold
    return defense


def projecting(model: keras.Model, name: str) -> InvertAndClassify:
    """The model, if it projects; otherwise raises `InputError`, which calls it `name`."""
    from inc_tf.defense import InvertAndClassify

    if not isinstance(model, InvertAndClassify):
        raise InputError(f"{name!r} is a {type(model).__name__}; it must be a defence that projects.")
    return model


def build(name: str, parts: Parts) -> keras.Model:
    """The defence `name` of `DEFENSES`, made of these parts, with no threshold."""
    return DEFENSES[name].build(parts)


def _limited(defense: keras.Model, steps: int) -> keras.Model:
    """The defence with a search of at most `steps` steps."""
    projector: Any = getattr(defense, "projector", None)
    if steps < 1:
        raise InputError(f"steps is {steps}; it must be at least 1.")
    if hasattr(projector, "with_steps"):
        shorter = projector.with_steps(steps)
    elif hasattr(projector, "steps"):
        shorter = type(projector).from_config({**projector.get_config(), "steps": steps})
    else:
        raise InputError(f"steps is {steps}, but this defence has no search.")
    return type(defense)(
        defense.classifier, shorter, defense.threshold, bounds=defense.bounds, class_names=defense.class_names
    )


def calibrated(source: data.Source, named: NamedDefense) -> float | None:
    """η of a defence, from the card of the checkpoint that it projects with; None if it has not been calibrated."""
    if "generative" not in named.parts:
        return None
    entry = checkpoints.card(source.checkpoints["generative"]).get("thresholds", {}).get(named.name)
    return None if entry is None else entry["value"]


def calibrate(name: str, *, rate: float = FALSE_REJECTION_RATE, n: int = _CALIBRATION_IMAGES) -> float:
    """Set η of the defence `name` from clean validation images, and keep it in the card of its generative checkpoint.

    Args:
      name: a full name.
      rate: the share of these images that may be rejected, in [0, 1).
      n: how many images, from the first on.

    Returns: η. Raises `InputError` whenever `load` does, for another rate, for a defence that has no generator from a
    checkpoint, and if the validation images cannot be loaded.
    """
    from inc_tf.checks import as_rejection_rate
    from inc_tf.defense import threshold_at
    from inc_tf.saving import configuration

    rate = as_rejection_rate(rate)
    source, named = understand(name)
    if "generative" not in named.parts:
        raise InputError(f"{name!r} projects onto no checkpoint, so no card can keep its threshold.")
    defense = build(named.name, parts(source, named.parts))
    clean = data.load(source.name, "validation").take(n)
    value = threshold_at(defense.projector(clean.images).distances.numpy(), rate)
    checkpoint = source.checkpoints["generative"]
    entry = {
        "value": value,
        "false_rejection_rate": rate,
        "split": clean.split,
        "n": n,
        "seed": 0,
        "projector": configuration(defense.projector),
    }
    thresholds = checkpoints.card(checkpoint).get("thresholds", {})
    checkpoints.update_card(checkpoint, thresholds={**thresholds, named.name: entry})
    return value
