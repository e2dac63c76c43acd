"""Image files through a defence: what `inc defend` does."""

from pathlib import Path

import tensorflow as tf

from inc_tf.data.image_files import read, write
from inc_tf.defense import InvertAndClassify


def defend(defense: InvertAndClassify, paths: list[Path], *, seed: int = 0, out: Path | None = None) -> list[dict]:
    """What the defence makes of each image file, in order.

    Returns: for each `file`, its `label`, the `probability` of it, `distance` ‖G(z*) − x‖₂, `threshold` η and whether
    it is `accepted`. With `out` the projections are written there, as `<the file's name>-projection.png`. Raises
    `InputError` where `read` does, before any work.
    """
    images = read(paths, defense.image_shape, defense.bounds)
    answer = defense(images, seed=seed)
    probabilities = tf.nn.softmax(answer.logits).numpy().max(axis=1)
    found = []
    for i, path in enumerate(paths):
        if out is not None:
            write(out / f"{path.stem}-projection.png", answer.projections[i].numpy(), defense.bounds)
        found.append(
            {
                "file": str(path),
                "label": int(answer.predictions[i]),
                "probability": float(probabilities[i]),
                "distance": float(answer.distances[i]),
                "threshold": defense.threshold,
                "accepted": not bool(answer.rejected[i]),
            }
        )
    return found
