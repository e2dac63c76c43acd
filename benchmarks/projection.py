"""How fast images are projected, side by side with peers, in one run on one machine.

    python benchmarks/projection.py                      # quick: every section, small sizes
    python benchmarks/projection.py --full               # the committed sizes
    python benchmarks/projection.py --section solvers    # one section
    python benchmarks/projection.py --generator began    # BEGAN's sections alone

Sections on MNIST's VAE: `speed` (images/s of Adam, ours and peers'), `memory` (peak of 10,000 images), `solvers` (error
against time, clean and FGSM), `growth` (cost as work grows); on BEGAN's shape: `began_solvers`, `began_faces` (the
shipped BEGAN on real faces, where CelebA is on disk), `began_speed` (Adam's steps beside PyTorch's), `began_training`
(a training step beside PyTorch's). Each writes `benchmarks/results/projection-<section>.json`; `solvers` draws
`projection-solvers.png` too. A peer that is not installed is skipped by name.
"""

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import click
import keras
import numpy as np
import tensorflow as tf
from gauss_newton_cg import GaussNewtonCG
from machine import RESULTS, elsewhere, matmul_gflops, peak_gib, seconds, watched
from tabulate import tabulate

import inc_tf as inc
from inc_tf.models import celeba
from inc_tf.models.upscaling import JoinedConvolution
from inc_tf.projection.solvers.protocol import Solver
from inc_tf.projection.starts import Start
from inc_tf.training import began as training_began

SECTIONS = {
    "vae": ("speed", "memory", "solvers", "growth"),
    "began": ("began_solvers", "began_faces", "began_speed", "began_training"),
}
ALL = [*SECTIONS["vae"], *SECTIONS["began"]]
T = 2000


