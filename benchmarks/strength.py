"""How strong our attacks are beside Foolbox's and ART's best at an equal budget of gradients, on every defence.

    python benchmarks/strength.py
    python benchmarks/strength.py --n 10 --epsilon 0.3

Each runs on the same function, with the same gradients: the classifier, the autoencoder, or the stand-in for the search
with the fast solver that takes the implicit gradient. Each may take a gradient 40 times an image from one random start.
Writes `benchmarks/results/strength.json`.
"""

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import foolbox
import numpy as np
import tensorflow as tf
from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescentTensorFlowV2
from art.estimators.classification import TensorFlowV2Classifier

import inc_tf as inc
from inc_tf import checkpoints, estimates, zoo
from inc_tf.attacks.differentiable import implicit
from inc_tf.attacks.losses import Loss
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.tables import markdown, percent

RESULT = Path(__file__).parent / "results" / "strength.json"
STEPS, SEED, BATCH = 40, 0, 256
Function = Callable[..., tf.Tensor]
Attack = Callable[[np.ndarray, np.ndarray], np.ndarray]


def attacks(function: Function, bounds: inc.data.Bounds, shape: tuple[int, ...], epsilon: float) -> dict[str, Attack]:
    """By library and attack, functions from images and labels to adversarial images."""
    peer = foolbox.TensorFlowModel(function, bounds=bounds)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    estimator = TensorFlowV2Classifier(function, nb_classes=10, input_shape=shape, loss_object=loss, clip_values=bounds)
    step = 2.5 * epsilon / STEPS
    ball = {"eps": epsilon, "max_iter": STEPS, "batch_size": BATCH, "verbose": False}

    def ours(attack: Callable[..., tf.Tensor], loss: Loss) -> Attack:
        return lambda x, y: attack(
            function, x, y, bounds=bounds, seed=SEED, epsilon=epsilon, steps=STEPS, loss=loss
        ).numpy()

    def by_foolbox(attack: foolbox.Attack) -> Attack:
        return lambda x, y: attack(peer, tf.constant(x), tf.constant(y), epsilons=epsilon)[1].numpy()

    return {
        "inc_tf, PGD, cross-entropy": ours(inc.attacks.pgd, "cross-entropy"),
        "inc_tf, AutoPGD, cross-entropy": ours(inc.attacks.auto_pgd, "cross-entropy"),
        "inc_tf, AutoPGD, margin": ours(inc.attacks.auto_pgd, "margin"),
        "Foolbox, PGD": by_foolbox(foolbox.attacks.LinfPGD(abs_stepsize=step, steps=STEPS)),
        "Foolbox, FMN": by_foolbox(foolbox.attacks.LInfFMNAttack(steps=STEPS)),
        "ART, PGD": ProjectedGradientDescentTensorFlowV2(estimator, eps_step=step, num_random_init=1, **ball).generate,
        "ART, AutoPGD, cross-entropy": AutoProjectedGradientDescent(
            estimator, eps_step=2 * epsilon, nb_random_init=1, loss_type="cross_entropy", **ball
        ).generate,
        "ART, AutoPGD, DLR": AutoProjectedGradientDescent(
            estimator, eps_step=2 * epsilon, nb_random_init=1, loss_type="difference_logits_ratio", **ball
        ).generate,
    }


TRAINED = ("undefended", "manifold-trained", "pgd-trained")


def _parts(name: str) -> zoo.Parts:
    source = inc.data.SOURCES[name]
    wanted = ("classifier", "generative", "manifold-trained", "pgd-trained")
    return zoo.parts(source, tuple(part for part in wanted if part in source.checkpoints))


def surfaces(name: str, data: inc.data.Dataset) -> dict[str, tuple[Function, Function]]:
    """By defence, what is attacked, and the defence itself: functions from images to logits."""
    parts = _parts(name)
    trained = {one: zoo.build(one, parts) for one in TRAINED if set(zoo.DEFENSES[one].parts) <= parts.models.keys()}
    autoencoder, fast = zoo.build("autoencode", parts), zoo.build("inc-fast", parts)
    stand_in = implicit(fast)

    def through_encoder(images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return autoencoder(images).logits

    return {
        **{defense: (model, model) for defense, model in trained.items()},
        "autoencode": (through_encoder, through_encoder),
        "inc-fast": (lambda images, training=False: stand_in(images), lambda images: fast(images).logits),
    }


@click.command()
@click.option("--n", default=50, show_default=True, help="Images.")
@click.option("--epsilon", default=0.2, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULT)
def main(n: int, epsilon: float, out: Path) -> None:
    """Accuracy that each attack leaves each of MNIST's defences."""
    name = inc.data.mnist_or_digits()
    data = inc.data.load(name, "test").take(n)
    known = inc.data.SOURCES[name].checkpoints
    used = {known[part] for part in ("classifier", *TRAINED[1:], "generative") if part in known}
    hashes = {card: checkpoints.card(card)["sha256"] for card in sorted(used)}
    record = Record(
        "strength", f"python benchmarks/strength.py --n {n} --epsilon {epsilon:g}", name, True, SEED, hashes
    )
    for defense, (function, whole) in surfaces(name, data).items():
        for attack, run in attacks(function, data.bounds, data.images.shape[1:], epsilon).items():
            tf.random.set_seed(SEED)
            np.random.seed(SEED)  # noqa: NPY002  (ART draws from it)
            found = np.clip(run(data.images, data.labels), data.images - epsilon, data.images + epsilon)
            right = whole(tf.constant(found)).numpy().argmax(axis=1) == data.labels
            record.add(estimates.share(right), metric="accuracy", defense=defense, attack=attack, epsilon=epsilon)
            click.echo(f"{defense}: {attack}: {percent(record.rows[-1])}", err=True)
    record.write(out)
    click.echo(table(record))


def table(record: Record) -> str:
    """A row for each attack, a column for each defence."""
    defenses, names = ([*dict.fromkeys(row[field] for row in record.rows)] for field in ("defense", "attack"))
    lines = [[name, *(percent(record.one(attack=name, defense=one)) for one in defenses)] for name in names]
    return markdown(lines, ["attack", *(zoo.DEFENSES[one].label for one in defenses)])


if __name__ == "__main__":
    main()
