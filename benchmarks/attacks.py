"""How long each attack takes, ours beside Foolbox's and ART's: same model, images and steps, one run.

ART's Carlini–Wagner attacks take hours on 200 images, so they are timed on fewer, and ours on those as well as on all;
`--full` times all on all.

    python benchmarks/attacks.py
    python benchmarks/attacks.py --n 20 --steps 5 --iterations 5
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import foolbox
import keras
import numpy as np
import tensorflow as tf
from art.attacks import evasion
from art.estimators.classification import TensorFlowV2Classifier
from machine import RESULTS, watched
from tabulate import tabulate

import inc_tf as inc
from inc_tf import attacks

EPSILON = 0.2
TARGETS = {"cw-l2": 3.0, "cw-l0": 3.0, "cw-linf": 3.0}  # × ART; level elsewhere
ORDERS = {"cw-l2": 2, "cw-l0": 0}  # of the distance that an attack is after; ∞ for the others
ART_IMAGES = {"cw-l2": 10, "cw-l0": 2, "cw-linf": 5}  # unless --full


class Row(NamedTuple):
    """One attack by one library on `images` images: the time, the share that it broke and their median distance."""

    attack: str
    library: str
    images: int
    seconds: float
    success: float
    distance: float


def suite(model: keras.Model, bounds: inc.data.Bounds, steps: int, iterations: int) -> dict[str, dict[str, Callable]]:
    """By attack and library, functions from images and labels to adversarial images."""
    peer = foolbox.TensorFlowModel(model, bounds=bounds)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    shape = model.input_shape[1:]
    estimator = TensorFlowV2Classifier(
        model, nb_classes=model.output_shape[1], input_shape=shape, loss_object=loss, clip_values=bounds
    )

    def ours(attack, **options):
        return lambda x, y: attack(model, x, y, bounds=bounds, **options).numpy()

    def by_foolbox(attack, **options):
        return lambda x, y: attack.run(peer, tf.constant(x), tf.constant(y), **options).numpy()

    def by_art(attack, **options):
        return lambda x, y: attack(estimator, **options).generate(x, y)

    ball = {"eps": EPSILON, "batch_size": 256}
    loop = {**ball, "max_iter": steps, "verbose": False}
    cw = {"learning_rate": 0.1, "initial_const": 1.0}
    art_cw = {**cw, "max_iter": iterations, "verbose": False, "batch_size": 256}
    return {
        "fgsm": {
            "ours": ours(attacks.fgsm, epsilon=EPSILON),
            "foolbox": by_foolbox(foolbox.attacks.LinfFastGradientAttack(), epsilon=EPSILON),
            "art": by_art(evasion.FastGradientMethod, **ball),
        },
        "bim": {
            "ours": ours(attacks.bim, epsilon=EPSILON, steps=steps),
            "foolbox": by_foolbox(
                foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=2 * EPSILON, steps=steps), epsilon=EPSILON
            ),
            "art": by_art(evasion.BasicIterativeMethod, eps_step=2 * EPSILON, **loop),
        },
        "pgd": {
            "ours": ours(attacks.pgd, epsilon=EPSILON, steps=steps, step_size=EPSILON / 4),
            "foolbox": by_foolbox(foolbox.attacks.LinfPGD(abs_stepsize=EPSILON / 4, steps=steps), epsilon=EPSILON),
            "art": by_art(
                evasion.ProjectedGradientDescentTensorFlowV2, eps_step=EPSILON / 4, num_random_init=1, **loop
            ),
        },
        "cw-l2": {
            "ours": ours(attacks.cw_l2, confidence=0.0, binary_search_steps=3, iterations=iterations, **cw),
            "foolbox": by_foolbox(
                foolbox.attacks.L2CarliniWagnerAttack(
                    binary_search_steps=3, steps=iterations, stepsize=0.1, initial_const=1.0
                )
            ),
            "art": by_art(evasion.CarliniL2Method, binary_search_steps=3, **art_cw),
        },
        "cw-l0": {
            "ours": ours(attacks.cw_l0, iterations=iterations, largest_const=10.0, **cw),
            "art": by_art(evasion.CarliniL0Method, binary_search_steps=1, **art_cw),
        },
        "cw-linf": {
            "ours": ours(attacks.cw_linf, iterations=iterations, largest_const=5.0, decrease_factor=0.7, **cw),
            "art": by_art(evasion.CarliniLInfMethod, largest_const=5.0, decrease_factor=0.7, **art_cw),
        },
    }


def measure(attack: str, library: str, run: Callable, model: keras.Model, data: inc.data.Dataset) -> Row:
    """Time `run` on `data`, and say what it found."""
    start = time.perf_counter()
    found = run(data.images, data.labels)
    seconds = time.perf_counter() - start
    broken = model.predict(found, verbose=0).argmax(axis=1) != data.labels
    broken &= found.any(axis=(1, 2, 3))  # Foolbox returns a black image where it fails
    change = (found - data.images).reshape(len(data), -1)
    change = np.where(np.abs(change) > 1e-6, change, 0.0)
    distances = np.linalg.norm(change, ord=ORDERS.get(attack, np.inf), axis=1)[broken]
    distance = float(np.median(distances)) if len(distances) else float("nan")
    return Row(attack, library, len(data), seconds, float(broken.mean()), distance)


def compare(runs: dict, model: keras.Model, data: inc.data.Dataset, full: bool) -> list[Row]:
    """Every attack by every library; ours also on the few images that ART gets."""
    rows = []
    for attack, libraries in runs.items():
        few = data.take(len(data) if full else min(ART_IMAGES.get(attack, len(data)), len(data)))
        jobs = [(library, few if library == "art" else data) for library in libraries]
        if len(few) < len(data):
            jobs.append(("ours", few))
        for library, images in jobs:
            rows.append(measure(attack, library, libraries[library], model, images))
            click.echo(f"{attack} by {library}, {len(images)} images: {rows[-1].seconds:.2f} s", err=True)
    return rows


def summary(rows: list[Row]) -> list[list]:
    """The table: a line for each row, with how many times longer than ours on the same images it took."""
    ours = {(row.attack, row.images): row.seconds for row in rows if row.library == "ours"}
    lines = []
    for row in rows:
        ratio = row.seconds / ours[row.attack, row.images]
        wanted = TARGETS.get(row.attack, 1.0) if row.library == "art" else 1.0
        verdict = "" if row.library == "ours" else f"{ratio:.1f} × (wanted {wanted:g})"
        measured = [f"{row.seconds:.2f}", f"{row.success:.0%}", f"{row.distance:.3g}"]
        lines.append([row.attack, row.library, row.images, *measured, verdict])
    return lines


@click.command()
@click.option("--n", default=200, show_default=True, help="Images.")
@click.option("--steps", default=20, show_default=True, help="Of BIM and PGD.")
@click.option("--iterations", default=20, show_default=True, help="Of Carlini–Wagner, for each constant.")
@click.option("--full", is_flag=True, help="ART's Carlini–Wagner on all images: hours.")
@click.option("--checkpoint", default="mnist-classifier", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "attacks.json")
def main(n: int, steps: int, iterations: int, full: bool, checkpoint: str, out: Path) -> None:
    """Time each attack on the first N test images, by every library that has it."""
    with watched(out) as record:
        rows = measured(n, steps, iterations, full, checkpoint)
        settings = {"n": n, "steps": steps, "iterations": iterations, "full": full, "checkpoint": checkpoint}
        record |= {"settings": settings, "rows": [row._asdict() for row in rows]}
    headers = ["attack", "library", "images", "seconds", "success", "distance", "to ours"]
    click.echo(tabulate(summary(rows), headers=headers))


def measured(n: int, steps: int, iterations: int, full: bool, checkpoint: str) -> list:
    """A row for each run of an attack."""
    model = inc.load(checkpoint)
    data = inc.data.load(inc.checkpoints.card(checkpoint)["dataset"], "test").take(n)
    runs = suite(model, data.bounds, steps, iterations)
    for warm_up in runs["bim"].values():  # traces what is traced once for a model
        warm_up(data.images, data.labels)
    return compare(runs, model, data, full)


if __name__ == "__main__":
    main()
