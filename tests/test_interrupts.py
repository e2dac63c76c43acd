import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import inc_tf as inc
from inc_tf.interrupts import interruptible


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


@pytest.mark.parametrize("way", ["call", "predict"])
def test_ctrl_c_stops_a_search(way):
    """A search of days; the signal comes out of its generator, once it is on its way."""
    begun = threading.Event()

    @tf.custom_gradient
    def signalling(x):
        def note(x):
            begun.set()
            return x

        noted = tf.numpy_function(note, [x], tf.float32)
        noted.set_shape(x.shape)
        return noted, lambda upstream: upstream

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
    defense = inc.InvertAndClassify(classifier, inc.LatentProjector(generator, inc.Adam(steps=2**30)))
    begun.clear()
    killer = threading.Thread(
        target=lambda: begun.wait() and signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    )
    killer.start()
    images = np.full((3, 4, 4, 1), 0.5, np.float32)
    with pytest.raises(KeyboardInterrupt):
        defense(images) if way == "call" else defense.predict(images, verbose=0)
    killer.join()
    assert stopped()