def flops(model: keras.Model) -> int:
    """A forward pass of one image: a product with each kernel at each place, two FLOP a weight.

    A convolution of what is doubled counts as its peers compute it, at the doubled size.
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | JoinedConvolution):
            total += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Dense):
            total += 2 * int(np.prod(layer.kernel.shape))
    return total


# Adam on ‖G(z) − x‖², z₀ ~ N(0, 1): the same arithmetic in each. A peer returns the last code; ours the best seen.


def ours(generator, images, steps):
    return _called(inc.LatentProjector(generator, inc.Adam(0.1, steps)), images)


def python_step(generator, images, steps):
    x = tf.constant(images)
    z = tf.Variable(tf.zeros([len(images), generator.input_shape[1]]))
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([z])

    @tf.function
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            loss = tf.reduce_sum(tf.square(generator(z, training=False) - x))
        optimizer.apply([tape.gradient(loss, z)], [z])

    def run():
        z.assign(tf.random.stateless_normal(z.shape, [0, 0]))
        for _ in range(steps):
            step()
        return distances(generator(z, training=False).numpy(), images)

    return run


def pytorch(generator, images, steps):
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    parts = [torch.tensor(w) for w in generator.get_weights()]
    x = torch.tensor(images.reshape(len(images), -1))

    def output(z):
        for i in (0, 2):
            z = torch.nn.functional.softplus(z @ parts[i] + parts[i + 1])
        return torch.sigmoid(z @ parts[4] + parts[5])

    def run():
        z = torch.randn(len(x), parts[0].shape[0], generator=torch.Generator().manual_seed(0)).requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.square(output(z) - x).sum().backward()
            optimizer.step()
        return distances(output(z).detach().numpy(), images)

    return run


def jax_loop(generator, images, steps):
    import jax
    import jax.numpy as jnp

    parts = [jnp.asarray(w) for w in generator.get_weights()]
    x = jnp.asarray(images.reshape(len(images), -1))

    def output(z):
        for i in (0, 2):
            z = jax.nn.softplus(z @ parts[i] + parts[i + 1])
        return jax.nn.sigmoid(z @ parts[4] + parts[5])

    gradient = jax.grad(lambda z, x: jnp.square(output(z) - x).sum())

    @jax.jit
    def search(z, x):
        def step(t, state):
            z, m, v = state
            g = gradient(z, x)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            rate = 0.1 * jnp.sqrt(1 - 0.999 ** (t + 1.0)) / (1 - 0.9 ** (t + 1.0))
            return z - rate * m / (jnp.sqrt(v) + 1e-8), m, v

        return output(jax.lax.fori_loop(0, steps, step, (z, jnp.zeros_like(z), jnp.zeros_like(z)))[0])

    z = jax.random.normal(jax.random.key(0), (len(x), parts[0].shape[0]))
    return lambda: distances(np.asarray(search(z, x)), images)


def distances(outputs: np.ndarray, images: np.ndarray) -> np.ndarray:
    """‖G(z) − x‖₂ of each image."""
    return np.linalg.norm(outputs.reshape(len(images), -1) - images.reshape(len(images), -1), axis=1)


PEERS = {"Python-driven step": (python_step, None), "PyTorch": (pytorch, "torch"), "JAX": (jax_loop, "jax")}


def peers() -> dict[str, Callable]:
    """The peers that are installed; the others are named on the screen."""
    found = {}
    for name, (make, module) in PEERS.items():
        if module and importlib.util.find_spec(module) is None:
            click.echo(f"{name} is not installed: skipped.")
        else:
            found[name] = make
    return found


def speed(generator, images, sizes) -> dict:
    """Images/s at T = 2000 (measured at `steps` and scaled), batch 500."""
    batch, steps = images[:500], sizes["speed_steps"]
    runs = {name: make(generator, batch, steps) for name, make in {"inc_tf": ours, **peers()}.items()}
    runs["inc_tf, activations left out"] = ours(without_activations(generator), batch, steps)
    work = 2 * flops(generator) * len(batch) * steps  # the gradient of the code is another product each
    return {"batch": len(batch), "steps": steps, "rows": in_turn(runs, sizes["repeats"], len(batch) * steps / T, work)}


def without_activations(generator: keras.Model) -> keras.Model:
    """The same products and nothing else: what they cost at this size, however the rest is done."""
    bare = keras.models.clone_model(generator)
    for layer in bare.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.activation = keras.activations.linear
    return bare


def in_turn(runs: dict[str, Callable], repeats: int, units: float, work: int) -> list[dict]:
    """Units a second of each run, and the share of the matrix product's rate at which it does its `work`, in FLOP.

    The runs take turns, so that a busy moment of the machine meets them all; the least time of each counts.
    """
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    product = matmul_gflops()
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
        product = max(product, matmul_gflops())
    rows = []
    for name, taken in times.items():
        gflops = work / min(taken) / 1e9
        pairs = [theirs / mine for theirs, mine in zip(taken, times["inc_tf"], strict=True)]
        rows.append(
            {
                "name": name,
                "per_second": units / min(taken),
                "gflops": gflops,
                "of_matmul": gflops / product,
                "inc_tf_is_faster_by": float(np.median(pairs)),
            }
        )
    return rows


PROJECTORS: dict[str, Callable[[], tuple]] = {
    "Adam(steps=3)": lambda: (inc.Adam(steps=3),),
    "LevenbergMarquardt(2), Nearest()": lambda: (inc.LevenbergMarquardt(2), inc.Nearest()),
    "LBFGS(3), Normal(10)": lambda: (inc.LBFGS(3), inc.Normal(10)),
}
"""Those of `memory`, without their generator."""


def memory(generator, images, sizes) -> dict:
    """Peak resident memory of projecting 10,000 images, each in a process of its own, everything included."""
    peaks = {name: elsewhere(f"import projection; print(projection.peak_of({name!r}))") for name in PROJECTORS}
    return {"images": 10_000, "rows": [{"projector": name, "peak_gib": peak} for name, (peak,) in peaks.items()]}


def peak_of(name: str) -> float:
    """The peak memory of this process, GiB, after it has projected 10,000 images by one of `PROJECTORS`."""
    images = np.random.default_rng(0).uniform(size=(10_000, 28, 28, 1)).astype(np.float32)
    inc.LatentProjector(inc.load("mnist-vae").generator, *PROJECTORS[name]())(images)
    return peak_gib()


def scipy_lbfgsb(generator, images):
    """SciPy's L-BFGS-B on one image after another, from z₀ ~ N(0, 1), as ART's former InverseGAN did."""
    from scipy.optimize import minimize

    @tf.function(input_signature=[tf.TensorSpec(s, tf.float32) for s in ([1, generator.input_shape[1]], None)])
    def value_and_gradient(z, x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(z)
            error = tf.reduce_sum(tf.square(generator(z, training=False) - x))
        return error, tape.gradient(error, z)

    def run():
        rng, found = np.random.default_rng(0), []
        for image in images:
            x = tf.constant(image[np.newaxis])

            def objective(z, x=x):
                error, gradient = value_and_gradient(tf.constant(z[np.newaxis], tf.float32), x)
                return float(error), gradient.numpy()[0].astype(np.float64)

            found.append(minimize(objective, rng.normal(size=generator.input_shape[1]), jac=True, method="L-BFGS-B"))
        return np.sqrt([answer.fun for answer in found])

    return run


def our_solvers(encoder) -> dict[str, tuple[str, Solver, Start]]:
    """Label → (line of the plot, solver, start)."""
    rows: dict[str, tuple[str, Solver, Start]] = {}
    lines: dict[str, tuple[Start, tuple[int, ...]]] = {
        "LM from the nearest": (inc.Nearest(), (2, 3, 4, 6, 10, 20)),
        "LM from E(x)": (inc.FromEncoder(encoder), (2, 4, 10, 20)),
        "LM from 0": (inc.Zeros(), (6, 10, 20)),
        "LM from the 4 nearest": (inc.Nearest(restarts=4), (4, 10, 20)),
        "LM from the 8 nearest": (inc.Nearest(restarts=8), (10,)),
    }
    for line, (start, steps) in lines.items():
        rows |= {f"{line}, {s} steps": (line, inc.LevenbergMarquardt(s, tolerance=1e-3), start) for s in steps}
    line = "L-BFGS from the nearest"
    rows |= {f"{line}, {s} steps": (line, inc.LBFGS(s), inc.Nearest()) for s in (20, 50, 200)}
    line = "Adam from N(0, 1)"
    return rows | {f"{line}, {s} steps": (line, inc.Adam(0.1, s), inc.Normal()) for s in (100, 400)}


def adversarial(name: str, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """FGSM at ε = 0.2 on the classifier."""
    classifier = inc.load(f"{name}-classifier")
    return inc.attacks.fgsm(classifier, tf.constant(images), labels, bounds=(0.0, 1.0), epsilon=0.2).numpy()


def solvers(generator, images, sizes, *, encoder, attacked) -> dict:
    """Mean squared error a pixel against time an image, of ours on all images and of slow ones on the first few."""
    baselines = {
        "Adam T=2000, R=1": lambda x: ours(generator, x[: sizes["adam"]], T),
        "Adam T=2000, R=10": lambda x: _restarts(generator, x[: sizes["adam_r10"]]),
        "SciPy L-BFGS-B": lambda x: scipy_lbfgsb(generator, x[: sizes["scipy"]]),
    }
    for name, make in peers().items():
        if name != "Python-driven step":
            baselines[f"{name}, Adam T=2000"] = _peer(make, generator, sizes["peers"])
    rows, mine = [], []
    for data, x in {"clean": images, "fgsm 0.2": attacked}.items():
        for label, (line, solver, start) in our_solvers(encoder).items():
            projector = inc.LatentProjector(generator, solver, start)
            mine.append(_row(data, label, line, _called(projector, x), x, warm=True))
            click.echo(f"  {data}: {label}: {mine[-1]['mse']:.5f}, {mine[-1]['ms']:.2f} ms")
        for label, make in baselines.items():
            rows.append(_row(data, label, label, make(x), x))
            click.echo(f"  {data}: {label}: {rows[-1]['mse']:.5f}, {rows[-1]['ms']:.2f} ms")
    comparisons = [_comparison(row, [m for m in mine if m["data"] == row["data"]]) for row in rows]
    for row in mine + rows:
        del row["squares"]
    return {"images": len(images), "rows": mine + rows, "comparisons": comparisons}


def _restarts(generator, images):
    return _called(inc.LatentProjector(generator, inc.Adam(0.1, T), inc.Normal(restarts=10)), images)


def _peer(make, generator, n):
    return lambda x: make(generator, x[:n], T)


def _called(projector, images):
    return lambda: projector(images).distances.numpy()


def _row(data, label, line, run, images, warm=False) -> dict:
    """`warm`: time the second run. The slow ones run once, so their compilation, about a second, is in their time."""
    if warm:
        run()
    started = time.perf_counter()
    squares = np.square(run())
    taken = time.perf_counter() - started
    mse = squares.mean() / images[0].size
    n = len(squares)
    return {"data": data, "name": label, "line": line, "n": n, "mse": mse, "ms": 1e3 * taken / n, "squares": squares}


def _comparison(row: dict, mine: list[dict]) -> dict:
    """Our quickest whose mean error on the same images is no higher."""
    as_good = [m for m in mine if m["squares"][: row["n"]].mean() <= row["squares"].mean()]
    best = min(as_good, key=lambda m: m["ms"], default=None)
    return {
        "data": row["data"],
        "against": row["name"],
        "n": row["n"],
        "theirs_mse": row["mse"],
        "ours": best and best["name"],
        "ours_mse": best and best["squares"][: row["n"]].mean() * row["mse"] / row["squares"].mean(),
        "times_faster": best and row["ms"] / best["ms"],
    }


def seeded_began(width: int) -> celeba.BEGAN:
    """The paper's BEGAN with random weights."""
    keras.utils.set_random_seed(0)
    return celeba.began(width)


