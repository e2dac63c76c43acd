"""How fast and how sturdy `inc serve` is, on MNIST (or the bundled digits), in one run on one machine.

    python benchmarks/serving.py             # quick: two seconds a row, 1,000 malformed requests
    python benchmarks/serving.py --full      # the committed sizes: eight seconds a row, a minute of Adam at 64 clients

Three searches are served: Adam at T = 500, Levenberg–Marquardt from E(x), and 6 steps of it. For each, with dynamic
batching and without: p50, p99 and images per second at 1, 8 and 64 clients that each ask for one image at a time, and
how many answers were errors or another image's. Then the malformed requests, 10,000 of them in a full run: how many got
a 4xx, and the server's memory before and after. Last, what one image cannot be faster than: the products with the
generator's weights, forward and back, 500 times, in three precisions. Writes `benchmarks/results/serving.json`. The
clients share the machine with the server.
"""

import json
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf
from machine import RESULTS, seconds, watched
from serving_clients import Answers, Server, load, malformed, serving
from tabulate import tabulate

import inc_tf as inc
from inc_tf import data, zoo
from inc_tf.serving.export import export_named

SEARCHES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "adam-500": ("Adam, T = 500", "inc", {"steps": 500}),
    "fast": ("the fast search, Levenberg–Marquardt", "inc-fast", {}),
    "fast-6": ("the same, at most 6 steps", "inc-fast", {"steps": 6}),
}
"""By the model's name: what tables call it, the defence, and what `zoo.load` is given."""
CLIENTS = (1, 8, 64)
CANDIDATES = 400


@click.command()
@click.option("--full", is_flag=True, help="The committed sizes.")
@click.option("--out", default=RESULTS / "serving.json", type=click.Path(path_type=Path), show_default=True)
def main(full: bool, out: Path) -> None:
    """Load `inc serve`, then send it what is malformed."""
    dataset = data.mnist_or_digits()
    test = data.load(dataset, "test").take(CANDIDATES)
    with watched(out) as record, tempfile.TemporaryDirectory() as folder:
        record |= {"dataset": dataset, "full": full, "rows": []}
        images = {}
        for name, (_, defense, search) in SEARCHES.items():
            export_named(f"{dataset}-{defense}", Path(folder), name=name, threshold=4.0, **search)
            images[name] = told_apart(zoo.load(f"{dataset}-{defense}", threshold=4.0, **search), test.images)
        for batching in (True, False):
            with serving(Path(folder), "--no-page", *([] if batching else ["--no-batching"])) as server:
                for name in SEARCHES:
                    record["rows"] += measure(server, name, *images[name], batching, full)
        with serving(Path(folder)) as server:
            record["malformed"] = refuse(server, "fast", test.images[0].tolist(), 10_000 if full else 1000)
        generator = inc.load(f"{dataset}-vae").generator
        record["products"] = [products(generator, dtype) for dtype in ("float32", "bfloat16", "float16")]
        click.echo(f"{table(record['rows'])}\n\n{json.dumps({**record, 'rows': None}, indent=2)}")


