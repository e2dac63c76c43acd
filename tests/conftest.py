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
from inc_tf import attacks, data
from inc_tf.attacks import METHODS


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
def short_attacks():
    """Every declared attack takes two steps, queries or the like."""
    declared = list(METHODS.values())
    for method in declared:
        efforts = {"queries", "steps", "probes", "iterations"} & method.settings().keys()
        attacks.register(replace(method, arguments={**method.arguments, **dict.fromkeys(efforts, 2)}))
    yield
    for method in declared:
        attacks.register(method)
