"""Recipes for the checkpoints that ship, one for each: `inc train NAME`."""

import math
import os
import platform
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from inc_tf import checkpoints, data, estimates
from inc_tf.errors import InputError
from inc_tf.models import celeba, mnist
from inc_tf.models.diffusion import unet
from inc_tf.models.wgan import wgan
from inc_tf.registry import suggestion
from inc_tf.training import began, classifier, diffusion, loop, manifold, pgd, vae
from inc_tf.training import wgan as adversarial_networks

_MIXED = "mixed_bfloat16"
_SEED = "-seed-"

STRATEGIES = {"mirrored": tf.distribute.MirroredStrategy, "multi-worker": tf.distribute.MultiWorkerMirroredStrategy}


@dataclass(frozen=True)
class Recipe:
    """How to make one checkpoint: `build` the network, `train` it on `dataset` with `arguments`, `measure` it.

    `width` is passed to `build`, for networks that have one. `initial` is the checkpoint whose weights training starts
    from. `history` names the scalars of TensorBoard's log that the card keeps.
    """

    dataset: str
    build: Callable[..., keras.Model]
    train: Callable[..., float]
    metric: str
    measure: Callable[[keras.Model, data.Dataset], estimates.Estimate]
    arguments: dict = field(default_factory=dict)
    width: int | None = None
    initial: str | None = None
    history: tuple[str, ...] = ()


def _classifier(dataset: str, build: Callable[[], keras.Model] = mnist.classifier, **arguments) -> Recipe:
    return Recipe(dataset, build, classifier.train, "accuracy", classifier.accuracy, arguments)


def _vae(dataset: str, build: Callable[[], mnist.VAE] = mnist.vae, **arguments) -> Recipe:
    return Recipe(dataset, build, vae.train, "reconstruction_mse", vae.reconstruction_mse, arguments)


def _began(width: int, steps: int) -> Recipe:
    return Recipe(
        "celeb_a",
        celeba.began,
        began.train,
        "reconstruction_mse",
        vae.reconstruction_mse,
        {"steps": steps, "batch_size": 16},
        width=width,
    )


def _diffusion(dataset: str, width: int, **arguments) -> Recipe:
    return Recipe(
        dataset,
        unet,
        diffusion.train,
        "noise_mse",
        diffusion.noise_mse,
        {"batch_size": 32, "learning_rate": 2e-3, "average": 0.99, **arguments},
        width=width,
    )


def _overpowered(initial: str, dataset: str, build: Callable[[], keras.Model], **arguments) -> Recipe:
    return Recipe(
        dataset,
        build,
        manifold.train,
        "accuracy",
        classifier.accuracy,
        {"mu": 1.0, "pairs": 64, "attack_steps": 20, "lifetime": 25, **arguments},
        initial=initial,
        history=("loss", "pairs/loss", "pairs/feasible", "pairs/flips"),
    )


def _pgd(initial: str, dataset: str, **arguments) -> Recipe:
    return Recipe(
        dataset,
        mnist.classifier,
        pgd.train,
        "accuracy",
        classifier.accuracy,
        {"epsilon": 0.3, "attack_steps": 7, "batch_size": 100, **arguments},
        initial=initial,
    )


_SQUARED_DISTANCE = 2e-4  # η² a value of the image, the paper's 2.4576 on CelebA

