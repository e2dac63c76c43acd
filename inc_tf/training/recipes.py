"""The checkpoints that ship, each as the recipe that makes it: `inc train NAME`."""

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from inc_tf import checkpoints, data, evaluation
from inc_tf.errors import InputError
from inc_tf.models import mnist
from inc_tf.training import classifier, vae


@dataclass(frozen=True)
class Recipe:
    """How one checkpoint is made: `build` the network, `train` it on `dataset` with `arguments`, `measure` it."""

    dataset: str
    build: Callable[[], keras.Model]
    train: Callable[..., float]
    metric: str
    measure: Callable[[keras.Model, data.Dataset], evaluation.Estimate]
    arguments: dict = field(default_factory=dict)


def _classifier(dataset: str, **arguments) -> Recipe:
    return Recipe(dataset, mnist.classifier, classifier.train, "accuracy", classifier.accuracy, arguments)


def _vae(dataset: str, build: Callable[[], mnist.VAE] = mnist.vae, **arguments) -> Recipe:
    return Recipe(dataset, build, vae.train, "reconstruction_mse", vae.reconstruction_mse, arguments)


RECIPES = {
    "mnist-classifier": _classifier("mnist", steps=20_000, batch_size=50),
    "mnist-vae": _vae("mnist", steps=41_250, batch_size=100),
    "mnist-vae-2d": _vae("mnist", mnist.vae_2d, steps=41_250, batch_size=100),
    "digits-classifier": _classifier("digits", steps=4_000, batch_size=50),
    "digits-vae": _vae("digits", steps=8_000, batch_size=100),
    "digits-vae-2d": _vae("digits", mnist.vae_2d, steps=8_000, batch_size=100),
}


def train(name: str, *, seed: int = 0, steps: int | None = None, run_dir: Path | None = None) -> Path:
    """Train checkpoint `name` from scratch, or carry on where a killed run was; returns the `.keras` file's path.

    Args:
      name: a key of `RECIPES`.
      seed: of the weights, the order of the data and the noise.
      steps: instead of the recipe's.
      run_dir: keeps the state and TensorBoard's logs; default `runs/<name>`.

    The checkpoint and its card are written to `checkpoints.directory()`. Raises `InputError` for an unknown name, steps
    below 1, or a `run_dir` that holds another run.
    """
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.")
    recipe = RECIPES[name]
    arguments = {**recipe.arguments, **({} if steps is None else {"steps": steps})}
    if arguments["steps"] < 1:
        raise InputError(f"steps is {steps}; it must be at least 1.")
    settings = {"name": name, "seed": seed, **arguments}
    splits = {split: data.load(recipe.dataset, split) for split in data.SPLITS}
    keras.utils.set_random_seed(seed)
    model = recipe.build()
    seconds = recipe.train(
        model,
        splits["train"],
        splits["validation"],
        settings=settings,
        seed=seed,
        directory=run_dir or Path("runs") / name,
        **arguments,
    )
    fields = {
        "architecture": f"{recipe.build.__module__}.{recipe.build.__name__}",
        "parameters": model.count_params(),
        "image_shape": list(splits["train"].images.shape[1:]),
        "bounds": list(splits["train"].bounds),
        "dataset": recipe.dataset,
        "train_images": len(splits["train"]),
        **{key: value for key, value in settings.items() if key != "name"},
        "images_seen": arguments["steps"] * arguments["batch_size"],
        "seconds": round(seconds, 1),
        "command": f"inc train {name} --seed {seed}" + ("" if steps is None else f" --steps {steps}"),
        "metrics": {f"test_{recipe.metric}": recipe.measure(model, splits["test"])._asdict()},
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
    }
    return checkpoints.save(model, name, fields)
