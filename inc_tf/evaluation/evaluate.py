"""A user's own defence under every attack that is declared: `inc.evaluate`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from inc_tf import data, zoo
from inc_tf.attacks.checks import check_inputs, check_number
from inc_tf.checkpoints import sha256
from inc_tf.checks import check_count
from inc_tf.evaluation import page
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run
from inc_tf.evaluation.units import Bench
from inc_tf.fit import fitted_classifier, fitted_encoder, fitted_generator
from inc_tf.projection.solvers import SOLVERS
from inc_tf.saving import load_file

if TYPE_CHECKING:
    import matplotlib.pyplot as plt

OWN = "defense"
"""The name of the defence that is evaluated, in tables and records."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
      record: every figure with its interval; see `Record`.
    """

    record: Record

    @property
    def table(self) -> str:
        """In Markdown: a row for each attack and ε, a column for each defence; then claims and checks."""
        return page.table(self.record)

    def __str__(self) -> str:
        return self.table

    def plot(self) -> plt.Figure:
        """The worst case of each defence against ε."""
        return page.draw(self.record)


def evaluate(
    defense: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    encoder: keras.Model | None = None,
    epsilons: float | Sequence[float] = (),
    searched: int = 10,
    settings: dict[str, dict] | None = None,
    thorough: bool = False,
    seed: int = 0,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Run every declared attack on a defence, and measure its accuracy under each.

    Args:
      defense: an `InvertAndClassify`, or a classifier alone, from images to logits.
      images: clean test images, float32 [N, H, W, C] within the defence's bounds ([0, 1] for a classifier alone).
      labels: the true classes, integers [N].
      encoder: E, from images to the generator's codes, if there is one that the defence does not hold.
      epsilons: ε of the ℓ∞ balls, in the images' own units, or one; none: 0.1, 0.2 and 0.3 of the bounds' width.
      searched: on how many images to run the attacks that query a search; each image takes minutes on a slow search.
      settings: arguments of attacks by name, e.g. ``{"square": {"queries": 2000}}``.
      thorough: whether attacks on the defence's own search take all their declared steps and queries, which takes hours
        for the paper's search; if not, they keep to `page.SHORT`.
      seed: seed of the attacks and the search's starts.
      out: folder for finished work, from which the same call resumes after a kill; None: a temporary folder.
      quiet: whether to show no progress bars.

    Returns: the record, with a table and a plot; for a search on a generator, it also has the fast search on the same
    generator. Raises `InputError` for images, labels and a defence that do not fit one another.
    """
    check_count(searched=searched)
    given_epsilons = epsilons if isinstance(epsilons, Iterable) else [epsilons]
    epsilons = [check_number(epsilon=epsilon) for epsilon in given_epsilons]
    bounds = getattr(defense, "bounds", (0.0, 1.0))
    given = data.Dataset("evaluate", "", np.asarray(images), np.asarray(labels), bounds)
    parts = _parts(defense, encoder, bounds)
    check_inputs(parts["classifier"], given.images, given.labels, bounds)
    slow = () if thorough else (OWN,)
    spend = page.budget(bounds, given.images.shape[1:], searched, epsilons, settings=settings or {}, slow=slow)
    with TemporaryDirectory() as scratch:
        options = Options("evaluate", "inc.evaluate(…)", seed=seed, out=Path(out or scratch), quiet=quiet)
        bench = Bench(parts, seed, made={OWN: defense})
        run = Run(options, given, bench, checkpoints={OWN: bench.digest(OWN)}, quick=False)
        page.page(run, spend, _cast(defense, parts))
        return Evaluation(run.record)


def _parts(defense: keras.Model, encoder: keras.Model | None, bounds: data.Bounds) -> zoo.Parts:
    models: dict[str, Any] = {"classifier": getattr(defense, "classifier", defense)}
    projector = getattr(defense, "projector", None)
    generator = getattr(projector, "generator", None)
    if generator is not None:
        start = getattr(projector, "start", None)
        known = encoder or getattr(projector, "encoder", None) or getattr(start, "encoder", None)
        models["generative"] = zoo.GenerativeModel(generator, known, getattr(start, "stddev", 1.0))
    return zoo.Parts(models, bounds, getattr(defense, "class_names", None))


def _cast(defense: keras.Model, parts: zoo.Parts) -> page.Cast:
    if not hasattr(defense, "projector"):
        return page.Cast((), (OWN,), OWN)
    if "generative" not in parts.models:
        return page.Cast((OWN,), ("undefended",), OWN)
    controls = ("undefended", *(("autoencode",) if parts.encoder is not None else ()))
    if not hasattr(defense.projector, "solver"):
        return page.Cast((), (OWN, "undefended"), OWN)
    return page.Cast((OWN, "inc-fast"), controls)


def evaluate_files(
    options: Options,
    classifier: Path,
    generator: Path,
    encoder: Path | None,
    images: data.Dataset,
    *,
    searched: int,
    epsilons: Sequence[float],
    thorough: bool = False,
    solver: str | None = None,
) -> None:
    """Evaluate a classifier C behind a projection onto a generator G, with the paper's search and the fast one.

    Args:
      options: how to run; `options.n` is the largest number of images.
      classifier: a `.keras` file, images → logits.
      generator: a `.keras` file, codes → images.
      encoder: a `.keras` file, images → codes; None if there is none.
      images: the images, with their labels.
      searched: as `evaluate` takes it.
      epsilons: as `evaluate` takes them.
      thorough: as `evaluate` takes it.
      solver: the fast search's, a name in `SOLVERS`; None: the one that is best for images of this size.

    Raises `InputError` for files that cannot be loaded and models that do not fit one another or the images.
    """
    files = {"classifier": classifier, "generator": generator, **({"encoder": encoder} if encoder else {})}
    loaded = {part: load_file(path) for part, path in files.items()}
    taken = images.take(min(options.n, len(images)))
    generated = fitted_generator(loaded["generator"])
    fitted = fitted_classifier(loaded["classifier"], generated.output_shape[1:])
    inverse = fitted_encoder(loaded["encoder"], generated) if encoder else None
    parts = zoo.Parts({"classifier": fitted, "generative": zoo.GenerativeModel(generated, inverse)}, images.bounds)
    check_inputs(fitted, taken.images, taken.labels, taken.bounds)
    hashes = {path.stem: sha256(path) for path in files.values()}
    bench = Bench(parts, options.seed)
    if solver is not None:
        bench.made["inc-fast"] = zoo.inverting(parts, SOLVERS[solver](), zoo.fast_search(parts)[1])
    run = Run(options, taken, bench, checkpoints=hashes, quick=len(taken) < len(images))
    controls = ("undefended", *(("autoencode",) if encoder else ()))
    slow = () if thorough else ("inc",)
    spend = page.budget(taken.bounds, taken.images.shape[1:], searched, epsilons, slow=slow)
    page.page(run, spend, page.Cast(("inc", "inc-fast"), controls))
    run.finish(page.table(run.record), page.draw)
