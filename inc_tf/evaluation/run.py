"""One run of an evaluation: its images, models, finished work and record, and the places of its results."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from inc_tf import checkpoints, data, zoo
from inc_tf.errors import InputError
from inc_tf.evaluation.cluster import Agreement
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.store import Arrays, Store
from inc_tf.evaluation.units import Bench, Blueprint, Cluster, Unit
from inc_tf.saving import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Options:
    """How a script is run.

    Attributes:
      name: the name of the script and of its results.
      command: the command line without defaults and places of results, for the record.
      dataset: a data set's name, or `"auto"`: MNIST, or the bundled digits if MNIST is not available.
      n: how many images, pairs, … to take, from the first on.
      full: whether to take as many as the paper instead.
      seed: seed of attacks and of the search's starts.
      out: the results folder.
      units: place of finished work, a folder or a URL that fsspec knows; None: `out`/units.
      ray: address of a Ray cluster to compute on; None: this process.
      quiet: whether to show no progress bars.
      as_json: whether to print the record rather than the table.
    """

    name: str
    command: str = ""
    dataset: str = "auto"
    n: int = 100
    full: bool = False
    seed: int = 0
    out: Path = Path("results")
    units: str | None = None
    ray: str | None = None
    quiet: bool = False
    as_json: bool = False


class Run:
    """Computes units of work on a bench, each once, and writes the results.

    Args:
      options: how.
      images: the run's own.
      bench: what units are computed on.
      blueprint: how another process makes the same bench; None: none can, so no cluster is used.
      checkpoints: the SHA-256 of each by name, for the record.
      quick: whether fewer images are taken than there are, for the record.
      papers: the data set that the paper has there; another one joins the results' names.
    """

    def __init__(
        self,
        options: Options,
        images: data.Dataset,
        bench: Bench,
        blueprint: Blueprint | None = None,
        *,
        checkpoints: dict[str, str],
        quick: bool,
        papers: str = "mnist",
    ):
        if options.out.exists() and not options.out.is_dir():
            raise InputError(f"{str(options.out)!r} is not a folder; --out must name a folder, which may be new.")
        self.options, self.images, self.bench, self.papers = options, images, bench, papers
        self.name, self.quiet, self.out = options.name, options.quiet, options.out
        self.store = Store(options.units or options.out / "units")
        self._blueprint = blueprint
        self._cluster = Cluster(options.ray) if options.ray and blueprint else None
        self.record = Record(
            artefact=options.name,
            command=options.command,
            dataset=images.name,
            quick=quick,
            seed=options.seed,
            checkpoints=checkpoints,
        )

    @property
    def source(self) -> data.Source | None:
        """The declaration of the data set, or None."""
        return data.SOURCES.get(self.images.name)

    @property
    def shared(self) -> bool:
        """Whether the run has a cluster."""
        return self._cluster is not None

    def answer(self, unit: Unit, **given: Any) -> Arrays:
        """The answer to a unit of work, computed here from `given` if it is not stored yet."""
        return self.cached(unit.key, lambda: unit.compute(self.bench, **given))

    def cached(self, key: dict, compute: Callable[[], Arrays]) -> Arrays:
        """The answer to `compute`, filed under `key`; see `Store`."""
        answer = self.store.get(key, compute)
        self.record.seconds = round(self.store.seconds, 1)
        return answer

    def ahead(
        self, units: Iterable[Unit], total: int, file: Callable[[Unit, Arrays, float], None] | None = None
    ) -> None:
        """Compute `total` units in advance on the cluster, if the run has one.

        `file` stores an answer, by default as it is. Raises `InputError` if some failed for good.
        """
        if self._cluster is None:
            return
        assert self._blueprint
        with tqdm(total=total, desc=f"{self.name} on Ray", unit="unit", disable=self.quiet) as bar:

            def missing() -> Iterable[Unit]:
                for unit in units:
                    if unit.key in self.store:
                        bar.update()
                    else:
                        yield unit

            def done(unit: Unit, arrays: Arrays, seconds: float) -> None:
                if file:
                    file(unit, arrays, seconds)
                else:
                    self.store.put(unit.key, arrays, seconds)
                bar.update()

            failed = self._cluster.compute(self._blueprint, missing(), done)
        if failed:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise InputError(
                f"{len(failed)} of {total} units failed for good, each several times ({reasons[:1000]}). The others "
                "are kept: the same command tries these again."
            )

    def finish(self, table: str, draw: Callable[[Record], Figure]) -> None:
        """Write the record, the table and the plot; print the table and their paths, or the record as JSON."""
        path = self.path(".json")
        self.record.write(path, self.store.computed_by)
        write_text(self.path(".md"), table + "\n")
        save(draw(self.record), self.path(""))
        if self.options.as_json:
            print(path.read_text(), end="")
            return
        print(f"{table}\n\n{path}\n{self.path('.md')}\n{self.path('.png')}")

    def path(self, suffix: str) -> Path:
        """The path of a result; a data set other than the paper's joins the name."""
        dataset = "" if self.record.dataset == self.papers else f"-{self.record.dataset}"
        return self.out / f"{self.name}{dataset}{suffix}"


def save(figure: Figure, path: Path) -> None:
    """Write a plot as `path`.png and as `path`.svg; the same plot is the same bytes."""
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=150, bbox_inches="tight")
    figure.savefig(path.with_name(f"{path.name}.svg"), bbox_inches="tight", metadata={"Date": None})


@dataclass(frozen=True)
class CheckpointParts:
    """Makes the parts of a data set's defences from these checkpoints, by the part that each plays."""

    dataset: str
    names: tuple[tuple[str, str], ...]

    def __call__(self) -> zoo.Parts:
        source = data.SOURCES[self.dataset]
        models = {part: checkpoints.load(name) for part, name in self.names}
        return zoo.Parts(models, source.bounds, source.class_names)


def experiment(
    options: Options,
    *parts: str,
    papers: str = "mnist",
    optional: tuple[str, ...] = (),
    generative: str = "generative",
) -> Run:
    """A run on a data set's test images, with the checkpoints that play `parts` in its defences.

    Args:
      options: how.
      parts: of `data.Source.checkpoints`.
      papers: the data set that the paper has there.
      optional: further parts, taken if they ship.
      generative: the part of the data set that plays `"generative"`.

    Raises `InputError` for a results folder that is a file, and if data or checkpoints are missing.
    """
    name = data.mnist_or_digits() if options.dataset == "auto" else options.dataset
    source = data.SOURCES[name]
    if options.dataset == "auto" and source.notice:
        warnings.warn(f"MNIST is not on disk and there is no network: {source.notice}", stacklevel=2)
    test = data.load(name, "test")
    images = test if options.full else test.take(options.n)
    known = {**source.checkpoints, "generative": source.checkpoints[generative]}
    taken = {part: known[part] for part in (*parts, *(p for p in optional if p in known))}
    made = CheckpointParts(name, tuple(taken.items()))
    hashes = {checkpoint: checkpoints.card(checkpoint)["sha256"] for checkpoint in taken.values()}
    run = Run(
        options,
        images,
        Bench(made(), options.seed),
        Blueprint(made, options.seed, Agreement.on(list(hashes))),
        checkpoints=hashes,
        quick=len(images) < len(test),
        papers=papers,
    )
    if source.notice:
        run.record.deviations.append(source.notice)
    return run
