"""Image files through a defence: what `inc defend` does."""

from pathlib import Path

from inc_tf.data.image_files import read, write
from inc_tf.defense import InvertAndClassify
from inc_tf.serving import answer


def defend(defense: InvertAndClassify, paths: list[Path], *, seed: int = 0, out: Path | None = None) -> list[dict]:
    """What becomes of each image file, in order.

    Returns: for each `file`, the fields of `answer.rows`: its class and that one's probability, the distance
    ‖G(z*) − x‖₂, the threshold η, and whether it is accepted. With `out` the projections are written there, as
    `<the file's name>-projection.png`. Raises `InputError` where `read` does, before any work.
    """
    images = read(paths, defense.image_shape, defense.bounds)
    found = defense(images, seed=seed)
    if out is not None:
        for path, projection in zip(paths, found.projections.numpy(), strict=True):
            write(out / f"{path.stem}-projection.png", projection, defense.bounds)
    rows = answer.rows(found, defense)
    return [{"file": str(path), **row} for path, row in zip(paths, rows, strict=True)]
