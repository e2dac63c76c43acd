"""What the plots of results have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inc_tf import data, zoo
from inc_tf.data.scaling import to_unit
from inc_tf.evaluation.records import Record

matplotlib.use("Agg")


def title(dataset: str) -> str:
    """A data set's proper name."""
    return (data.SOURCES[dataset].title or dataset) if dataset in data.SOURCES else dataset


def whiskers(rows: Sequence[Mapping], scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The values of rows, [n], and how far their intervals reach below and above, [2, n], each times `scale`."""
    values, low, high = (scale * np.array([row[field] for row in rows]) for field in ("value", "low", "high"))
    return values, np.stack([values - low, high - values])


def draw_shares(axes: Axes, rows: Sequence[Mapping], label: str, what: str = "accuracy, %", **style) -> None:
    """Draw shares against ε, in percent, with their intervals."""
    values, reach = whiskers(rows, 100)
    axes.errorbar([row["epsilon"] for row in rows], values, yerr=reach, marker="o", capsize=3, label=label, **style)
    axes.set(ylabel=what, ylim=(0, 101))
    axes.grid(alpha=0.3)


def color(defense: str) -> str | None:
    """The colour of a named defence in every plot."""
    return zoo.DEFENSES[defense].color if defense in zoo.DEFENSES else None


def accuracy_panels(record: Record, name: str, attacks: Mapping[str, str], defenses: Mapping[str, str]) -> Figure:
    """Accuracy against ε: a panel for each attack, a line for each defence; both by label."""
    figure, panels = plt.subplots(1, len(attacks), figsize=(1 + 4 * len(attacks), 4), sharey=True)
    for axes, (attack, label) in zip(panels, attacks.items(), strict=True):
        for defense, shown in defenses.items():
            rows = record.select(defense=defense, metric="accuracy")
            draw_shares(axes, [r for r in rows if r["attack"] in ("clean", attack)], shown, color=color(defense))
        axes.set(xlabel="ε (ℓ∞)", title=label)
    panels[0].legend()
    figure.suptitle(f"{name}: {title(record.dataset)}, n = {record.rows[0]['n']}, 95 % Wilson intervals")
    return figure


def image_rows(rows: Mapping[str, np.ndarray], bounds: data.Bounds, columns: int) -> tuple[Figure, np.ndarray]:
    """The first images of each row, under one another by label; the figure and its axes, [rows, columns]."""
    figure, axes = plt.subplots(len(rows), columns, figsize=(1.4 * columns, 1.7 * len(rows)), squeeze=False)
    for line, (label, images) in zip(axes, rows.items(), strict=True):
        for cell, image in zip(line, images, strict=False):
            cell.imshow(np.clip(to_unit(image, bounds), 0, 1), cmap="gray", vmin=0, vmax=1)
        for cell in line:
            cell.set(xticks=[], yticks=[])
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    return figure, axes


def titles(cells: np.ndarray, probabilities: np.ndarray, expected: np.ndarray, names: Sequence[str]) -> None:
    """Over each cell the class of `probabilities`, [N, classes], and how sure it is; red where it is not `expected`."""
    for cell, found, right in zip(cells, probabilities, expected, strict=False):
        guess = found.argmax()
        color = "black" if guess == right else "red"
        cell.set_title(f"{names[guess]} {100 * found[guess]:.0f} %", fontsize="small", color=color)
