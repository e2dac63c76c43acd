"""Section 4.3: pairs of images on the manifold that are close but classified differently, before and after training
against them.

The table of that section, with two lines that the paper does not have: whether the pairs also flip INC end to end, that
is, if G(z) and G(z′) are projected again before they are classified.
"""

import functools

import matplotlib.pyplot as plt
import numpy as np

from inc_tf import data, estimates
from inc_tf.cli.scripts import pair_script
from inc_tf.evaluation.pairs import CLASSIFIERS, VALID, find, pair_experiment, probabilities
from inc_tf.evaluation.plots import INTERVALS, color, legend, panels, title, whiskers
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.tables import interval, markdown, percent
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.saving import configuration
from inc_tf.training import classifier

OLD = "overpowered-transfer"  # the first classifier's pairs, on another

PAPER = {
    ("undefended", "overpowered"): {"valid": 0.93, "kl": 2.47, "flips": 0.57},
    ("manifold-trained", "overpowered"): {"valid": 1.0, "kl": 0.08, "flips": 0.22},
    ("manifold-trained", OLD): {"kl": 0.007, "flips": 0.18},
    ("undefended", "clean"): {"accuracy": 0.97},
    ("manifold-trained", "clean"): {"accuracy": 0.97},
}

LINES = {
    ("undefended", "overpowered"): "first classifier",
    ("manifold-trained", "overpowered"): "trained against the attack",
    ("manifold-trained", OLD): "… on the first one's pairs",
    ("inc", OLD): "INC, the paper's search, on the first one's pairs",
    ("inc-fast", OLD): "INC, fast search, on the first one's pairs",
}


@pair_script("section_4_3", quick=64)
def main(options: Options, steps: int) -> None:
    """Section 4.3: the overpowered attack before and after training against it, and on INC end to end."""
    run, n = pair_experiment(options)
    run.record.deviations += [
        "The paper gives no rates: Adam 0.05 on codes, 0.003 on λ for a violation counted up to η², from the prior.",
        f"A search whose loss has risen by no more than 0.1 % in 100 steps ends early, at most {steps} steps in all.",
        "INC end to end is not in the paper; it is shown G's images clipped to what a pixel may be.",
    ]
    pairs = {defense: find(run, defense, n, steps) for defense in CLASSIFIERS}
    for defense in CLASSIFIERS:
        _add(run, defense, "overpowered", pairs[defense])
    _add(run, "manifold-trained", OLD, pairs["undefended"])
    for defense in ("inc", "inc-fast"):
        _add_end_to_end(run, defense, pairs["undefended"])
    test = data.load(run.record.dataset, "test")
    for defense in CLASSIFIERS:
        accuracy = classifier.accuracy(run.bench.defense(defense), test)
        _record(run, defense, "clean", accuracy=accuracy)
    run.finish(table(run.record), draw)


def _record(run: Run, defense: str, attack: str, **metrics: estimates.Estimate) -> None:
    reported = PAPER.get((defense, attack), {}) if run.record.dataset == "celeb_a" else {}
    for metric, estimate in metrics.items():
        run.record.add(estimate, metric=metric, defense=defense, attack=attack, paper=reported.get(metric))


def _add(run: Run, defense: str, attack: str, pairs: Arrays) -> None:
    """Add what the pairs do to a classifier; KL and flips are over the valid ones alone."""
    valid = pairs["mse"] < VALID
    _record(run, defense, attack, valid=estimates.share(valid))
    if valid.sum() < 2:
        return
    one, other = (probabilities(run, defense, pairs[part][valid]) for part in ("images", "other_images"))
    _record(
        run,
        defense,
        attack,
        kl=estimates.mean(estimates.kl_divergence(one, other)),
        kl_reversed=estimates.mean(estimates.kl_divergence(other, one)),
        flips=estimates.share(one.argmax(axis=1) != other.argmax(axis=1)),
        code_norm=estimates.mean(np.linalg.norm(pairs["codes"][valid], axis=1)),
    )


def _add_end_to_end(run: Run, defense: str, pairs: Arrays) -> None:
    """Add whether INC, projecting both images again, classifies them apart, and by how much it misses them."""
    valid = pairs["mse"] < VALID
    if valid.sum() < 2:
        return
    units = [_unit(run.bench, defense, pairs[part][valid]) for part in ("images", "other_images")]
    run.ahead(units, len(units))
    one, other = map(run.answer, units)
    _record(
        run,
        defense,
        OLD,
        flips=estimates.share(one["predictions"] != other["predictions"]),
        distance=estimates.mean(np.concatenate([one["distances"], other["distances"]])),
    )


def _unit(bench: Bench, defense: str, images: np.ndarray) -> Unit:
    # BEGAN's go beyond the bounds. Clipping brings a pair no further apart.
    images = np.clip(images, *bench.parts.bounds)
    key = {"classify": bench.digest(defense), "images": configuration(images), "seed": bench.seed}
    return Unit(key, functools.partial(_classify, defense=defense, images=images), f"{defense} on pairs")


def _classify(bench: Bench, defense: str, images: np.ndarray) -> Arrays:
    answer = bench.defense(defense)(images, seed=bench.seed)
    return {"predictions": answer.predictions.numpy(), "distances": answer.distances.numpy()}


def table(record: Record) -> str:
    """Markdown: a row for each classifier and its pairs, the paper's figures in brackets."""
    rows = []
    for (defense, attack), label in LINES.items():
        found = {row["metric"]: row for row in record.select(defense=defense, attack=attack)}
        accuracy = record.select(defense=defense, attack="clean") if attack == "overpowered" else []
        cells = [_cell(found.get(metric)) for metric in ("valid", "kl", "kl_reversed", "flips")]
        pairs = found["flips"]["n"] if "flips" in found else 0
        rows.append([label, pairs, *cells, _cell(accuracy[0] if accuracy else None)])
    header = ["", "valid pairs", "of all", "KL(p ‖ p′)", "KL(p′ ‖ p)", "flips", "clean accuracy"]
    return markdown(rows, header)


def _cell(row: dict | None) -> str:
    if row is None:
        return "—"
    share = row["metric"] not in ("kl", "kl_reversed")
    ours = percent(row) if share else interval(row)
    if row["paper"] is None:
        return ours
    return f"{ours} [{100 * row['paper']:.0f} %]" if share else f"{ours} [{row['paper']:g}]"


def draw(record: Record) -> plt.Figure:
    """The share of valid pairs whose images each classifier and defence puts in two classes."""
    rows = [(said, record.select(defense=d, attack=a, metric="flips")) for (d, a), said in LINES.items()]
    shown = [(said, found[0]) for said, found in rows if found]
    values, reach = whiskers([row for _, row in shown], 100)
    figure, (axes,) = panels(width=8, height=3)
    colors = [color(row["defense"]) for _, row in shown]
    axes.barh([said for said, _ in shown], values, xerr=reach, capsize=3, color=colors)
    for place, (_, row) in enumerate(shown):
        if row["paper"] is not None:
            axes.plot([100 * row["paper"]] * 2, [place - 0.4, place + 0.4], "k-", lw=2, label="the paper")
    legend(figure)
    axes.invert_yaxis()
    axes.set(xlabel="valid pairs of two classes, %", xlim=(0, 101))
    axes.set_title(f"Section 4.3: {title(record.dataset)}, {INTERVALS}")
    return figure


if __name__ == "__main__":
    main()
