"""What has a name: the named defences, each declared once, and what they are made of on each data set.

The command line, the server's models, the tables and a notebook all get their defences here, so that one name is one
defence everywhere. A full name is that of a data set and of a defence, e.g. `mnist-inc-fast`; the data set's name alone
stands for the defence that its declaration calls the default.
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
"""Values of an image up to which the least-squares solver is the faster one, as on 32×32 colour images."""


@dataclass(frozen=True)
class Parts:
    """What defences are made of: models by the part that each plays, and what is known of their images.

    Attributes:
      models: `"classifier"`, C; `"generative"`, a model with a `generator` G, an `encoder` E of its codes where there
        is one, and a `latent_stddev`, σ of the codes that it was trained on, where that is not 1; and others by name.
      bounds: (lowest, highest) value of a pixel.
      class_names: by label; None: the labels' numbers.
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
        """E, from images to the generator's codes, where there is one: BEGAN's is of its decoder's."""
        from inc_tf.models.celeba import BEGAN

        model = self.models.get("generative")
        return None if isinstance(model, BEGAN) else getattr(model, "encoder", None)

    @property
    def latent_stddev(self) -> float:
        """σ of the generator's codes."""
        return getattr(self.models["generative"], "latent_stddev", 1.0)


@dataclass(frozen=True)
class GenerativeModel:
    """A generator of one's own, with what goes with it.

    Attributes:
      generator: G, codes [N, k] → images.
      encoder: E, images → the codes of G, where there is one.
      latent_stddev: σ of the codes that G was trained on.
    """

    generator: keras.Model
    encoder: keras.Model | None = None
    latent_stddev: float = 1.0


@dataclass(frozen=True)
class NamedDefense:
    """The declaration of a defence.

    Attributes:
      name: in full names, options, records and file names.
      label: in tables and plots.
      build: its parts ↦ the defence: an `InvertAndClassify`, or a classifier alone.
      parts: the parts that `build` takes; where a data set has no checkpoint for one, it has no such defence.
      suits: whether a data set can have it beyond that.
      color: in every plot, as matplotlib names colours.
    """

    name: str
    label: str
    build: Callable[[Parts], keras.Model]
    parts: tuple[str, ...] = ("classifier", "generative")
    suits: Callable[[data.Source], bool] = lambda source: True
    color: str = "C9"


DEFENSES: Registry[NamedDefense] = Registry("defence")


def register(defense: NamedDefense) -> NamedDefense:
    """Declare a defence; whatever goes by its name knows it from then on."""
    return DEFENSES.add(defense.name, defense)


def inverting(parts: Parts, solver: Solver, start: Start) -> InvertAndClassify:
    """C behind the search of `solver` from `start` on G."""
    from inc_tf.projection import LatentProjector

    return behind(parts, LatentProjector(parts.generator, solver, start))


def paper_search(parts: Parts) -> tuple[Solver, Start]:
    """Algorithm 1 as the paper runs it: 2,000 steps of Adam from one draw of the generator's own codes."""
    from inc_tf.projection import Adam, Normal

    return Adam(learning_rate(parts.generator)), Normal(stddev=parts.latent_stddev)


def learning_rate(generator: keras.Model) -> float:
    """Adam's on a generator: the paper's 0.1 for MNIST on images of that size, its 0.01 for CelebA on larger ones."""
    return 0.1 if _is_small(generator) else 0.01


def fast_search(parts: Parts) -> tuple[Solver, Start]:
    """The fast search that is best on the generator: least squares on small images, L-BFGS on larger ones.

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
    """The paper's search of fewer steps."""

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
    """C behind the input transformation of that class, with its own defaults."""

    def build(parts: Parts) -> keras.Model:
        from inc_tf.projection import transformations

        return behind(parts, getattr(transformations, kind)(bounds=parts.bounds))

    return build


