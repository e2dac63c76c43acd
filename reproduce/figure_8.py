"""Figure 8: how the overpowered attack converges on the first and on the robust classifier, for two values of η²."""

import functools
import math

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from inc_tf import estimates
from inc_tf.attacks.lagrangian import begin
from inc_tf.attacks.overpowered import PairSearch
from inc_tf.cli.scripts import pair_script
from inc_tf.evaluation.pairs import CLASSIFIERS, ETA_SQUARED, VALID, pair_experiment
from inc_tf.evaluation.plots import color, label, legend, panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.tables import interval, markdown
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.seeds import derive

BUDGETS = (ETA_SQUARED, VALID)  # mean squared differences
_LOOKS = 20


@pair_script("figure_8", quick=32)
def main(options: Options, steps: int) -> None:
    """Figure 8: the best loss within η of the pairs over the attack's steps."""
    run, n = pair_experiment(options)
    looks = np.unique(np.linspace(0, steps, _LOOKS + 1).astype(int))[1:]
    cases = [(defense, eta_squared) for defense in CLASSIFIERS for eta_squared in BUDGETS]
    for defense, eta_squared in tqdm(cases, desc=run.name, unit="attack", disable=run.quiet):
        unit = _unit(run.bench, defense, n, eta_squared, looks)
        for look, found in zip(looks, run.answer(unit)["values"], strict=True):
            run.record.add(
                estimates.mean(found),
                metric=f"loss@{look}",
                defense=defense,
                attack=f"overpowered, η² {eta_squared:g} a value",
            )
    run.finish(table(run.record), draw)


def _unit(bench: Bench, defense: str, n: int, eta_squared: float, looks: np.ndarray) -> Unit:
    key = {
        "trace": bench.digest(defense),
        "generative": bench.digest("generative"),
        "seed": bench.seed,
        "n": n,
        "eta_squared": eta_squared,
        "looks": looks.tolist(),
    }
    trace = functools.partial(_trace, defense=defense, n=n, eta_squared=eta_squared, looks=looks)
    return Unit(key, trace, f"the attack on {defense} at η² {eta_squared:g}")


def _trace(bench: Bench, defense: str, n: int, eta_squared: float, looks: np.ndarray) -> Arrays:
    """`values`, float32 [looks, N]: the best loss within η of each pair so far, 0 where it has not come so close."""
    generator = bench.parts.generator
    eta = math.sqrt(eta_squared * math.prod(generator.output_shape[1:]))
    search = PairSearch(generator, bench.defense(defense), eta)
    seed = [derive(bench.seed, "trace"), 0]
    state = begin(tf.random.stateless_normal([n, 2, generator.input_shape[1]], seed, stddev=bench.parts.latent_stddev))
    values, before = [], 0
    for look in looks:
        state = search.advance(state, tf.constant(int(look - before)))
        values.append(tf.where(state.excess <= 0, state.value, 0.0).numpy())
        before = look
    return {"values": np.stack(values)}


def _looks(record: Record) -> list[int]:
    """The steps at which the attack was looked at."""
    return [int(row["metric"].split("@")[1]) for row in _rows(record, CLASSIFIERS[0], BUDGETS[0])]


def _rows(record: Record, defense: str, eta_squared: float) -> list[dict]:
    return record.select(defense=defense, attack=f"overpowered, η² {eta_squared:g} a value")


def table(record: Record) -> str:
    """Markdown: a row for each classifier and η², a column for a quarter of the attack each."""
    looks = _looks(record)
    shown = [len(looks) * part // 4 - 1 for part in (1, 2, 3, 4)]
    rows = []
    for defense in CLASSIFIERS:
        for eta_squared in BUDGETS:
            found = _rows(record, defense, eta_squared)
            cells = [interval(found[i]) for i in shown]
            rows.append([label(defense), f"{eta_squared:g}", found[0]["n"], *cells])
    header = ["classifier", "η² a value", "pairs", *(f"step {looks[i]:,}" for i in shown)]
    return markdown(rows, header)


def draw(record: Record) -> plt.Figure:
    """A line for each classifier and η²."""
    figure, (axes,) = panels(width=7, height=4.5)
    looks = _looks(record)
    for defense in CLASSIFIERS:
        for eta_squared, style in zip(BUDGETS, ("-", "--"), strict=True):
            rows = _rows(record, defense, eta_squared)
            said = f"{label(defense)}, η² {eta_squared:g}"
            axes.plot(looks, [row["value"] for row in rows], style, color=color(defense), label=said)
            low, high = [row["low"] for row in rows], [row["high"] for row in rows]
            axes.fill_between(looks, low, high, alpha=0.15, color=color(defense))
    axes.set(xlabel="step of the attack", ylabel="best ‖p − p′‖² within η", ylim=(0, 2))
    axes.set_title(f"Figure 8: {title(record.dataset)}, n = {record.rows[0]['n']} pairs, 95 % intervals")
    axes.grid(alpha=0.3)
    legend(figure)
    return figure


if __name__ == "__main__":
    main()