def began_solvers(generator, images, sizes) -> dict:
    """Targets: images of the range itself plus noise of a tenth of their deviation; random weights, so an easy case."""
    generator = seeded_began(32).generator
    targets = generator(tf.random.stateless_normal([sizes["began"], 128], [1, 0])).numpy()
    targets += 0.1 * targets.std() * np.random.default_rng(0).normal(size=targets.shape).astype(np.float32)
    rows: list[dict] = []
    candidates: dict[str, Solver] = {
        "Adam 0.1, T=2000": inc.Adam(0.1, T),
        "Adam 0.01, T=2000": inc.Adam(0.01, T),
        "Adam 0.1, T=200": inc.Adam(0.1, 200),
        "L-BFGS, 20 steps": inc.LBFGS(20),
        "L-BFGS": inc.LBFGS(),
        "Gauss–Newton–CG, 1 step of 16 products": GaussNewtonCG(1),
        "Gauss–Newton–CG, 3 steps of 16 products": GaussNewtonCG(3),
        "Gauss–Newton–CG, 5 steps of 8 products": GaussNewtonCG(5, 8),
    }
    for name, solver in candidates.items():
        projector = inc.LatentProjector(generator, solver)
        row = _row("range + noise", name, name, _called(projector, targets), targets, warm="T=2000" not in name)
        del row["squares"]
        rows.append({**row, "times_faster_than_adam": rows[0]["ms"] / row["ms"] if rows else 1.0})
        click.echo(f"  {name}: {row['mse']:.7f}, {row['ms']:.1f} ms")
    return {"images": len(targets), "filters": 32, "rows": rows}


