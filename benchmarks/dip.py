"""How fast the deep image prior fits a photograph, beside PyTorch on the same network, in one run on one machine.

    python benchmarks/dip.py           # quick
    python benchmarks/dip.py --full    # the committed sizes

Sections: `speed` (seconds a step at 224×224, ours and PyTorch's, and the share of the matrix product's rate), `batch`
(one image after another, or two at once), `processes` (one with every core, or one a core, each with an image of its
own), `memory` (peak of a process, by the number of images). Rates in FLOP count the products of the network as it is
defined, also for ours, which takes half of them. Writes `benchmarks/results/dip.json`. PyTorch is skipped by name where
it is not installed.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import numpy as np
import tensorflow as tf
from machine import RESULTS, elsewhere, peak_gib, seconds, watched
from projection import flops, in_turn, table

import inc_tf as inc
from inc_tf.models.skip import skip_network

SHAPE = (224, 224, 3)


def projector(channels: int, steps: int) -> inc.DeepImagePrior:
    """A search of `steps` steps, which takes one gradient more for the last reconstruction."""
    return inc.DeepImagePrior(skip_network(SHAPE, channels), steps=steps - 1, stop_mse=None)


def photograph(n: int = 1) -> np.ndarray:
    """Images in [−1, 1]: smooth noise, since the time does not depend on what they show."""
    coarse = np.random.default_rng(0).uniform(-1, 1, (n, 14, 14, 3))
    return tf.image.resize(coarse, SHAPE[:2]).numpy().astype(np.float32)


def speed(channels: int, steps: int) -> list[dict]:
    """Steps a second, one image; PyTorch in both of its memory formats."""
    image, ours = photograph(), projector(channels, steps)
    runs = {"inc_tf": lambda: ours(image).steps.numpy()}
    if importlib.util.find_spec("torch"):
        from pytorch_peer import deep_image_prior

        for name, channels_last in (("PyTorch", False), ("PyTorch, channels last", True)):
            runs[name] = deep_image_prior(ours.network, image[0], steps, channels_last)
    else:
        click.echo("PyTorch is not installed: skipped.")
    work = 3 * flops(ours.network) * steps  # forward, and the gradients of weights and of inputs
    rows = in_turn(runs, REPEATS, steps, work)
    return [{"channels": channels, **row, "seconds_a_step": 1 / row["per_second"]} for row in rows]


def agreement(channels: int = 16) -> float | None:
    """The largest difference between the two networks' outputs on the same weights and noise."""
    if not importlib.util.find_spec("torch"):
        return None
    import torch
    from pytorch_peer import SkipNetwork, to_torch

    network = skip_network((64, 96, 3), channels)
    noise = np.random.default_rng(0).uniform(size=(1, 64, 96, 32)).astype(np.float32)
    with torch.no_grad():
        theirs = SkipNetwork(network)(to_torch(noise)).permute(0, 2, 3, 1).numpy()
    return float(np.abs(network(noise) - theirs).max())


def batch(channels: int, steps: int) -> list[dict]:
    """Image-steps a second of two images, each with its own weights: in turn, as a call does, or both at once."""
    images = photograph(2)
    ours = projector(channels, steps)

    @tf.function(autograph=False)
    def at_once(images):
        seeds = tf.constant([[0, 1], [0, 2]])
        return tf.map_fn(
            lambda row: ours._search(*row)[0].error,  # noqa: SLF001  (one image's search, without a loop around it)
            (images, seeds),
            fn_output_signature=tf.float32,
            parallel_iterations=2,
        )

    runs = {"inc_tf": lambda: ours(images).steps.numpy(), "both at once": lambda: at_once(images).numpy()}
    rows = in_turn(runs, REPEATS, 2 * steps, 2 * 3 * flops(ours.network) * steps)
    return [{"channels": channels, **row} for row in rows]


def rate(channels: int, steps: int) -> float:
    """Our steps a second on one image."""
    image, ours = photograph(), projector(channels, steps)
    return steps / seconds(lambda: ours(image).steps.numpy(), REPEATS)


def processes(channels: int, steps: int) -> list[dict]:
    """Steps a second in all, of one process with every core, and of as many as there are cores, at the same time."""
    rows = []
    for count in (1, os.cpu_count() or 1):
        threads = {} if count == 1 else {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", f"import dip; print(dip.rate({channels}, {steps}))"]
        children = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent, env={**os.environ, **threads}
            )
            for _ in range(count)
        ]
        rates = [float(child.communicate()[0]) for child in children]
        rows.append({"channels": channels, "processes": count, "per_second": sum(rates)})
    return rows


RULES: dict[str | None, Callable] = {None: lambda: None, "inc.MovingVariance()": inc.MovingVariance}


def memory() -> list[dict]:
    """Peak resident memory of a process, before the network is built and after its search."""
    rows = []
    for channels, images, rule in ((128, 1, None), (128, 3, None), (64, 1, None), (128, 1, "inc.MovingVariance()")):
        before, peak = elsewhere(f"import dip; print(*dip.peaks({channels}, {images}, {rule!r}))")
        rows.append({"channels": channels, "images": images, "rule": rule, "import_gib": before, "peak_gib": peak})
    return rows


def peaks(channels: int, images: int, rule: str | None) -> tuple[float, float]:
    """The peak memory of this process, GiB, before it builds the network and after two steps."""
    before = peak_gib()
    search = inc.DeepImagePrior(skip_network(SHAPE, channels), steps=2, moving_variance=RULES[rule]())
    search(photograph(images))
    return before, peak_gib()


QUICK = {128: 2, 64: 3}  # steps a run, by channels
FULL = {128: 5, 64: 8}
REPEATS = 3


@click.command(help=__doc__)
@click.option("--full", is_flag=True, help="The committed sizes rather than the quick ones.")
def main(full: bool) -> None:
    sizes = FULL if full else QUICK
    with watched(RESULTS / "dip.json") as record:
        tables = {
            "speed": [row for channels, steps in sizes.items() for row in speed(channels, steps)],
            "batch": batch(64, sizes[64]),
            "processes": [row for channels, steps in sizes.items() for row in processes(channels, steps)],
            "memory": memory(),
        }
        for title, rows in tables.items():
            click.echo(f"{title}:\n{table(rows)}")
        record |= {"sizes": sizes, "agreement": agreement(), **tables}


if __name__ == "__main__":
    main()
