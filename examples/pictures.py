"""The pictures that the README and the documentation open with.

`docs/strip.png` and `docs/strip.gif`: a digit, the digit attacked, the projection as the search finds it, and the class
that it is given; once under an attack on the classifier, once under an attack that knows the defence. MNIST is read as
the library reads it. `docs/faces.png` and `docs/faces.gif`: faces that the generator makes, attacked, and projected by
the fast search. `examples/seven.png`: a digit of scikit-learn's, for `inc defend`.

    python examples/pictures.py
"""

import dataclasses
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.animation import FuncAnimation, PillowWriter

import inc_tf as inc
from inc_tf.attacks.differentiable import implicit
from inc_tf.data import image_files
from inc_tf.data.scaling import to_unit

ROOT = Path(__file__).parent.parent
EPSILON = 0.3
STEPS = (0, 1, 2, 3, 5, 8, 12, 20, 35, 60, 100, 200, 500, 2000)
N = 40
FACES, FACES_EPSILON = 3, 0.1
FACES_STEPS = (1, 2, 4, 7, 12, 20, 35, 60, 100, 200)


def seven() -> None:
    """Write the first seven of the digits' test split."""
    digits = inc.data.load("digits")
    first = digits.images[digits.labels == 7][0]
    image_files.write(ROOT / "examples" / "seven.png", first, digits.bounds)


def attacked(test: inc.data.Dataset) -> dict[str, np.ndarray]:
    """The images under each of the two attacks, by the row's label."""
    fast = inc.load("mnist-inc-fast")
    given = {"bounds": test.bounds, "epsilon": EPSILON}
    return {
        "attack on\nthe classifier": inc.attacks.fgsm(fast.classifier, test.images, test.labels, **given).numpy(),
        "attack on\nthe defence": inc.attacks.auto_pgd(implicit(fast), test.images, test.labels, **given).numpy(),
    }


def search(images: np.ndarray) -> list[inc.Classification]:
    """What the paper's search has found of the images after each of `STEPS`."""
    paper = inc.load("mnist-inc")
    found = []
    for steps in STEPS:
        solver = dataclasses.replace(paper.projector.solver, steps=max(steps, 1))
        # A rate of next to nothing shows the start.
        solver = solver if steps else dataclasses.replace(solver, learning_rate=1e-9)
        projector = paper.projector.with_solver(solver)
        found.append(inc.InvertAndClassify(paper.classifier, projector, paper.threshold)(images))
    return found


def strip(test: inc.data.Dataset) -> None:
    """Draw one digit under both attacks: the first that the one misleads without the defence, the other with it."""
    classifier = inc.load("mnist-classifier")
    rows = attacked(test)
    bare = [classifier(images, training=False).numpy().argmax(axis=1) for images in rows.values()]
    searches = [search(images) for images in rows.values()]
    weak, strong = (found[-1].predictions.numpy() for found in searches)
    (candidates,) = np.nonzero((bare[0] != test.labels) & (weak == test.labels) & (strong != test.labels))
    chosen = candidates[0]
    label = test.labels[chosen]

    figure, cells = plt.subplots(2, 4, figsize=(8, 4.1), width_ratios=(1, 1, 1, 1.25), layout="constrained")
    for line, (name, images), guess in zip(cells, rows.items(), bare, strict=True):
        line[0].imshow(test.images[chosen], cmap="gray", vmin=0, vmax=1)
        line[1].imshow(images[chosen], cmap="gray", vmin=0, vmax=1)
        line[0].set_ylabel(name, fontsize=11)
        line[1].set_xlabel(f"undefended: {guess[chosen]}", color=_verdict(guess[chosen] == label))
    for cell, name in zip(cells[0], ("digit", f"attacked, ε = {EPSILON}", "projection G(z)", "answer"), strict=True):
        cell.set_title(name, fontsize=11)
    for cell in cells.flat:
        cell.set(xticks=[], yticks=[])
        cell.spines[:].set_visible(False)
    shown = [line[2].imshow(np.zeros((28, 28, 1)), cmap="gray", vmin=0, vmax=1) for line in cells]
    answers = [line[3].text(0.5, 0.55, "", ha="center", va="center", fontsize=28) for line in cells]
    details = [line[3].text(0.5, 0.22, "", ha="center", va="center", fontsize=11) for line in cells]

    def frame(t: int) -> None:
        for picture, answer, detail, found in zip(shown, answers, details, searches, strict=True):
            guess = int(found[t].predictions[chosen])
            picture.set_data(found[t].projections[chosen])
            answer.set(text=str(guess), color=_verdict(guess == label))
            judged = "rejected" if found[t].rejected[chosen] else "accepted"
            detail.set_text(f"distance {found[t].distances[chosen]:.1f}: {judged}\nT = {STEPS[t]:,}")

    frame(len(STEPS) - 1)
    figure.savefig(ROOT / "docs" / "strip.png", dpi=100)
    held = [*range(len(STEPS)), *[len(STEPS) - 1] * 6]
    FuncAnimation(figure, frame, frames=held).save(ROOT / "docs" / "strip.gif", PillowWriter(fps=3), dpi=80)