def began_faces(generator, images, sizes) -> dict:
    """Real faces, which are off the range: the shipped BEGAN, as Table 1 searches, and fewer steps of the same."""
    if not inc.data.tfds.prepared("celeb_a"):
        return {"skipped": "CelebA is not on disk", "rows": []}
    generator = inc.load("celeba-began").generator
    filters = generator.layers[-2].filters
    faces = inc.data.load("celeb_a", "test").images[: sizes["faces"]]
    normal, nearest = inc.Normal(stddev=2.0), inc.Nearest(stddev=2.0)
    candidates: dict[str, tuple[Solver, Start]] = {
        "Adam 0.01, T=2000": (inc.Adam(0.01, T), normal),
        "Adam 0.01, T=500": (inc.Adam(0.01, 500), normal),
        "L-BFGS": (inc.LBFGS(), nearest),
        "L-BFGS, 100 steps": (inc.LBFGS(100), nearest),
        "L-BFGS, 50 steps": (inc.LBFGS(50), nearest),
        "L-BFGS, 20 steps": (inc.LBFGS(20), nearest),
    }
    rows: list[dict] = []
    for name, (solver, start) in candidates.items():
        run = _called(inc.LatentProjector(generator, solver, start), faces)
        row = _row("faces", name, name, run, faces, warm="T=" not in name)
        del row["squares"]
        rows.append({**row, "times_faster_than_adam": rows[0]["ms"] / row["ms"] if rows else 1.0})
        click.echo(f"  {name}: {row['mse']:.5f}, {row['ms']:.1f} ms")
    return {"dataset": "celeb_a", "images": len(faces), "filters": filters, "rows": rows}


