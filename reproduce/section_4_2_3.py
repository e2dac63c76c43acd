"""Section 4.2.3: the combined attack. An encoder imitates the inversion; images that fool C∘G∘E are tried on INC.

The paper found no such attack that transfers, and gives no numbers. Here the encoder learns E(x) ≈ z*(x) from INC's own
projections of validation images, and FGSM and PGD are run on C∘G∘E.
"""

import click
from matplotlib.figure import Figure

import inc_tf as inc
from inc_tf import data
from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import accuracy_panels, labels
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, sweep
from inc_tf.evaluation.tables import accuracies
from inc_tf.saving import configuration, content_hash
from inc_tf.training import train_inversion_encoder

EPSILONS = (0.1, 0.2, 0.3)
ATTACKS = {"combined-fgsm": "FGSM on C∘G∘E", "combined-pgd": "PGD-40 on C∘G∘E"}
DEFENSES = {"combined": "C∘G∘E itself", **labels(["inc"])}
EPOCHS = 100
BATCH_SIZE = 50


@script("section_4_2_3", quick=100)
@click.option(
    "--inversions", default=200, show_default=True, help="Number of validation images whose inversions E is trained on."
)
def main(options: Options, inversions: int) -> None:
    """Section 4.2.3: attacks on C∘G∘E, where E imitates the inversion, and how far they carry over to INC."""
    run = experiment(options, "classifier", "generative")
    run.bench.made["combined"] = _imitation(run, inversions)
    run.record.deviations.append(
        f"The paper describes neither E nor its training nor the attack: here two convolutions and a dense layer learn "
        f"from {inversions} inversions; FGSM, and PGD with 40 steps."
    )
    attacks = [CLEAN, *(Attack(name, epsilon) for name in ATTACKS for epsilon in EPSILONS)]
    add_accuracies(run, sweep(run, run.images, attacks, list(DEFENSES)))
    run.finish(table(run.record), draw)


def _imitation(run: Run, inversions: int) -> inc.InvertAndClassify:
    """C∘G∘E with an E that has learnt from INC's inversions."""
    images = data.load(run.images.name, "validation").take(inversions)
    codes = sweep(run, images, [CLEAN], ["inc"], keep=("codes",))[CLEAN, "inc"]["codes"]
    generator = run.bench.parts.generator
    imitated = [run.bench.digest("generative"), images.digest, configuration(codes), run.bench.seed]
    encoder = train_inversion_encoder(
        generator,
        images.images,
        codes,
        seed=run.bench.seed,
        steps=max(1, EPOCHS * inversions // BATCH_SIZE),
        batch_size=min(BATCH_SIZE, inversions),
        directory=run.out / "runs" / f"inversion-encoder-{content_hash(imitated)[:16]}",
    )
    return inc.InvertAndClassify(run.bench.parts["classifier"], inc.EncoderProjector(encoder, generator))


def table(record: Record) -> str:
    """Markdown: a row for each attack and ε, a column for the imitation and one for INC."""
    return accuracies(record, ATTACKS, EPSILONS, DEFENSES)


def draw(record: Record) -> Figure:
    """A panel for each attack."""
    return accuracy_panels(record, "Section 4.2.3", ATTACKS, DEFENSES)


if __name__ == "__main__":
    main()
