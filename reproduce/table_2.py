"""Table 2: ResNet152 under BIM, undefended and behind the deep image prior, with each stopping rule.

It takes long: 500 steps on one photograph take minutes. A killed run resumes at the image where it was, `--shard 1/4`
takes every fourth image, and `--merge` joins the shards' results.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from inc_tf import estimates
from inc_tf.cli.scripts import photograph_script
from inc_tf.evaluation.photographs import ATTACKS, LIMITS, Photographs, Photography
from inc_tf.evaluation.plots import INTERVALS, draw_shares, legend, panels, title, whiskers
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.sweep import Attack
from inc_tf.evaluation.tables import markdown, percent

DEFENSES = {
    "undefended": "undefended",
    "dip": "deep image prior, at most 500 steps",
    "dip-100": "deep image prior, at most 100 steps",
    "dip-wmv": "deep image prior, moving variance",
}
PAPER: dict[str, dict[float, float]] = {
    "undefended": {0.0: 0.71, 0.01: 0.05, 0.05: 0.02, 0.1: 0.01},
    "dip": {0.0: 0.52, 0.01: 0.49, 0.05: 0.40},
    "dip-100": {0.0: 0.35, 0.1: 0.30},
    "dip-wmv": {},
}
"""The paper's accuracies, of ResNet152 on validation images, by defence and BIM's ε."""


@photograph_script("table_2", shards=True)
def main(options: Options, wanted: Photography) -> None:
    """Table 2: clean and BIM images at three ε; undefended, the paper's DIP at both limits, DIP stopped otherwise."""
    photographs = Photographs(options, wanted)
    for attack, answer in photographs.answers().items():
        _add(photographs, attack, answer)
    run = photographs.run
    run.finish(table(run.record), draw)


def _add(photographs: Photographs, attack: Attack, answer: Arrays) -> None:
    defended = {name: photographs.limited(answer, limit) for name, limit in LIMITS.items()}
    defended["undefended"] = {"right": answer["undefended"]}
    defended["dip-wmv"] = {
        "right": answer["rule"][:, 1],
        "mse": answer["rule_mse"][:, 1],
        "steps": answer["rule_steps"][:, 1],
    }
    labels: dict[str, Any] = {"attack": attack.name, "epsilon": attack.epsilon}
    for name in DEFENSES:
        photographs.add_row(defended[name], PAPER[name].get(labels["epsilon"]), defense=name, **labels)
    for i, steps in enumerate(photographs.checkpoints):
        photographs.run.record.add(
            estimates.share(answer["at"][:, i]), metric=f"accuracy@{steps}", defense="dip", **labels
        )
        photographs.run.record.add(
            estimates.mean(answer["mse_at"][:, i]), metric=f"mse@{steps}", defense="dip", **labels
        )
    photographs.run.record.add(estimates.share(answer["restarted"]), metric="restarted", defense="dip", **labels)


def _rows(record: Record, attack: Attack, metric: str) -> dict[str, dict]:
    found = record.select(attack=attack.name, epsilon=attack.epsilon, metric=metric)
    return {row["defense"]: row for row in found}


def table(record: Record) -> str:
    """Markdown: a row for each ε; each defence's accuracy, the paper's beside it, and its searches' mean steps."""
    lines = []
    for attack in ATTACKS:
        line = [attack.label]
        steps = _rows(record, attack, "steps")
        for defense, row in _rows(record, attack, "accuracy").items():
            paper = "" if row["paper"] is None else f"; paper {100 * row['paper']:.0f} %"
            taken = f"; {steps[defense]['value']:.0f} steps" if defense in steps else ""
            line.append(percent(row) + paper + taken)
        lines.append(line)
    n = record.rows[0]["n"]
    return markdown(lines, [f"attack, n = {n}", *DEFENSES.values()])


def draw(record: Record) -> plt.Figure:
    """Accuracy against ε, a line for each defence, and at a fixed number of steps, a line for each attack."""
    figure, (left, right) = panels(2, 12, 5)
    draw_shares(left, {said: record.select(defense=d, metric="accuracy") for d, said in DEFENSES.items()})
    left.set(xlabel="ε of BIM (ℓ∞)", title="stopped by each rule")
    looks = {int(row["metric"].split("@")[1]) for row in record.rows if row["metric"].startswith("accuracy@")}
    for i, attack in enumerate(ATTACKS):
        case = {"attack": attack.name, "epsilon": attack.epsilon}
        values, reach = whiskers([record.one(metric=f"accuracy@{steps}", **case) for steps in sorted(looks)], 100)
        places = np.array(sorted(looks)) + max(looks) / 150 * (i - 1.5)
        right.errorbar(
            places, values, yerr=reach, marker="o", markersize=4, capsize=2, color=f"C{i + 4}", label=attack.label
        )
    right.set(xlabel="steps, without any rule", title="stopped after so many steps")
    right.grid(alpha=0.3)
    legend(figure, 4)
    figure.suptitle(f"Table 2: {title(record.dataset)}, n = {record.rows[0]['n']}, {INTERVALS}")
    return figure


if __name__ == "__main__":
    main()
