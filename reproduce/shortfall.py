"""Why accuracy falls short at the largest ε: the search's steps, its start, another generator, and G's tangent space.

Not in the paper, whose INC keeps 73 % on faces under FGSM at ε 0.2. Each case changes one aspect of the paper's search.
The tangent space of G at z* holds the changes that codes close to z* can make: a projection close to G(z*) keeps the
share of a perturbation that lies in it, and removes the rest.
"""

import functools
import math

import click
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

from inc_tf import data, estimates, zoo
from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import INTERVALS, legend, panels, title, whiskers
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.store import Arrays
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, attack_images, sweep
from inc_tf.evaluation.tables import markdown, percent
from inc_tf.evaluation.units import Bench, Unit
from inc_tf.models.celeba import BEGAN
from inc_tf.projection import Adam, FromEncoder, LatentProjector, Normal
from inc_tf.projection.solvers.levenberg_marquardt import normal_equations
from inc_tf.saving import configuration

EPSILONS = {"celeb_a": 0.2, "mnist": 0.3, "digits": 0.3}
STEPS = (250, 500, 1000, 2000, 4000)
PAPER = {("clean", 0.0): 0.84, ("fgsm", 0.2): 0.73}
"""The paper's accuracies of INC, on CelebA."""

NARROW, DECODER = "inc-narrow", "inc-decoder"
OTHERS = {NARROW: "starts of half the spread", DECODER: "the discriminator's decoder, from E(x)"}
WHERE = {"all": "all", "right": "INC is right", "wrong": "INC is wrong"}


@script("shortfall", quick=25, papers="celeb_a")
@click.option("--most", default=STEPS[-1], show_default=True, help="Largest number of steps T to try.")
def main(options: Options, most: int) -> None:
    """What accuracy at the largest ε depends on: steps, start, generator, and how much of FGSM G can draw."""
    run = experiment(options, "classifier", "generative", papers="celeb_a")
    run.record.deviations.append("Not in the paper.")
    attack = Attack("fgsm", EPSILONS[run.record.dataset])
    run.bench.made |= _cases(run.bench.parts, [steps for steps in STEPS if steps <= most])
    cases = list(run.bench.made)
    longest = [name for name in cases if name not in OTHERS][-1]
    answers = sweep(run, run.images, [CLEAN, attack], [name for name in cases if name != longest])
    answers |= sweep(run, run.images, [CLEAN, attack], [longest], keep=("codes",))
    paper = {"inc-2000": PAPER} if run.record.dataset == "celeb_a" else {}
    add_accuracies(run, {(a, name): answers[a, name] for a in (CLEAN, attack) for name in cases}, paper)
    _add_tangent(run, attack, longest, answers[CLEAN, longest], answers[attack, longest])
    run.finish(table(run.record), draw)


def _cases(parts: zoo.Parts, steps: list[int]) -> dict:
    """The defences that are compared, by name; `inc-2000` is the paper's."""
    rate, stddev = zoo.learning_rate(parts.generator), parts.latent_stddev
    paper = Adam(rate, min(2000, steps[-1]))
    cases = {f"inc-{t}": zoo.inverting(parts, Adam(rate, t), Normal(stddev=stddev)) for t in steps}
    cases[NARROW] = zoo.inverting(parts, paper, Normal(stddev=stddev / 2))
    generative = parts["generative"]
    if isinstance(generative, BEGAN):
        start = FromEncoder(generative.encoder)  # its codes are not normal
        cases[DECODER] = zoo.behind(parts, LatentProjector(generative.decoder, paper, start))
    return cases


def _add_tangent(run: Run, attack: Attack, search: str, clean: Arrays, attacked: Arrays) -> None:
    """Add what G can draw of the attack's perturbation δ, by whether the defence `search` is right about its images.

    `clean` and `attacked` are that defence's answers, their codes among them.

    `tangent` is the share of ‖δ‖² that lies in G's tangent space at z* of the clean image, `followed` how far G(z*)
    goes along δ when the image does, ⟨G(z*′) − G(z*), δ⟩ / ‖δ‖².
    """
    moved = _attacked(run, attack) - run.images.images
    size = data.SOURCES[run.images.name].shard
    codes = clean["codes"]
    units = [_unit(run.bench, codes[i : i + size], moved[i : i + size]) for i in range(0, len(codes), size)]
    shares = np.concatenate([run.answer(unit)["shares"] for unit in units])
    generator = run.bench.parts.generator
    ends = [generator.predict(found["codes"], verbose=0) for found in (clean, attacked)]
    # Along δ alone: another image starts elsewhere, which moves G(z*) in other directions too.
    followed = np.sum((ends[1] - ends[0]) * moved, axis=(1, 2, 3), dtype=np.float64) / _squares(moved)
    right = attacked["correct"]
    for where, chosen in {"all": np.ones_like(right), "right": right, "wrong": ~right}.items():
        if chosen.sum() > 1:
            labels: dict = {"defense": search, "attack": attack.name, "epsilon": attack.epsilon}
            for metric, values in (("tangent", shares), ("followed", followed)):
                found = estimates.bootstrapped_mean(values[chosen], run.bench.seed)
                run.record.add(found, metric=f"{metric}, {where}", **labels)
    chance = codes.shape[1] / math.prod(run.images.images.shape[1:])
    run.record.add(estimates.Estimate(chance, chance, chance, 1), metric="tangent of a random direction")


