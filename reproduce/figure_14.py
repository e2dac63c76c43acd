"""Figure 14: where eq. (12)'s attack sends the encoder's code, and where the search stays (Appendix A).

A VAE with two latent dimensions, so that the whole latent space can be drawn: coloured by the class of G(z), with the
code of each clean image and of its attacked twin, by the encoder and by the search.
"""

import matplotlib.pyplot as plt
import numpy as np

from inc_tf import estimates
from inc_tf.cli.scripts import script
from inc_tf.evaluation.plots import panels, title
from inc_tf.evaluation.records import Record
from inc_tf.evaluation.run import Options, Run, experiment
from inc_tf.evaluation.sweep import CLEAN, Attack, add_accuracies, sweep
from inc_tf.evaluation.tables import markdown

EPSILON = 0.2
SHOWN = 30
DEFENSES = {"autoencode": "E(x) → E(x_adv)", "inc": "z*(x) → z*(x_adv)", "inc-fast": "… by the fast search"}


@script("figure_14", quick=100)
def main(options: Options) -> None:
    """Figure 14: the two-dimensional latent space, and how far the attack on the autoencoder moves each code."""
    run = experiment(options, "classifier", "generative", generative="generative-2d")
    attack = Attack("autoencode-fgsm", EPSILON)
    answers = sweep(run, run.images, [CLEAN, attack], list(DEFENSES), keep=("codes",))
    add_accuracies(run, answers)
    moves = {}
    for name in DEFENSES:
        moves[name] = tuple(answers[case, name]["codes"] for case in (CLEAN, attack))
        shift = estimates.mean(np.linalg.norm(moves[name][1] - moves[name][0], axis=1))
        run.record.add(shift, metric="code_shift", defense=name, attack=attack.name, epsilon=EPSILON)
    run.finish(table(run.record), lambda record: draw(record, run, moves))


def table(record: Record) -> str:
    """Markdown: a row for each projector."""
    rows = []
    for name, label in DEFENSES.items():
        shift = record.one(defense=name, metric="code_shift")
        clean, attacked = (record.one(defense=name, metric="accuracy", epsilon=e)["value"] for e in (0.0, EPSILON))
        rows.append([label, shift["n"], f"{shift['value']:.2f}", f"{100 * clean:.1f} %", f"{100 * attacked:.1f} %"])
    header = ["code", "n", "mean shift", "accuracy, clean", f"accuracy, eq. (12) at ε {EPSILON}"]
    return markdown(rows, header)


def draw(record: Record, run: Run, moves: dict) -> plt.Figure:
    """The latent space by the class of G(z), with an arrow from each clean code to the attacked one."""
    reach = 1.1 * max(np.abs(part[:SHOWN]).max() for pair in moves.values() for part in pair)
    line = np.linspace(-reach, reach, 120, dtype=np.float32)
    codes = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    generated = run.bench.parts["generative"].generator.predict(codes, batch_size=1000, verbose=0)
    classes = run.bench.parts["classifier"].predict(generated, batch_size=500, verbose=0).argmax(axis=1)
    figure, beside = panels(len(DEFENSES), 17, 5.5)
    for axes, (name, label) in zip(beside, DEFENSES.items(), strict=True):
        shown = classes.reshape(120, 120)
        mesh = axes.pcolormesh(line, line, shown, cmap="tab10", vmin=-0.5, vmax=9.5, alpha=0.5, rasterized=True)
        start, end = (part[:SHOWN] for part in moves[name])
        axes.quiver(*start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1, width=0.003)
        axes.set(title=label, xlabel="z₁", ylabel="z₂", xlim=(-reach, reach), ylim=(-reach, reach))
    figure.colorbar(mesh, ax=list(beside), ticks=range(10), label="class of G(z)")
    figure.suptitle(f"Figure 14: {title(record.dataset)}, two latent dimensions, eq. (12)'s attack at ε = {EPSILON}")
    return figure


if __name__ == "__main__":
    main()