def told_apart(defense: inc.InvertAndClassify, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most 64 images whose distances tell them apart, at least 2 % from one another, and these distances.

    Only images whose distance is the same to 0.2 % in batches of 64 and of 8: after hundreds of steps of Adam rounding
    sends a few of them elsewhere.
    """
    large, small = (
        np.concatenate([defense(images[i : i + size]).distances for i in range(0, len(images), size)])
        for size in (64, 8)
    )
    chosen: list[int] = []
    for i in np.argsort(large):
        steady = np.isclose(large[i], small[i], rtol=0.002)
        if steady and (not chosen or large[i] > 1.02 * large[chosen[-1]]):
            chosen.append(i)
    return images[chosen[:64]], large[chosen[:64]]


def measure(
    server: Server, name: str, images: np.ndarray, distances: np.ndarray, batching: bool, full: bool
) -> list[dict]:
    """A row for each number of clients; each client asks for one image after another."""
    bodies = [json.dumps({"instances": [image.tolist()]}).encode() for image in images]
    path = f"/v1/models/{name}:predict"
    load(server.port, path, bodies, 8, lambda sent, seconds: sent < 64)  # warm
    rows = []
    for clients in CLIENTS:
        limit = (60.0 if (name, clients, batching) == ("adam-500", 64, True) else 8.0) if full else 2.0
        answers = load(server.port, path, bodies, clients, _until(limit))
        taken = np.array([seconds for _, seconds, _, _ in answers.rows]) * 1000
        rows.append(
            {
                "search": name,
                "batching": batching,
                "clients": clients,
                "requests": len(answers.rows),
                "seconds": answers.seconds,
                "errors": sum(status != 200 for _, _, status, _ in answers.rows),
                "swapped": swapped(answers, distances),
                "p50_ms": float(np.percentile(taken, 50)),
                "p99_ms": float(np.percentile(taken, 99)),
                "images_per_second": len(answers.rows) / answers.seconds,
            }
        )
    return rows


def _until(limit: float) -> Callable[[int, float], bool]:
    return lambda sent, seconds: seconds < limit


def swapped(answers: Answers, distances: np.ndarray) -> int:
    """How many answers have a distance that is closer to another image's than to their own's."""
    right = [
        (i, json.loads(body)["predictions"][0]["distance"]) for i, _, status, body in answers.rows if status == 200
    ]
    return sum(int(np.argmin(np.abs(distances - distance)) != i) for i, distance in right)


def refuse(server: Server, name: str, image: list, requests: int) -> dict:
    """Send model `name` malformed requests: how each was answered, and the server's memory early on and at the end."""
    good = json.dumps({"instances": [image]}).encode()
    path = f"/v1/models/{name}:predict"
    before, rng = server.ask("POST", path, good), random.Random(0)
    statuses: dict[int, int] = {}
    silent = 0
    early = server.rss()
    for i in range(requests):
        if i == requests // 10:
            early = server.rss()
        status, answer = server.ask(*malformed(rng, name, image))
        statuses[status] = statuses.get(status, 0) + 1
        silent += not json.loads(answer).get("error")
    return {
        "requests": requests,
        "statuses": dict(sorted(statuses.items())),
        "without_a_sentence": silent,
        "right_afterwards": server.ask("POST", path, good) == before and before[0] == 200,
        "rss_mib_after_a_tenth": early,
        "rss_mib_at_the_end": server.rss(),
    }


def products(generator: keras.Model, dtype: str, steps: int = 500, repeats: int = 7) -> dict:
    """The least milliseconds of `steps` products of one code with all weights of G and back, alone, by XLA."""
    weights = [tf.cast(w, dtype) for w in generator.get_weights() if w.ndim == 2]

    @tf.function(jit_compile=True)
    def run(codes: tf.Tensor) -> tf.Tensor:
        def step(i, codes):
            values = codes
            for matrix in weights:
                values = tf.matmul(values, matrix)
            for matrix in reversed(weights):
                values = tf.matmul(values, matrix, transpose_b=True)
            return i + 1, codes + tf.cast(1e-9, dtype) * values  # so that each step waits for the one before

        return tf.while_loop(lambda i, _: i < steps, step, (0, codes))[1]

    codes = tf.ones([1, generator.input_shape[1]], dtype)
    return {"dtype": dtype, "steps": steps, "ms": 1000 * seconds(lambda: run(codes), repeats)}


def table(rows: list[dict]) -> str:
    """Markdown: a row for each search, with batching and without, and number of clients."""
    cells = [
        [
            SEARCHES[row["search"]][0],
            "yes" if row["batching"] else "no",
            row["clients"],
            f"{row['p50_ms']:.1f}",
            f"{row['p99_ms']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['errors']} / {row['swapped']}",
        ]
        for row in rows
    ]
    header = ["search", "batching", "clients", "p50, ms", "p99, ms", "images/s", "errors / swapped"]
    return tabulate(cells, header, tablefmt="github", disable_numparse=True)


if __name__ == "__main__":
    main()