RECIPES = {
    "mnist-classifier": _classifier("mnist", steps=20_000, batch_size=50),
    "mnist-classifier-overpowered": _overpowered(
        "mnist-classifier",
        "mnist",
        mnist.classifier,
        generator="mnist-vae",
        eta=math.sqrt(_SQUARED_DISTANCE * math.prod(mnist.IMAGE_SHAPE)),
        steps=500,
        batch_size=50,
    ),
    "mnist-classifier-pgd": _pgd(
        "mnist-classifier",
        "mnist",
        steps=6_000,
        growth=3_000,
        ramp=1_000,
        mu=10.0,
        learning_rate=1e-3,
        decay=True,
    ),
    "mnist-classifier-noise": _classifier(
        "mnist", steps=3_000, batch_size=100, learning_rate=1e-3, decay=True, noise=0.5
    ),
    "mnist-vae": _vae("mnist", steps=41_250, batch_size=100),
    "mnist-vae-2d": _vae("mnist", mnist.vae_2d, steps=41_250, batch_size=100),
    "mnist-wgan": Recipe(
        "mnist",
        wgan,
        adversarial_networks.train,
        "wasserstein",
        adversarial_networks.wasserstein,
        {"steps": 15_000, "batch_size": 50, "learning_rate": 3e-4, "decay": True, "critic_steps": 3},
        width=32,  # Defense-GAN's has 64, and 200,000 steps
    ),
    "mnist-diffusion": _diffusion("mnist", width=16, steps=6_000, batch_size=128, learning_rate=1e-3, average=0.999),
    "celeba-gender": _classifier(
        "celeb_a",
        celeba.classifier,
        steps=2180,
        batch_size=128,
        learning_rate=3e-4,
        decay=True,
        average=0.99,
        mirror=True,
    ),
    "celeba-gender-overpowered": _overpowered(
        "celeba-gender",
        "celeb_a",
        celeba.classifier,
        generator="celeba-began",
        eta=math.sqrt(_SQUARED_DISTANCE * math.prod(celeba.IMAGE_SHAPE)),
        mu=10.0,
        steps=800,
        batch_size=64,
        decay=True,
        average=0.99,
        mirror=True,
        pairs=16,
        attack_steps=10,
        lifetime=80,
    ),
    "celeba-began": _began(width=128, steps=118_250),
    "celeba-began-32": _began(width=32, steps=40_000),  # a quarter of the paper's width, for quick runs
    "digits-classifier": _classifier("digits", steps=4_000, batch_size=50),
    "digits-classifier-overpowered": _overpowered(
        "digits-classifier",
        "digits",
        mnist.classifier,
        generator="digits-vae",
        eta=math.sqrt(_SQUARED_DISTANCE * math.prod(mnist.IMAGE_SHAPE)),
        steps=200,
        batch_size=50,
    ),
    "digits-diffusion": _diffusion("digits", width=8, steps=1_500),
    "digits-vae": _vae("digits", steps=8_000, batch_size=100),
    "digits-vae-2d": _vae("digits", mnist.vae_2d, steps=8_000, batch_size=100),
}


def train(
    name: str,
    *,
    adversarial: str | None = None,
    mu: float | None = None,
    seed: int = 0,
    steps: int | None = None,
    width: int | None = None,
    mixed_precision: bool = False,
    strategy: str | None = None,
    run_dir: Path | None = None,
) -> Path:
    """Train checkpoint `name` from scratch, or resume a killed run; returns the path of the `.keras` file.

    Args:
      name: a key of `RECIPES`.
      adversarial: `"overpowered"` or `"pgd"` trains the classifier `name`, from its checkpoint, against that attack;
        the new checkpoint is `<name>-overpowered` or `<name>-pgd`.
      mu: μ, the weight of the loss on adversarial images; None is the recipe's.
      seed: seed of the weights, the order of the data and the noise. Any seed but 0 makes a checkpoint of its own,
        `<name>-seed-<seed>`.
      steps: number of training steps; None is the recipe's.
      width: filters of each convolution; None is the recipe's.
      mixed_precision: whether to compute in bfloat16, with weights and losses in float32. The saved model computes in
        float32 either way.
      strategy: `"mirrored"` shares each batch among all GPUs by `tf.distribute.MirroredStrategy`; `"multi-worker"`
        shares it among the workers that `TF_CONFIG` names, each of which calls this function with a `run_dir` that all
        of them can read; None uses one device.
      run_dir: folder for the state, TensorBoard's logs, the checkpoint and its card; default `runs/<name>`.

    The checkpoint that ships is not changed: `checkpoints.install` replaces it with the new one. Raises `InputError`
    for an unknown name or strategy, for steps or a width below 1, for a width or μ if the recipe has none, and for a
    `run_dir` that holds another run.
    """
    if adversarial:
        name = f"{name}-{adversarial}"
    recipe = _recipe(name)
    if strategy not in (None, *STRATEGIES):
        raise InputError(f"There is no strategy {strategy!r}; there are {', '.join(STRATEGIES)}.")
    given = {key: value for key, value in {"steps": steps, "mu": mu}.items() if value is not None}
    if mu is not None and recipe.initial is None:
        raise InputError(f"mu is {mu}, but {name!r} is not trained against an attack.")
    command = f"inc train {name} --seed {seed}"
    name = f"{name}{_SEED}{seed}" if seed else name
    arguments = {**recipe.arguments, **given}
    if arguments["steps"] < 1:
        raise InputError(f"steps is {steps}; it must be at least 1.")
    shape = _shape(recipe, width)
    settings = {"name": name, "seed": seed, **shape, **arguments}
    if mixed_precision:
        settings["precision"] = _MIXED
    if strategy == "multi-worker" and "TF_CONFIG" not in os.environ:
        raise InputError("multi-worker needs TF_CONFIG in the environment, which names the workers and this one.")
    # TensorFlow must be told before any operation has run.
    shared = STRATEGIES[strategy]() if strategy else None
    splits = {split: data.load(recipe.dataset, split) for split in data.SPLITS}
    keras.utils.set_random_seed(seed)
    directory = run_dir or Path("runs") / name
    with shared.scope() if shared else nullcontext():
        model = _build(recipe, shape, _MIXED if mixed_precision else "float32")
        if recipe.initial:
            model.set_weights(checkpoints.load(recipe.initial).get_weights())
        seconds = recipe.train(
            model,
            splits["train"],
            splits["validation"],
            settings=settings,
            seed=seed,
            directory=directory,
            **arguments,
        )
        if not loop.is_chief():
            return directory / f"{name}.keras"
    if mixed_precision or strategy:
        weights = model.get_weights()
        model = _build(recipe, shape, "float32")
        model.set_weights(weights)
    typed = {"--mu": mu, "--steps": steps, "--width": width, "--strategy": strategy}
    options = [f"{option} {value}" for option, value in typed.items() if value is not None]
    options += ["--mixed-precision"] if mixed_precision else []
    fields = {
        **card_fields(recipe, model, splits, settings, seconds, " ".join([command, *options])),
        **({"initial": {recipe.initial: checkpoints.card(recipe.initial)["sha256"]}} if recipe.initial else {}),
        **({"history": loop.history(directory, recipe.history)} if recipe.history else {}),
    }
    return checkpoints.save(model, name, fields, folder=directory)