def _attacked(run: Run, attack: Attack) -> np.ndarray:
    """The run's images as the attack leaves them, shard by shard as `sweep` has them."""
    shards = run.images.shards(data.SOURCES[run.images.name].shard)
    return np.concatenate([attack_images(run, attack, shard).images for shard in shards])


def _squares(images: np.ndarray) -> np.ndarray:
    return np.square(images, dtype=np.float64).sum(axis=(1, 2, 3))


def _unit(bench: Bench, codes: np.ndarray, moved: np.ndarray) -> Unit:
    key = {"tangent": bench.digest("generative"), "codes": configuration(codes), "moved": configuration(moved)}
    return Unit(key, functools.partial(_tangent_shares, codes=codes, moved=moved), "the tangent space")


def _tangent_shares(bench: Bench, codes: np.ndarray, moved: np.ndarray) -> Arrays:
    """‖Pδ‖²/‖δ‖² of each image, P the projection onto the columns of J = ∂G/∂z, float64 [N]."""
    generator = bench.parts.generator

    @tf.function(autograph=False)
    def equations(code: tf.Tensor, delta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return normal_equations(generator, code, generator(code, training=False) - delta)

    found = []
    for code, delta in zip(tf.constant(codes)[:, tf.newaxis], tf.constant(moved), strict=True):
        gram, right = (part.numpy()[0].astype(np.float64) for part in equations(code, delta))
        found.append(right @ np.linalg.lstsq(gram, right, rcond=1e-6)[0])
    return {"shares": np.array(found) / _squares(moved)}


def table(record: Record) -> str:
    """Markdown: a row for each search, its accuracy and mean distance; below it the shares of the perturbation."""
    (epsilon,) = {row["epsilon"] for row in record.select(attack="fgsm")}
    rows = []
    for name in _searches(record):
        found = [
            record.one(defense=name, attack=attack, metric=metric)
            for metric in ("accuracy", "distance")
            for attack in ("clean", "fgsm")
        ]
        rows.append(
            [_said(name), found[0]["n"], *map(percent, found[:2]), *(f"{row['value']:.2f}" for row in found[2:])]
        )
    header = ["search", "n", "clean", f"FGSM {epsilon:g}", "distance, clean", f"distance, FGSM {epsilon:g}"]
    shares = []
    for where, said in WHERE.items():
        if found := record.select(metric=f"tangent, {where}"):
            followed = record.one(metric=f"followed, {where}")
            shares.append([said, found[0]["n"], percent(found[0]), percent(followed)])
    beside = ["images", "n", "‖δ‖² in the tangent space", "the projection follows δ"]
    return f"{markdown(rows, header)}\n\n{markdown(shares, beside)}"


def _searches(record: Record) -> list[str]:
    return list(dict.fromkeys(row["defense"] for row in record.select(metric="accuracy")))


def _said(name: str) -> str:
    return OTHERS.get(name) or f"{int(name.removeprefix('inc-')):,} steps"


def draw(record: Record) -> plt.Figure:
    """Accuracy of each search, clean and attacked; a dotted line is the paper's."""
    figure, (axes,) = panels(width=8)
    names = _searches(record)
    (epsilon,) = {row["epsilon"] for row in record.select(attack="fgsm")}
    for attack, said, shade in (("clean", "clean", "C0"), ("fgsm", f"FGSM {epsilon:g}", "C1")):
        rows = [record.one(defense=name, attack=attack, metric="accuracy") for name in names]
        values, reach = whiskers(rows, 100)
        axes.errorbar(range(len(names)), values, yerr=reach, fmt="o", capsize=2, color=shade, label=said)
        for row in rows:
            if row["paper"] is not None:
                axes.axhline(100 * row["paper"], color=shade, ls=":", lw=1, label=f"the paper, {said}")
    axes.set_xticks(range(len(names)), [_said(name).replace(", ", ",\n") for name in names], rotation=30, ha="right")
    axes.set(ylabel="accuracy, %", ylim=(0, 101))
    axes.set_title(f"{title(record.dataset)}, n = {rows[0]['n']}, {INTERVALS}")
    legend(figure, 4)
    return figure


if __name__ == "__main__":
    main()