def _defense_gan(parts: Parts) -> keras.Model:
    """As its code for MNIST has it: 200 steps from ten draws of N(0, 1/k)."""
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
    """Whether the skip network makes images of this size."""
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
    """A full name, understood."""

    source: data.Source
    defense: NamedDefense

    @property
    def full(self) -> str:
        """As one word."""
        return f"{self.source.name}-{self.defense.name}"


def names() -> list[str]:
    """The full names of the defences whose checkpoints ship, each data set's default first."""
    found = []
    for source in data.SOURCES.values():
        shipped = [d.name for d in DEFENSES.values() if d.suits(source) and set(d.parts) <= source.checkpoints.keys()]
        found += [f"{source.name}-{name}" for name in sorted(shipped, key=lambda n: n != source.default_defense)]
    return found


def understand(name: str) -> Name:
    """What a full name says. Raises `InputError` for one that says nothing."""
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
      wanted: parts, of `source.checkpoints`.
      classifier: C instead of the checkpoint: a `.keras` file, or a network of `keras.applications`.
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
                + ("; name one with a classifier." if part == "classifier" else ".")
            )
        models[part] = checkpoints.load(source.checkpoints[part])
    classes = models["classifier"].output_shape[-1] if "classifier" in models else None
    names = source.class_names if classes in (None, len(source.class_names)) else None  # another classifier's classes
    return Parts(models, source.bounds, names)


def load(
    name: str, *, steps: int | None = None, threshold: float | None = None, classifier: str | None = None
) -> keras.Model:
    """The defence of this name, with its η; or the model of a checkpoint.

    Args:
      name: a full name, e.g. `"mnist-inc-fast"` or `"celeb_a-inc"`; a data set's name, for its default; or a
        checkpoint's, e.g. `"mnist-vae"`. What is both, as `"mnist-diffusion"`, is the defence.
      steps: the most that the search takes; None: as many as the defence has.
      threshold: η; None: what the defence was calibrated to, which rejects 5 % of clean validation images, and
        nothing where it has not been.
      classifier: C instead of the data set's checkpoint: a `.keras` file, or a network of `keras.applications`.

    Returns: an `InvertAndClassify`; of an `undefended` or adversarially trained one, the classifier alone. Raises
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
            raise InputError(f"{name!r} projects nothing, so that a threshold of {threshold:g} has no meaning.")
        defense.threshold = threshold
    return defense


def projecting(model: keras.Model, name: str) -> InvertAndClassify:
    """The model, for what needs its projections; raises `InputError`, which calls it `name`, where it has none."""
    from inc_tf.defense import InvertAndClassify

    if not isinstance(model, InvertAndClassify):
        raise InputError(f"{name!r} is a {type(model).__name__}; it must be a defence that projects.")
    return model


def build(name: str, parts: Parts) -> keras.Model:
    """The defence `name` of `DEFENSES`, of these parts, with no threshold."""
    return DEFENSES[name].build(parts)


def _limited(defense: keras.Model, steps: int) -> keras.Model:
    """The defence with a search of at most so many steps."""
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
    """η of a defence, from the card of the checkpoint that it projects with; None where it has not been calibrated."""
    if "generative" not in named.parts:
        return None
    entry = checkpoints.card(source.checkpoints["generative"]).get("thresholds", {}).get(named.name)
    return None if entry is None else entry["value"]


def calibrate(name: str, *, rate: float = FALSE_REJECTION_RATE, n: int = _CALIBRATION_IMAGES) -> float:
    """Set η of the defence `name` from clean validation images, and keep it in the card of its generative checkpoint.

    Args:
      name: a full name.
      rate: the share of them that may be rejected, in [0, 1).
      n: the first n images.

    Returns: η. Raises `InputError` where `load` does, for a defence that projects onto no checkpoint, and where the
    validation images cannot be had.
    """
    from inc_tf.defense import threshold_at
    from inc_tf.saving import configuration

    source, named = understand(name)
    if "generative" not in named.parts:
        raise InputError(f"{name!r} projects onto no checkpoint whose card could keep its threshold.")
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
