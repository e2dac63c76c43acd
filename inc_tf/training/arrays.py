"""A BEGAN that was trained outside TensorFlow: its weights, as NumPy wrote them, made the checkpoint that ships.

    python -m inc_tf.training.arrays FOLDER

writes `celeba-began` from these files of FOLDER: `generator.npz` and `decoder.npz` (`dense`, `conv0` …, `out`),
`encoder_convolutions.npz` and `encoder_dense.npz` (`conv0` …, `dense`; an array may be in either), and `log.jsonl`,
whose last line has the losses. Arrays are named ``<layer>/kernel`` and ``<layer>/bias`` and have Keras's own shapes.
"""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import click
import keras
import numpy as np

from inc_tf import checkpoints, data
from inc_tf.errors import InputError
from inc_tf.models import celeba
from inc_tf.training.recipes import RECIPES, card_fields

NAME = "celeba-began"
_BATCH_SIZE = 16
_LOGGED = {"real": "loss/real", "gen": "loss/generated", "M": "convergence", "k": "k"}  # the log's names and ours
_ORIGIN = (
    "The update of inc_tf.training.began written in JAX 0.11.2 and run on one NVIDIA H100, in bfloat16 as Keras's "
    "mixed precision has it; from the same weights, images and codes the two differ after four steps by at most 5e-5 "
    "of the change (float32, width 8). `command` trains the same with TensorFlow. The discriminator's weights are "
    "rounded to float16."
)


def save(folder: Path) -> Path:
    """Write `celeba-began` and its card from the files of `folder`; returns the `.keras` file's path.

    Raises `InputError` where `began` does, and for a log that is missing or is not JSON.
    """
    model, recipe = began(folder), RECIPES[NAME]
    last, seconds = _log(folder / "log.jsonl")
    settings = {
        "seed": 0,
        "width": _width(model.generator),
        "steps": int(last["t"]),
        "batch_size": _BATCH_SIZE,
        "precision": "mixed_bfloat16",
    }
    command = f"inc train {NAME} --seed 0 --steps {settings['steps']} --width {settings['width']} --mixed-precision"
    splits = {split: data.load(recipe.dataset, split) for split in ("train", "test")}
    fields = card_fields(recipe, model, splits, settings, seconds, command)
    losses = {name: round(last[key], 4) for key, name in _LOGGED.items()}
    return checkpoints.save(model, NAME, {**fields, "origin": _ORIGIN, "last": losses})


def began(folder: Path) -> celeba.BEGAN:
    """The BEGAN of the files in `folder`, float32, whose width and code are those of `generator.npz`.

    Raises `InputError` for a file or an array that is missing, of another shape, superfluous, or not finite.
    """
    maker = generator(folder / "generator.npz")
    model = celeba.began(_width(maker), maker.input_shape[1])
    model.generator.set_weights(maker.get_weights())
    _assign(model.decoder, *_arrays(folder / "decoder.npz"))
    convolutions, dense = (_arrays(folder / f"encoder_{part}.npz") for part in ("convolutions", "dense"))
    _assign(model.encoder, convolutions[0] | dense[0], f"{convolutions[1]} and {dense[1]}")
    return model


def generator(path: Path) -> keras.Model:
    """The generator alone, of one file such as `generator.npz`; raises `InputError` as `began` does."""
    arrays, where = _arrays(path)
    if "dense/kernel" not in arrays:
        raise InputError(f"{where} lacks the array 'dense/kernel', of (k, 64·n) for codes of k dimensions and width n.")
    kernel = arrays["dense/kernel"]
    if kernel.ndim != 2 or kernel.shape[1] < 64 or kernel.shape[1] % 64:
        raise InputError(f"{where} has dense/kernel of {kernel.shape}; a generator of width n has (k, 64·n).")
    model = celeba.began(kernel.shape[1] // 64, kernel.shape[0]).generator
    _assign(model, arrays, where)
    return model


def _width(maker: keras.Model) -> int:
    return maker.layers[-2].filters


def _arrays(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of an `.npz` file by name, and how to speak of the file."""
    try:
        # Opened here, since NumPy leaves what it cannot read open.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            return dict(file), repr(str(path))
    except FileNotFoundError as error:
        raise InputError(f"There is no file {str(path)!r}.") from error
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{str(path)!r} is not an .npz file of plain arrays, as numpy.savez writes it.") from error


def _assign(model: keras.Model, arrays: dict[str, np.ndarray], where: str) -> None:
    expected = {f"{layer}/{weight.name}": weight for layer, weights in _named(model) for weight in weights}
    for name, weight in expected.items():
        if name not in arrays:
            raise InputError(f"{where} lacks the array {name!r}, of {tuple(weight.shape)}.")
        found = arrays[name]
        if found.shape != tuple(weight.shape):
            raise InputError(
                f"{where} has {name} of {found.shape}, where the {model.name} of this generator's width has "
                f"{tuple(weight.shape)}."
            )
        if not np.all(np.isfinite(found)):
            raise InputError(f"{where} has values in {name} that are not finite.")
    if superfluous := sorted(arrays.keys() - expected):
        raise InputError(f"{where} also holds {', '.join(superfluous)}: it is of another architecture.")
    for name, weight in expected.items():
        weight.assign(arrays[name])


def _named(model: keras.Model) -> Iterator[tuple[str, list[keras.Variable]]]:
    """The layers' names in the files: `dense`, `conv0`, `conv1` … and, of what makes images, `out` for the last."""
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            yield "dense", layer.weights
    for i, layer in enumerate(convolutions):
        yield "out" if layer is model.layers[-1] else f"conv{i}", layer.weights


def _log(path: Path) -> tuple[dict[str, float], float]:
    """The last line of a log, and the seconds of all."""
    try:
        log = [json.loads(line) for line in path.read_text().splitlines()]
        log = [{key: float(entry[key]) for key in ("t", "s", *_LOGGED)} for entry in log]
        return log[-1], sum(entry["s"] for entry in log)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{str(path)!r} is not a log of training, a JSON object with t, real, gen, M, k and s a line."
        ) from error


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path))
def main(folder: Path) -> None:
    try:
        click.echo(save(folder))
    except InputError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