def began_speed(generator, images, sizes) -> dict:
    """Image-steps/s of Adam's search through BEGAN's generator at three widths, ours and PyTorch's in turn.

    Beside them, what TensorFlow's convolution alone, of that width at 64×64, and its gradient reach.
    """
    rows, batch, steps = [], sizes["began_batch"], sizes["began_steps"]
    for width in (32, 64, 128):
        generator = seeded_began(width).generator
        x = np.random.default_rng(0).uniform(-1, 1, (batch, 64, 64, 3)).astype(np.float32)
        runs = {"inc_tf": _called(inc.LatentProjector(generator, inc.Adam(0.01, steps)), x)}
        if importlib.util.find_spec("torch"):
            from pytorch_peer import inversion

            runs["PyTorch"] = inversion(generator, x, steps)
        work = 2 * flops(generator) * batch * steps  # the gradient of the code is another product each
        alone = convolution_gflops(batch, width)
        for row in in_turn(runs, sizes["repeats"], batch * steps, work):
            rows.append({"width": width, **row, "of_convolution": row["gflops"] / alone})
    return {"batch": batch, "steps": steps, "rows": rows}


def convolution_gflops(batch: int, width: int) -> float:
    """The rate of a 3×3 convolution from `width` to `width` channels at 64×64 and of its input's gradient."""
    x, kernel = tf.random.normal([batch, 64, 64, width]), tf.random.normal([3, 3, width, width])

    @tf.function
    def both():
        y = tf.nn.conv2d(x, kernel, 1, "SAME")
        return tf.reduce_sum(tf.nn.conv2d_transpose(y, kernel, x.shape, 1, "SAME"))

    return 2 * 2 * batch * 64 * 64 * 9 * width**2 / seconds(lambda: both().numpy(), 5) / 1e9


def began_training(generator, images, sizes) -> dict:
    """Seconds of BEGAN's training step at batch 16, in float32, and in bfloat16 for ours, beside PyTorch's."""
    rows, steps = [], sizes["training_steps"]
    x = np.random.default_rng(0).uniform(-1, 1, (16, 64, 64, 3)).astype(np.float32)
    for width in (32, 64, 128):
        runs = {}
        for name, policy in {"inc_tf": "float32", "inc_tf, bfloat16": "mixed_bfloat16"}.items():
            keras.config.set_dtype_policy(policy)
            update, _ = training_began.compiled_step(seeded_began(width), 16, steps)
            keras.config.set_dtype_policy("float32")
            runs[name] = lambda update=update: [float(update(x, [0, t])["k"]) for t in range(steps)]
        model = seeded_began(width)
        if importlib.util.find_spec("torch"):
            from pytorch_peer import training

            runs["PyTorch"] = training(model, x, steps)
        parts = flops(model.generator), flops(model.encoder) + flops(model.decoder)
        work = 3 * (parts[0] + 2 * parts[1]) * len(x) * steps  # forward, and the gradients of weights and of inputs
        rows += [{"width": width, **row} for row in in_turn(runs, sizes["repeats"], steps, work)]
    return {"batch": 16, "steps": steps, "rows": rows}


