"""Section 4.2.3: the combined attack. An encoder imitates the inversion; what fools C∘G∘E is tried on INC.

The paper found no such attack that carries over, and gives no figure. Here the encoder learns E(x) ≈ z*(x) from INC's
own answers on validation images, and FGSM and PGD are run on C∘G∘E.
"""

from pathlib import Path

import click

import inc_tf as inc
from inc_tf import data
from inc_tf.attacks import combined
from inc_tf.evaluation.experiment import Experiment, accuracy_panels, accuracy_table, options
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, sweep

EPSILONS = (0.1, 0.2, 0.3)
ATTACKS = {"combined-fgsm": "FGSM on C∘G∘E", "combined-pgd": "PGD-40 on C∘G∘E"}
DEFENSES = {"combined": "C∘G∘E itself", "inc": "INC"}
EPOCHS = 100
BATCH_SIZE = 50


@click.command("section_4_2_3")
@options(quick=100)
@click.option("--inversions", default=200, show_default=True, help="Validation images whose inversions E learns from.")
def main(dataset: str, n: int, full: bool, seed: int, out: Path, quiet: bool, inversions: int) -> None:
    """Section 4.2.3: attacks on C∘G∘E, where E imitates the inversion, and how far they carry over to INC."""
    experiment = Experiment(dataset, n, full, seed, out, quiet, models=("classifier", "generative"))
    trained = {"inversions": inversions, "encoder_epochs": EPOCHS}
    experiment.made["combined"] = _imitation(experiment, inversions)
    experiment.record.deviations.append(
        f"The paper describes neither E nor its training nor the attack: here two convolutions and a dense layer learn "
        f"from {inversions} inversions; FGSM, and PGD with 40 steps."
    )
    attacks = [Attack("clean", 0.0, surrogate=trained)]
    attacks += [Attack(name, epsilon, surrogate=trained) for name in ATTACKS for epsilon in EPSILONS]
    add_accuracies(experiment, sweep(experiment, experiment.data, attacks, list(DEFENSES)))
    experiment.finish(
        accuracy_table(experiment.record, ATTACKS, EPSILONS, DEFENSES),
        lambda record: accuracy_panels(record, "Section 4.2.3", ATTACKS, DEFENSES),
    )


def _imitation(experiment: Experiment, inversions: int) -> inc.InvertAndClassify:
    """C∘G∘E with an E that has learnt from INC's inversions."""
    seed = experiment.record.seed
    images = data.load(experiment.record.dataset, "validation").take(inversions)
    answer = sweep(experiment, images, [CLEAN], ["inc"], keep=("codes",))[CLEAN, "inc"]
    generator = experiment.models["generative"].generator
    encoder = combined.train_inversion_encoder(
        generator,
        images.images,
        answer["codes"],
        seed=seed,
        steps=max(1, EPOCHS * inversions // BATCH_SIZE),
        batch_size=min(BATCH_SIZE, inversions),
        directory=experiment.out / "runs" / f"inversion-encoder-{experiment.record.dataset}-{inversions}-{seed}",
    )
    return inc.InvertAndClassify(experiment.models["classifier"], inc.EncoderProjector(encoder, generator))


if __name__ == "__main__":
    main()
