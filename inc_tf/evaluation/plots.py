"""Helpers for plots of results.

Legends stand below the axes, never over data; a defence has the colour and the name that it was declared with; lines
that would hide each other's intervals are set a little apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inc_tf import data, zoo
from inc_tf.data.scaling import to_unit
from inc_tf.evaluation.records import Record

matplotlib.rcParams["svg.hashsalt"] = "inc_tf"  # the same plot is the same file

INTERVALS = "95 % Wilson intervals"
_APART = 0.012  # of the range of ε, between two lines


def title(dataset: str) -> str:
    """A data set's title."""
    return (data.SOURCES[dataset].title or dataset) if dataset in data.SOURCES else dataset


def label(defense: str) -> str:
    """The name of a defence in every table and plot."""
    return zoo.DEFENSES[defense].label if defense in zoo.DEFENSES else defense


def color(defense: str) -> str | None:
    """The colour of a named defence in every plot."""
    return zoo.DEFENSES[defense].color if defense in zoo.DEFENSES else None


def panels(columns: int = 1, width: float = 6.0, height: float = 4.0) -> tuple[Figure, np.ndarray]:
    """A figure of axes beside one another, [columns], that share what is drawn upwards."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, sharey=True, squeeze=False)
    return figure, axes[0]


def legend(figure: Figure, columns: int = 2) -> None:
    """One legend of all axes, below them; what has the same name in several stands in it once."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        named |= {name: handle for handle, name in zip(handles, labels, strict=True) if name not in named}
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=columns, frameon=False)


def whiskers(rows: Sequence[Mapping], scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The values of rows, [n], and how far their intervals reach below and above, [2, n], each times `scale`."""
    values, low, high = (scale * np.array([row[field] for row in rows]) for field in ("value", "low", "high"))
    return values, np.stack([values - low, high - values])


def draw_shares(
    axes: Axes,
    lines: Mapping[str, Sequence[Mapping]],
    styles: Mapping[str, Mapping] | None = None,
    what: str = "accuracy, %",
) -> None:
    """Draw shares against ε, in percent, with their intervals: a line for each name, in its style."""
    epsilons = [row["epsilon"] for rows in lines.values() for row in rows]
    apart = _APART * (max(epsilons) - min(epsilons))
    for i, (name, rows) in enumerate(lines.items()):
        values, reach = whiskers(rows, 100)
        places = np.array([row["epsilon"] for row in rows]) + apart * (i - (len(lines) - 1) / 2)
        style = {"marker": "o", "markersize": 4, "capsize": 3, **(styles or {}).get(name, {})}
        axes.errorbar(places, values, yerr=reach, label=name, **style)
    axes.set(ylabel=what, ylim=(-2, 102), xticks=sorted(set(epsilons)))
    axes.grid(alpha=0.3)


def labels(defenses: Iterable[str]) -> dict[str, str]:
    """Defences, by the name of each in every table and plot."""
    return {defense: label(defense) for defense in defenses}


def draw_defenses(axes: Axes, rows: Mapping[str, Sequence[Mapping]], what: str = "accuracy, %") -> None:
    """Draw shares against ε, a line for each defence of `rows`, in its colour and by its name."""
    lines = {label(defense): found for defense, found in rows.items()}
    draw_shares(axes, lines, {label(defense): {"color": color(defense)} for defense in rows}, what)


def accuracy_panels(record: Record, name: str, attacks: Mapping[str, str], defenses: Mapping[str, str]) -> Figure:
    """Accuracy against ε: a panel for each attack, and in each a line for each defence; both by label."""
    figure, axes = panels(len(attacks), 1 + 4 * len(attacks), 4.2)
    for panel, (attack, said) in zip(axes, attacks.items(), strict=True):
        lines, styles = {}, {}
        for defense, named in defenses.items():
            rows = record.select(defense=defense, metric="accuracy")
            lines[named] = [row for row in rows if row["attack"] in ("clean", attack)]
            styles[named] = {"color": color(defense) or "C9"}
        draw_shares(panel, lines, styles)
        panel.set(xlabel="ε (ℓ∞)", title=said)
    for panel in axes[1:]:
        panel.set_ylabel("")
    legend(figure, 3)
    figure.suptitle(f"{name}: {title(record.dataset)}, n = {record.rows[0]['n']}, {INTERVALS}")
    return figure


def image_rows(rows: Mapping[str, np.ndarray], bounds: data.Bounds, columns: int) -> tuple[Figure, np.ndarray]:
    """The first images of each row, `columns` at most, under one another by label; the figure and its axes."""
    columns = min(columns, *map(len, rows.values()))
    figure = Figure(figsize=(1.4 * columns + 1, 1.7 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for cell, image in zip(line, images, strict=False):
            cell.imshow(np.clip(to_unit(image, bounds), 0, 1), cmap="gray", vmin=0, vmax=1)
            cell.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure, axes


def titles(cells: np.ndarray, probabilities: np.ndarray, expected: np.ndarray, names: Sequence[str] | None) -> None:
    """Over each cell the class of `probabilities`, [N, classes], and how sure it is; red where it is not `expected`.

    None names the classes by number.
    """
    for cell, found, right in zip(cells, probabilities, expected, strict=False):
        guess = found.argmax()
        color = "black" if guess == right else "red"
        cell.set_title(f"{names[guess] if names else guess} {100 * found[guess]:.0f} %", fontsize="small", color=color)