def faces() -> None:
    """Draw faces that the generator makes under PGD on the classifier, and the fast search that finds them again.

    Shown are the first that the attack misleads, and what the class of each is before it.
    """
    fast = inc.load("celeb_a-inc-fast")
    names, bounds = fast.class_names, fast.bounds
    codes = np.random.default_rng(0).standard_normal((16, fast.projector.generator.input_shape[1]))
    made = np.clip(fast.projector.generator(codes.astype(np.float32), training=False), *bounds)
    labels = fast.classifier(made, training=False).numpy().argmax(axis=1)
    attacked = inc.attacks.pgd(fast.classifier, made, labels, bounds=bounds, epsilon=FACES_EPSILON, steps=10).numpy()
    alone = _confidences(fast.classifier(attacked, training=False))
    chosen = np.flatnonzero(alone.argmax(axis=1) != labels)[:FACES]
    made, labels, attacked, alone = made[chosen], labels[chosen], attacked[chosen], alone[chosen]
    searches = []
    for steps in FACES_STEPS:
        solver = dataclasses.replace(fast.projector.solver, steps=steps)
        projector = fast.projector.with_solver(solver)
        searches.append(inc.InvertAndClassify(fast.classifier, projector, bounds=bounds)(attacked))

    def said(confidences: np.ndarray) -> str:
        return f"{names[confidences.argmax()]}, {confidences.max():.0%}"

    figure, cells = plt.subplots(3, len(chosen), figsize=(2.1 * len(chosen), 7.2), layout="constrained")
    for row, name in zip(cells, ("G(z)", f"attacked, ε = {FACES_EPSILON}", "projection"), strict=True):
        row[0].set_ylabel(name, fontsize=11)
    for cell in cells.flat:
        cell.set(xticks=[], yticks=[])
        cell.spines[:].set_visible(False)
    for i, column in enumerate(cells.T):
        column[0].imshow(_shown(made[i], bounds))
        column[0].set_xlabel(names[labels[i]])
        column[1].imshow(_shown(attacked[i], bounds))
        column[1].set_xlabel(f"alone: {said(alone[i])}", color=_verdict(alone[i].argmax() == labels[i]))
    pictures = [cell.imshow(np.zeros_like(made[0])) for cell in cells[2]]

    def frame(t: int) -> None:
        confidences = _confidences(searches[t].logits)
        for i, (picture, cell) in enumerate(zip(pictures, cells[2], strict=True)):
            picture.set_data(_shown(searches[t].projections[i].numpy(), bounds))
            right = confidences[i].argmax() == labels[i]
            cell.set_xlabel(f"behind INC: {said(confidences[i])}", color=_verdict(right))
        figure.suptitle(f"the search after {FACES_STEPS[t]} steps", fontsize=11)

    frame(len(FACES_STEPS) - 1)
    figure.savefig(ROOT / "docs" / "faces.png", dpi=100)
    held = [*range(len(FACES_STEPS)), *[len(FACES_STEPS) - 1] * 6]
    FuncAnimation(figure, frame, frames=held).save(ROOT / "docs" / "faces.gif", PillowWriter(fps=3), dpi=56)


def _confidences(logits) -> np.ndarray:
    return tf.nn.softmax(logits).numpy()


def _shown(image: np.ndarray, bounds: inc.data.Bounds) -> np.ndarray:
    """As Matplotlib shows it."""
    return np.clip(to_unit(image, bounds), 0, 1)


def _verdict(right: bool) -> str:
    """Green where the class is right, red where it is not, as colour-blind readers tell them apart."""
    return "#117733" if right else "#cc3311"


if __name__ == "__main__":
    seven()
    strip(inc.data.load("mnist").take(N))
    faces()
