"""All records on one Markdown page: what was measured, how, and how it differs from the paper.

The page is made from the records in a results folder and the tables and plots beside them; nothing is measured here. It
has no picture with an image from CelebA or ImageNet, since these may not be published.
"""

import html
import json
import os
from pathlib import Path
from typing import NamedTuple

from inc_tf import data
from inc_tf.errors import InputError
from inc_tf.evaluation.tables import markdown
from inc_tf.saving import write_text


class Artefact(NamedTuple):
    """A table or figure: its title, the data sets that it is made on, and the page of docs/ that discusses it."""

    title: str
    datasets: tuple[str, ...]
    page: str


_MNIST, _FACES, _PHOTOGRAPHS = ("mnist",), ("celeb_a",), ("imagenet2012",)
_BOTH = (*_FACES, *_MNIST)

ARTEFACTS = {
    "adaptive": Artefact("Beyond the paper: attacks that know the defence", _MNIST, "reproduction/adaptive.md"),
    "adaptive_generators": Artefact(
        "Beyond the paper: attacks that know the defence, other generators",
        _BOTH,
        "reproduction/adaptive.md#behind-other-generators",
    ),
    "arena": Artefact("Beyond the paper: today's purifiers side by side", _MNIST, "reproduction/arena.md"),
    "adaptive_dip": Artefact(
        "Beyond the paper: an attack that knows the deep image prior", _PHOTOGRAPHS, "reproduction/table_2.md"
    ),
    "figure_3": Artefact("Figure 3: FGSM, with and without INC", _MNIST, "reproduction/figure_3.md"),
    "figure_3_solvers": Artefact(
        "Beyond the paper: Figure 3 for each solver", _MNIST, "reproduction/figure_3.md#by-solver"
    ),
    "table_1": Artefact("Table 1: INC under every attack on the classifier", _BOTH, "reproduction/table_1.md"),
    "shortfall": Artefact(
        "Beyond the paper: why accuracy falls short at the largest ε", _FACES, "reproduction/shortfall.md"
    ),
    "began_training": Artefact(
        "Beyond the paper: accuracy and reconstruction error as BEGAN is trained",
        _FACES,
        "reproduction/began_training.md",
    ),
    "figure_4": Artefact(
        "Figure 4: images, attacked images and their projections", _BOTH, "reproduction/table_1.md#figure-4"
    ),
    "figure_5": Artefact("Figure 5: the substitute model", _BOTH, "reproduction/figure_5.md"),
    "section_4_2_3": Artefact("Section 4.2.3: the combined attack", _MNIST, "reproduction/section_4_2_3.md"),
    "section_4_3": Artefact(
        "Section 4.3: the overpowered attack, and training against it", _BOTH, "reproduction/section_4_3.md"
    ),
    "figure_6": Artefact("Figure 6: pairs that the attack finds", _BOTH, "reproduction/section_4_3.md"),
    "figure_7": Artefact(
        "Figure 7: training against the attack", _BOTH, "reproduction/section_4_3.md#figures-7-8-and-9"
    ),
    "figure_8": Artefact("Figure 8: how the attack converges", _BOTH, "reproduction/section_4_3.md#figures-7-8-and-9"),
    "figure_9": Artefact(
        "Figure 9: the same pairs after training", _BOTH, "reproduction/section_4_3.md#figures-7-8-and-9"
    ),
    "table_2": Artefact("Table 2: the deep image prior", _PHOTOGRAPHS, "reproduction/table_2.md"),
    "figure_10": Artefact("Figure 10: photographs and their reconstructions", _PHOTOGRAPHS, "reproduction/table_2.md"),
    "figure_12": Artefact("Figure 12: Autoencode-and-Classify", _MNIST, "reproduction/autoencode.md"),
    "figure_13": Artefact(
        "Figure 13: what an autoencoder makes of attacked images",
        _MNIST,
        "reproduction/autoencode.md#figure-13-what-misleads-the-autoencoder",
    ),
    "figure_14": Artefact(
        "Figure 14: two latent dimensions", _MNIST, "reproduction/autoencode.md#figure-14-two-latent-dimensions"
    ),
    "figure_15": Artefact(
        "Figure 15: detecting attacks by distance", _MNIST, "reproduction/autoencode.md#figure-15-detection-by-distance"
    ),
    "rejection": Artefact("Beyond the paper: rejection, scored", _MNIST, "reproduction/rejection.md"),
}
"""The adaptive attacks first, then the paper's order with what extends it."""

_SHOWS_IMAGES = ("figure_4", "figure_10")


def write(results: Path, out: Path) -> Path:
    """Write the page of the records in the folder `results` to `out`, in Markdown; returns its path.

    It links to the plots in place. Raises `InputError` for a folder without records, or with a record that cannot be
    read or whose table is missing.
    """
    write_text(out, page(results, out.parent))
    return out


