import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.interrupts import interruptible


@pytest.fixture(autouse=True)
def ctrl_c_interrupts():
    """Also where the tests run in the background of a shell, which has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stopped() -> bool:
    """Whether the threads that were left ended; without a cancellation they would run for days."""
    left = [thread for thread in threading.enumerate() if thread.name == "projection"]
    for thread in left:
        thread.join(60)
    return not any(thread.is_alive() for thread in left)


def interrupt():
    raise KeyboardInterrupt


def test_an_interrupt_cancels_a_loop():
    @tf.function(autograph=False)
    def endless(x):
        return tf.while_loop(lambda _: True, lambda x: (tf.tanh(tf.matmul(x, x)),), (x,), maximum_iterations=2**31 - 1)

    with pytest.raises(KeyboardInterrupt):
        interruptible(lambda: endless(tf.ones([64, 64])), waiting=interrupt)
    assert stopped()


def test_returns_and_raises_what_the_function_does_under_the_callers_device():
    with tf.device("/CPU:0"):
        assert "CPU:0" in interruptible(lambda: tf.ones([1]) + 1.0).device
    with pytest.raises(inc.InputError, match="as it is"):
        interruptible(lambda: (_ for _ in ()).throw(inc.InputError("as it is")))
    found = []
    thread = threading.Thread(target=lambda: found.append(interruptible(threading.current_thread)))
    thread.start()
    thread.join()
    assert found == [thread]  # elsewhere no interrupt arrives


def interrupted(steps: int, at: int) -> inc.InvertAndClassify:
    """A defence that sends Ctrl-C as its generator is called for the `at`-th time, in a search of `steps`."""
    calls = [-1]  # of the search; building the defence calls it once

    @tf.custom_gradient
    def signalling(x):
        def count(x):
            calls[0] += 1
            if calls[0] == at:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return x

        counted = tf.numpy_function(count, [x], tf.float32)
        counted.set_shape(x.shape)
        return counted, lambda upstream: upstream

    keras.utils.set_random_seed(0)  # other weights may look like a classifier's that answers probabilities
    generator = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(16, activation="sigmoid"),
            keras.layers.Lambda(signalling, output_shape=(16,)),
            keras.layers.Reshape((4, 4, 1)),
            keras.layers.Conv2D(1, 1, kernel_initializer="ones"),
        ]
    )
    classifier = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    defense = inc.InvertAndClassify(classifier, inc.LatentProjector(generator, inc.Adam(steps=steps)))
    calls[0] = 0
    return defense


@pytest.mark.parametrize("way", ["call", "predict"])
def test_ctrl_c_stops_a_search(way):
    """A search of days."""
    defense, images = interrupted(steps=2**30, at=100), np.full((3, 4, 4, 1), 0.5, np.float32)
    with pytest.raises(KeyboardInterrupt):
        defense(images) if way == "call" else defense.predict(images, verbose=0)
    assert stopped()


def test_ctrl_c_keeps_what_was_done():
    defense, images = interrupted(steps=2000, at=3000), np.full((600, 4, 4, 1), 0.5, np.float32)
    with pytest.raises(inc.Interrupted, match=r"^\d+ of 600 images were projected") as stop:
        defense(images)
    assert stopped()
    done = stop.value.projection
    assert 0 < len(done.images) < 600
    np.testing.assert_array_equal(done.steps, 2000)
    np.testing.assert_allclose(done.distances, tf.norm(done.images - 0.5, axis=(1, 2))[:, 0], rtol=1e-4)
