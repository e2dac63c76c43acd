"""What more training of BEGAN would buy: INC's accuracy and reconstruction error over the snapshots of its training.

Not in the paper. INC is limited by its generator; the snapshots are those that `inc train celeba-began` leaves in its
run's folder, or arrays of a run elsewhere, and the last is the generator that ships.
"""

import re
from dataclasses import replace
from pathlib import Path

import click
import keras
import matplotlib.pyplot as plt
import numpy as np
from tabulate import tabulate

import inc_tf as inc
from inc_tf import checkpoints, estimates
from inc_tf.errors import InputError
from inc_tf.evaluation.experiment import CHECKPOINTS, Experiment, options, percent
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.sweep import CLEAN, SEARCHES, Attack, attack_name, sweep
from inc_tf.training import arrays

ATTACKS = [CLEAN, Attack("fgsm", 0.1)]
DEFENSE = "inc-fast"


@click.command("began_training")
@options(quick=100, papers="celeb_a")
@click.option(
    "--snapshots",
    default="runs/celeba-began/snapshots",
    type=click.Path(path_type=Path),
    show_default=True,
    help="The folder of <step>.weights.h5, or of generator_<step>.npz.",
)
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, snapshots: Path) -> None:
    """INC's accuracy against its reconstruction error, snapshot by snapshot of BEGAN's training."""
    if dataset != "celeb_a":
        raise InputError(f"--dataset is {dataset!r}; BEGAN is trained on celeb_a only.")
    named = (
        (re.fullmatch(r"(\d+)\.weights\.h5|generator_(\d+)\.npz", path.name), path) for path in snapshots.glob("*")
    )
    files = {int(match[1] or match[2]): path for match, path in named if match}
    if not files:
        raise InputError(f"{str(snapshots)!r} holds no snapshots; `inc train celeba-began` leaves them there.")
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"), papers="celeb_a")
    experiment.record.deviations.append("Not in the paper.")
    shipped, card = experiment.models["generative"].generator, checkpoints.card(CHECKPOINTS[dataset]["generative"])
    generators = {step: (_generator(shipped, path), checkpoints.sha256(path)) for step, path in sorted(files.items())}
    generators[card["steps"]] = shipped, card["sha256"]
    for step, (generator, sha256) in generators.items():
        _add(experiment, step, generator, sha256)
    experiment.finish(table(experiment.record, list(generators)), lambda record: draw(record, list(generators)))


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


def _add(experiment: Experiment, step: int, generator: keras.Model, sha256: str) -> None:
    """Add the accuracy and the error of one snapshot to the record."""
    experiment.made[DEFENSE] = inc.InvertAndClassify(
        experiment.models["classifier"],
        inc.LatentProjector(generator, *SEARCHES["celeb_a"][DEFENSE]),
        bounds=experiment.data.bounds,
    )
    attacks = [replace(attack, surrogate={"snapshot": sha256}) for attack in ATTACKS]
    answers = sweep(experiment, experiment.data, attacks, [DEFENSE])
    for (attack, _), answer in answers.items():
        labels: dict = {"defense": DEFENSE, "attack": attack.name, "epsilon": attack.epsilon}
        errors = np.square(answer["distance"]) / experiment.data.images[0].size
        experiment.record.add(estimates.share(answer["correct"]), metric=f"accuracy@{step}", **labels)
        experiment.record.add(estimates.mean(errors), metric=f"mse@{step}", **labels)


def table(record: Record, steps: list[int]) -> str:
    """Markdown: a row for each snapshot."""
    rows = []
    for step in steps:
        found = [
            record.one(attack=attack.name, metric=f"{metric}@{step}")
            for metric in ("mse", "accuracy")
            for attack in ATTACKS
        ]
        rows.append([step, found[0]["n"], *(f"{row['value']:.4f}" for row in found[:2]), *map(percent, found[2:])])
    names = [attack_name(attack) for attack in ATTACKS]
    header = ["steps", "n", *(f"mse, {name}" for name in names), *(f"accuracy, {name}" for name in names)]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def draw(record: Record, steps: list[int]) -> plt.Figure:
    """Accuracy against reconstruction error, a point for each snapshot, labelled by its step."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    for attack in ATTACKS:
        rows = [record.one(attack=attack.name, metric=f"accuracy@{step}") for step in steps]
        errors = [record.one(attack=attack.name, metric=f"mse@{step}")["value"] for step in steps]
        values = np.array([100 * row["value"] for row in rows])
        whiskers = [values - [100 * row["low"] for row in rows], [100 * row["high"] for row in rows] - values]
        axes.errorbar(errors, values, yerr=whiskers, marker="o", capsize=2, label=attack_name(attack))
        for step, error, value in zip(steps, errors, values, strict=True):
            axes.annotate(f"{step:,}", (error, value), xytext=(3, 4), textcoords="offset points", fontsize="x-small")
    axes.set(xlabel="mean squared error of the projection, a pixel", ylabel="accuracy, %")
    axes.set_title(f"INC, fast solver, over BEGAN's training: {record.dataset}, n = {rows[0]['n']}")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