def card_fields(
    recipe: Recipe,
    model: keras.Model,
    splits: dict[str, data.Dataset],
    settings: dict,
    seconds: float,
    command: str,
) -> dict:
    """The fields of a trained model's card: its data, the `settings` and cost of its training, and its metric.

    The metric is measured here, on the test split.
    """
    measured = recipe.measure(model, splits["test"])  # which builds a model that is not built yet
    return {
        "architecture": f"{recipe.build.__module__}.{recipe.build.__name__}",
        "parameters": model.count_params(),
        "image_shape": list(splits["train"].images.shape[1:]),
        "bounds": list(splits["train"].bounds),
        "dataset": recipe.dataset,
        "train_images": len(splits["train"]),
        **{key: value for key, value in settings.items() if key != "name"},
        "images_seen": settings["steps"] * settings["batch_size"],
        "seconds": round(seconds, 1),
        "command": command,
        "metrics": {f"test_{recipe.metric}": measured._asdict()},
        "versions": {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__},
    }


def remeasure(name: str, n: int = 200) -> estimates.Estimate | None:
    """The main metric of checkpoint `name` on the first `n` test images; None if its data set is not on disk.

    Raises `InputError` if its interval does not overlap the one that the card states for the whole split, for an
    unknown name, and whenever `checkpoints.verify` does.
    """
    model, stated = checkpoints.load(name), checkpoints.card(name)["metrics"]
    recipe = _recipe(name.partition(_SEED)[0])
    if recipe.dataset != "digits" and not data.tfds.prepared(recipe.dataset):
        return None
    found = recipe.measure(model, data.load(recipe.dataset, "test").take(n))
    said = stated[f"test_{recipe.metric}"]
    if found.low > said["high"] or found.high < said["low"]:
        raise InputError(
            f"Checkpoint {name!r} has a {recipe.metric} of {found.value:.4g} ({found.low:.4g}–{found.high:.4g}) on {n} "
            f"test images, but its card says {said['value']:.4g}: the data or the library is not the same."
        )
    return found


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}; there are {', '.join(RECIPES)}.{suggestion(name, RECIPES)}")
    return RECIPES[name]


def _shape(recipe: Recipe, width: int | None) -> dict[str, int]:
    if recipe.width is None:
        if width is not None:
            raise InputError(f"width is {width}, but this network has one size only.")
        return {}
    shape = {"width": recipe.width if width is None else width}
    if shape["width"] < 1:
        raise InputError(f"width is {width}; it must be at least 1.")
    return shape


def _build(recipe: Recipe, shape: dict[str, int], policy: str) -> keras.Model:
    """A new network that computes in `policy`."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return recipe.build(**shape)
    finally:
        keras.config.set_dtype_policy(usual)