def dense_generator(k: int, pixels: tuple[int, int, int]) -> keras.Model:
    """The MNIST VAE's shape, k-500-500-pixels, with random weights."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(500, activation="softplus") for _ in range(2)]
    last = [keras.layers.Dense(int(np.prod(pixels)), activation="sigmoid"), keras.layers.Reshape(pixels)]
    return keras.Sequential([keras.layers.Input((k,)), *hidden, *last])


_REPEATED = 10_000  # images; more are timed once


def growth(generator, images, sizes) -> dict:
    """Seconds of five steps as one size grows and the others stay, and the exponent of a line through their logs."""
    n, most = sizes["growth"], sizes["growth_images"]
    counts = [c for c in (100, 1000, 10_000, 100_000) if c <= most]
    cases = {
        "images": [(c, 20, (28, 28, 1), c) for c in counts],
        "k": [(k, k, (28, 28, 1), n) for k in (2, 8, 20, 64, 128, 256, 512)],
        "pixels": [
            (side * side * c, 20, (side, side, c), n) for side, c in ((28, 1), (28, 3), (64, 1), (64, 3), (128, 3))
        ],
    }
    five: dict[str, Solver] = {
        "Adam": inc.Adam(steps=5),
        "LM": inc.LevenbergMarquardt(5, tolerance=0.0),
        "L-BFGS": inc.LBFGS(5),
    }
    rows = []
    for name, solver in five.items():
        for what, points in cases.items():
            times = []
            for _, k, pixels, count in points:
                projector = inc.LatentProjector(dense_generator(k, pixels), solver, inc.Zeros())
                x = np.random.default_rng(0).uniform(size=(count, *pixels)).astype(np.float32)
                times.append(seconds(_called(projector, x), sizes["repeats"] if count <= _REPEATED else 1))
            exponent = float(np.polyfit(np.log([point[0] for point in points]), np.log(times), 1)[0])
            values = [point[0] for point in points]
            rows.append({"solver": name, "grows": what, "from_to": values, "seconds": times, "exponent": exponent})
    return {"images": n, "rows": rows}


def plot(result: dict, path: Path) -> None:
    """Error against time an image, log–log, a line per solver and a panel per kind of image."""
    from matplotlib import color_sequences
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(12, 5.5), layout="constrained")
    for axis, data in zip(axes, ("clean", "fgsm 0.2"), strict=True):
        rows = [row for row in result["rows"] if row["data"] == data]
        axis.set_prop_cycle(color=[*color_sequences["tab10"], "black", "gold"])
        for line in dict.fromkeys(row["line"] for row in rows):
            points = [(row["ms"], row["mse"]) for row in rows if row["line"] == line]
            axis.plot(*zip(*points, strict=True), marker="o" if len(points) > 1 else "s", label=line)
        axis.set(xscale="log", yscale="log", xlabel="ms an image", ylabel="mean squared error a pixel", title=data)
        axis.grid(which="both", alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    figure.savefig(path, dpi=120)


def table(rows: list[dict]) -> str:
    """`rows` for the screen."""
    return tabulate(rows, headers="keys", floatfmt=".4g", tablefmt="github")


QUICK = {
    "images": 200, "speed_steps": 100, "repeats": 2, "adam": 100, "adam_r10": 10, "peers": 100, "scipy": 3,
    "began": 2, "faces": 4, "began_batch": 16, "began_steps": 5, "training_steps": 2, "growth": 50,
    "growth_images": 1000,
}  # fmt: skip
FULL = {
    "images": 1000, "speed_steps": 2000, "repeats": 3, "adam": 500, "adam_r10": 50, "peers": 500, "scipy": 20,
    "began": 8, "faces": 10, "began_batch": 64, "began_steps": 40, "training_steps": 5, "growth": 200,
    "growth_images": 100_000,
}  # fmt: skip


@click.command(help=__doc__)
@click.option("--generator", type=click.Choice(list(SECTIONS)), help="Its sections alone.")
@click.option(
    "--section", "chosen", type=click.Choice(sum(SECTIONS.values(), ())), multiple=True, help="All by default."
)
@click.option("--full", is_flag=True, help="The committed sizes rather than the quick ones.")
@click.option("--size", "changed", type=(str, int), multiple=True, help=f"One size, of {', '.join(QUICK)}.")
def main(generator: str | None, chosen: tuple[str, ...], full: bool, changed: tuple[tuple[str, int], ...]) -> None:
    sections = chosen or (SECTIONS[generator] if generator else ALL)
    sizes = {**(FULL if full else QUICK), **dict(changed)}
    name = inc.data.mnist_or_digits()
    vae, data = inc.load(f"{name}-vae"), inc.data.load(name, "test")
    images, labels = data.images[: sizes["images"]], data.labels[: sizes["images"]]
    for title in sections:
        click.echo(f"{title}:")
        with watched(RESULTS / f"projection-{title}.json") as record:
            record |= {"section": title, "dataset": name, "sizes": sizes}
            if title == "solvers":
                attacked = adversarial(name, images, labels)
                record |= solvers(vae.generator, images, sizes, encoder=vae.encoder, attacked=attacked)
            else:
                images_of = data.images if title == "speed" else images
                record |= globals()[title](vae.generator, images_of, sizes)
        click.echo(table(record["comparisons" if title == "solvers" else "rows"]))
        if title == "solvers":
            plot(record, RESULTS / "projection-solvers.png")


if __name__ == "__main__":
    main()
