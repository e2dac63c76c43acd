"""Two replicas share each batch and take the steps of one; in a process of its own, which splits the CPU in two."""

import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.system

CHILD = """
import sys
from contextlib import nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from inc_tf import data
from inc_tf.errors import InputError
from inc_tf.models import celeba, mnist
from inc_tf.training import began, classifier, vae

out = Path(sys.argv[1])
faces = np.random.default_rng(0).uniform(-1, 1, (16, 64, 64, 3)).astype(np.float32)
faces = data.Dataset("celeb_a", "train", faces, np.arange(16) % 2, (-1.0, 1.0))
digits = data.load("digits", "train").take(40)
small = lambda: keras.Sequential(
    [keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, kernel_regularizer="l2")]
)
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])  # one for all: two would mix up their collectives
runs = {
    "vae": (mnist.vae_2d, vae.train, digits, {"batch_size": 20}),
    "classifier": (small, classifier.train, digits, {"batch_size": 20, "mirror": True}),
    "began": (lambda: celeba.began(4, 8), began.train, faces, {"batch_size": 8, "proportional_gain": 1.0}),
}
for name, (build, train, images, arguments) in runs.items():
    for strategy in (None, mirrored):
        replicas = strategy.num_replicas_in_sync if strategy else 1
        with strategy.scope() if strategy else nullcontext():
            keras.utils.set_random_seed(0)
            model = build()
            directory = out / f"{name}-{replicas}"
            train(model, images, images, settings={}, steps=4, directory=directory, **arguments)
            np.savez(out / f"{name}-{replicas}.npz", *model.get_weights())
try:
    with strategy.scope():
        vae.train(mnist.vae_2d(), digits, digits, settings={}, steps=1, batch_size=5, directory=out / "odd")
except InputError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    out = tmp_path_factory.mktemp("replicas")
    done = subprocess.run([sys.executable, "-c", CHILD, str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done.stdout


@pytest.mark.parametrize(("name", "rate"), [("vae", 1e-3), ("classifier", 1e-4), ("began", 8e-5)])
def test_two_replicas_take_the_steps_of_one(child, name, rate):
    with np.load(child[0] / f"{name}-1.npz") as one, np.load(child[0] / f"{name}-2.npz") as two:
        differences = np.concatenate([np.abs(one[key] - two[key]).ravel() for key in one.files])
    # Four steps of Adam, each about its learning rate, which it also takes where a gradient is nothing but rounding.
    assert np.median(differences) < 0.05 * rate
    assert np.quantile(differences, 0.99) < rate


def test_a_batch_that_cannot_be_shared_alike_is_refused(child):
    assert "A batch of 5 cannot be shared alike by 2 replicas." in child[1]
