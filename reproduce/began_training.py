"""How INC gains from more training of BEGAN: accuracy and reconstruction error with snapshots of its training.

Not in the paper. INC is limited by its generator. The snapshots are those that `inc train celeba-began` leaves in its
run's folder, or arrays from a run elsewhere; the last one is the generator that ships.
"""

import re
from dataclasses import replace
from pathlib import Path

import click
import keras
import matplotlib.pyplot as plt
import numpy as np

from inc_tf import checkpoints, data, estimates, zoo
from inc_tf.cli.scripts import script
from inc_tf.errors import InputError
from inc_tf.evaluation.plots import label, legend, panels, title, whiskers
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, sweep
from inc_tf.evaluation.tables import markdown, percent
from inc_tf.training import arrays
from inc_tf.zoo import GenerativeModel

ATTACKS = [CLEAN, Attack("fgsm", 0.1)]
DEFENSE = "inc-fast"


@script("began_training", quick=100, papers="celeb_a")
@click.option(
    "--snapshots",
    default="runs/celeba-began/snapshots",
    type=click.Path(path_type=Path),
    show_default=True,
    help="Folder of the snapshots, <step>.weights.h5 or generator_<step>.npz.",
)
def main(options: Options, snapshots: Path) -> None:
    """INC's accuracy against its reconstruction error, snapshot by snapshot of BEGAN's training."""
    if options.dataset != "celeb_a":
        raise InputError(f"--dataset is {options.dataset!r}; BEGAN is trained on celeb_a only.")
    named = (
        (re.fullmatch(r"(\d+)\.weights\.h5|generator_(\d+)\.npz", path.name), path) for path in snapshots.glob("*")
    )
    files = {int(match[1] or match[2]): path for match, path in named if match}
    if not files:
        raise InputError(f"{str(snapshots)!r} holds no snapshots; `inc train celeba-began` leaves them there.")
    run = experiment(options, "classifier", "generative", papers="celeb_a")
    run.record.deviations.append("Not in the paper.")
    checkpoint = data.SOURCES["celeb_a"].checkpoints["generative"]
    shipped, steps = run.bench.parts.generator, checkpoints.card(checkpoint)["steps"]
    generators = {step: _generator(shipped, path) for step, path in sorted(files.items())} | {steps: shipped}
    for step, generator in generators.items():
        _add(run, step, generator)
    run.finish(table(run.record), draw)


def _generator(shipped: keras.Model, path: Path) -> keras.Model:
    other = InputError(
        f"{str(path)!r} does not hold a generator of the shipped one's layers and size (width "
        f"{shipped.layers[-2].filters}): train to the same width, or name another folder."
    )
    if path.suffix == ".npz":
        generator = arrays.generator(path)
        if [weight.shape for weight in generator.weights] != [weight.shape for weight in shipped.weights]:
            raise other
        return generator
    generator = keras.models.clone_model(shipped)
    try:
        generator.load_weights(path)
    except (ValueError, OSError) as error:
        raise other from error
    return generator


def _add(run: Run, step: int, generator: keras.Model) -> None:
    """Add the accuracy and the error of one snapshot to the record."""
    name = f"{DEFENSE}@{step}"
    generative = GenerativeModel(generator, latent_stddev=run.bench.parts.latent_stddev)
    parts = replace(run.bench.parts, models={**run.bench.parts.models, "generative": generative})
    run.bench.made[name] = zoo.build(DEFENSE, parts)
    answers = sweep(run, run.images, ATTACKS, [name])
    for (attack, _), answer in answers.items():
        labels: dict = {"defense": DEFENSE, "attack": attack.name, "epsilon": attack.epsilon}
        errors = np.square(answer["distance"]) / run.images.images[0].size
        run.record.add(estimates.share(answer["correct"]), metric=f"accuracy@{step}", **labels)
        run.record.add(estimates.mean(errors), metric=f"mse@{step}", **labels)


def _steps(record: Record) -> list[int]:
    """Of the snapshots."""
    return [int(row["metric"].split("@")[1]) for row in record.select(attack="clean") if "mse" in row["metric"]]


def table(record: Record) -> str:
    """Markdown: a row for each snapshot."""
    rows = []
    for step in _steps(record):
        found = [
            record.one(attack=attack.name, metric=f"{metric}@{step}")
            for metric in ("mse", "accuracy")
            for attack in ATTACKS
        ]
        rows.append([step, found[0]["n"], *(f"{row['value']:.4f}" for row in found[:2]), *map(percent, found[2:])])
    names = [attack.label for attack in ATTACKS]
    header = ["steps", "n", *(f"mse, {name}" for name in names), *(f"accuracy, {name}" for name in names)]
    return markdown(rows, header)


def draw(record: Record) -> plt.Figure:
    """Accuracy against reconstruction error, a point for each snapshot, labelled by its step."""
    figure, (axes,) = panels(width=7, height=4.5)
    steps = _steps(record)
    for attack in ATTACKS:
        rows = [record.one(attack=attack.name, metric=f"accuracy@{step}") for step in steps]
        errors = [record.one(attack=attack.name, metric=f"mse@{step}")["value"] for step in steps]
        values, reach = whiskers(rows, 100)
        axes.errorbar(errors, values, yerr=reach, marker="o", capsize=2, label=attack.label)
        for step, error, value in zip(steps, errors, values, strict=True):
            axes.annotate(f"{step:,}", (error, value), xytext=(3, 4), textcoords="offset points", fontsize="x-small")
    axes.set(xlabel="mean squared error of the projection, a pixel", ylabel="accuracy, %")
    axes.set_title(f"{label(DEFENSE)}, over BEGAN's training: {title(record.dataset)}, n = {rows[0]['n']}")
    axes.grid(alpha=0.3)
    legend(figure)
    return figure


if __name__ == "__main__":
    main()
