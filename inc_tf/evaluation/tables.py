"""Helpers for tables of results, in Markdown."""

import math
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from inc_tf.evaluation.records import Record

NOTHING = "—"


def markdown(rows: Sequence[Sequence], header: Sequence[str]) -> str:
    """A table in GitHub's Markdown, cells as they are."""
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def percent(row: Mapping) -> str:
    """A share with its interval, e.g. `83.0 % (80.6–85.2)`."""
    return f"{100 * row['value']:.1f} % ({100 * row['low']:.1f}–{100 * row['high']:.1f})"


def interval(row: Mapping, digits: int = 3) -> str:
    """A figure with its interval, e.g. `0.113 (0.094–0.132)` or `−0.19 (−0.22 to −0.16)`; of one value, which has none,
    the figure alone.
    """
    value, low, high = (f"{row[field]:.{digits}f}".replace("-", "−") for field in ("value", "low", "high"))
    if math.isnan(row["low"]):
        return value
    return f"{value} ({low} to {high})" if "−" in low else f"{value} ({low}–{high})"


def accuracies(record: Record, attacks: Mapping[str, str], epsilons: Sequence, defenses: Mapping[str, str]) -> str:
    """A row for each attack and ε, clean images first, a column for each defence; both by label."""
    cases = [("clean", "clean", 0.0), *((name, label, e) for name, label in attacks.items() for e in epsilons)]
    rows = [
        [label, f"{epsilon:g}"]
        + [percent(record.one(attack=name, epsilon=epsilon, defense=d, metric="accuracy")) for d in defenses]
        for name, label, epsilon in cases
    ]
    return markdown(rows, ["attack", "ε", *defenses.values()])
