import functools
import os
from dataclasses import replace

# One core for each of pytest's processes: TensorFlow's threads would otherwise spin in each other's way.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# ART sets up logging as it is imported; during collection that would close the streams that pytest captures with.
import art  # noqa: F401
import numpy as np
import pytest
import ray
import tensorflow as tf

import inc_tf as inc
from inc_tf import attacks, data, zoo
from inc_tf.attacks import METHODS
from inc_tf.evaluation import page, scoring


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Most of the suite's time goes into making graphs that run for milliseconds: optimizing them does not pay. What is
    marked `exact` is held to the bits that users get.
    """
    exact = item.get_closest_marker("exact") is not None
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not exact})


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    return data.load("digits", "test")


@pytest.fixture(scope="session")
def classifier():
    return inc.load("digits-classifier")


@pytest.fixture(scope="session")
def vae():
    return inc.load("digits-vae")


@pytest.fixture(scope="session")
def mnist() -> data.Dataset:
    """MNIST's test split; tests that take it are skipped where `TFDS_DATA_DIR` does not have it."""
    if not data.tfds.prepared("mnist"):
        pytest.skip("MNIST is not in TFDS_DATA_DIR")
    return data.load("mnist", "test")


@pytest.fixture(scope="session")
def celeba() -> data.Dataset:
    """CelebA's test split; tests that take it are skipped where `TFDS_DATA_DIR` does not have it."""
    if not data.tfds.prepared("celeb_a"):
        pytest.skip("CelebA is not in TFDS_DATA_DIR")
    return data.load("celeb_a", "test")


@pytest.fixture(scope="session")
def imagenet() -> None:
    """Tests that take it are skipped where `TFDS_DATA_DIR` does not have ImageNet."""
    if not data.tfds.prepared("imagenet2012"):
        pytest.skip("ImageNet is not in TFDS_DATA_DIR")


@pytest.fixture(scope="module")
def ray_here():
    """A Ray cluster of two cores on this machine, which what is tested finds already started."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def short_runs(monkeypatch):
    """Every declared attack takes two steps, queries or the like, the paper's search 50, and what draws lots is scored
    over two draws.
    """
    declared = list(METHODS.values())
    for method in declared:
        efforts = {"queries", "steps", "probes", "iterations"} & method.settings().keys()
        attacks.register(replace(method, arguments={**method.arguments, **dict.fromkeys(efforts, 2)}))
    searches = [zoo.DEFENSES[name] for name in ("inc", "inc-500", "inc-100")]
    for search, steps in zip(searches, (50, 40, 30), strict=True):
        search_of = functools.partial(zoo.inverting, solver=inc.Adam(steps=steps), start=inc.Normal())
        zoo.register(replace(search, build=search_of))
    monkeypatch.setattr(scoring, "DRAWS", 2)
    monkeypatch.setattr(page, "budget", functools.partial(page.budget, steps=(1, 2), restarts=(1, 2)))
    yield
    for search in searches:
        zoo.register(search)
    for method in declared:
        attacks.register(method)


@pytest.fixture
def few_attacks(short_runs):
    """Of these, one on the classifier of one step and one of two, one along a gradient, and one by queries."""
    short = list(METHODS.values())
    for method in short:
        if method.name not in ("fgsm", "pgd", "implicit", "square"):
            attacks.register(replace(method, left_out="not in this test"))
    yield
    for method in short:
        attacks.register(method)