def page(results: Path, folder: Path) -> str:
    """The page as Markdown, for a file in `folder`."""
    records = _records(results)
    parts = [
        "# Results\n\nDrawn from the records by `inc report`. Shares have 95 % intervals; what the paper has is in "
        "square brackets or in the column of that name.",
        _overview(records),
    ]
    parts += [_section(path, record, folder) for path, record in records]
    return "\n\n".join(parts) + "\n"


def _records(results: Path) -> list[tuple[Path, dict]]:
    """The records of a folder, in the order of `ARTEFACTS`, with unknown artefacts last."""
    records = []
    for path in sorted(results.glob("*.json")):
        try:
            record = json.loads(path.read_text())
            order = [*ARTEFACTS, record["artefact"]].index(record["artefact"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InputError(f"{str(path)!r} is not a record that `inc reproduce` wrote.") from error
        if not path.with_suffix(".md").is_file():
            raise InputError(f"{str(path)!r} has no table beside it; {record['command']!r} writes both again.")
        records.append((order, path, record))
    if not records:
        raise InputError(f"{str(results)!r} holds no records; `inc reproduce … --out` writes them.")
    return [(path, record) for _, path, record in sorted(records, key=lambda found: (found[0], found[1].stem))]


def _overview(records: list[tuple[Path, dict]]) -> str:
    """A row for each record, and one for what has none."""
    rows = []
    seen = {(record["artefact"], record["dataset"]) for _, record in records}
    for path, record in records:
        title = f"[{_title(path, record)}](#{path.stem})"
        rows.append([title, _sizes(record), _time(record["seconds"])])
    for name, artefact in ARTEFACTS.items():
        missing = [dataset for dataset in artefact.datasets if (name, dataset) not in seen]
        shown = [dataset for dataset in missing if _may_be_shown(name, dataset)]
        rows += [[f"{artefact.title}, {_dataset(dataset)}", "no record yet", ""] for dataset in shown]
    return markdown(rows, ["", "n", "computed in"])


def _section(path: Path, record: dict, folder: Path) -> str:
    weights = ", ".join(f"{name} (`{sha[:12]}`)" for name, sha in record["checkpoints"].items())
    facts = [
        f"`{record['command']}`",
        f"n = {_sizes(record)}, seed {record['seed']}, {_time(record['seconds'])} on {record['device']}, "
        f"commit `{record['commit'][:12]}`",
        f"checkpoints: {weights}" if weights else "",
    ]
    title = _title(path, record)
    parts = [f'<a id="{path.stem}"></a>\n\n## {title}', "  \n".join(filter(None, facts))]
    plot = path.with_suffix(".png")
    if plot.is_file() and _may_be_shown(record["artefact"], record["dataset"]):
        parts.append(f"![{title}]({_relative(plot, folder)})")
    parts.append(path.with_suffix(".md").read_text().strip())
    differences = list(record["deviations"])
    known = ARTEFACTS.get(record["artefact"])
    if known:
        parts.append(f"[What this means]({known.page})")
    parts.append("What differs from the paper:\n\n" + "\n".join(f"- {one}" for one in differences))
    parts.append(
        f"<details markdown=1>\n<summary>All {len(record['rows'])} figures: ours, interval, n, paper</summary>\n\n"
        f"{_all_rows(record)}\n\n</details>"
    )
    return "\n\n".join(parts)


def _all_rows(record: dict) -> str:
    rows = [
        [
            *(row[field] if row[field] is not None else "" for field in ("defense", "attack", "epsilon")),
            html.escape(row["metric"]),
            *("" if row[field] is None else f"{row[field]:.4g}" for field in ("value", "low", "high")),
            row["n"],
            "" if row["paper"] is None else f"{row['paper']:g}",
        ]
        for row in record["rows"]
    ]
    names = ["defence", "attack", "ε", "metric", "ours", "low", "high", "n", "paper"]
    return markdown(rows, names)


def _may_be_shown(artefact: str, dataset: str) -> bool:
    """Whether the plot may be published: one that shows a data set's images may be only if these may."""
    source = data.SOURCES.get(dataset)
    return artefact not in _SHOWS_IMAGES or (source is not None and source.shareable)


def _title(path: Path, record: dict) -> str:
    """The artefact's, its data set, and what the record's name has beyond these: `64 channels` of Table 2's second."""
    known = ARTEFACTS.get(record["artefact"])
    variant = path.stem.removeprefix(record["artefact"]).removesuffix(f"-{record['dataset']}").strip("-")
    titles = [known.title if known else record["artefact"], variant.replace("-", " "), _dataset(record["dataset"])]
    return ", ".join(filter(None, titles))


def _dataset(name: str) -> str:
    """A data set's title."""
    source = data.SOURCES.get(name)
    return (source and source.title) or name


def _sizes(record: dict) -> str:
    sizes = sorted({row["n"] for row in record["rows"]})
    return f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,}–{sizes[-1]:,}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
