import keras
import numpy as np
import pytest
import tensorflow as tf

from inc_tf.errors import InputError
from inc_tf.models import imagenet


@pytest.mark.slow
def test_resnet152_takes_images_of_the_librarys_range(rng):
    keras.utils.set_random_seed(0)
    classifier = imagenet.resnet152(weights=None)
    assert (classifier.input_shape, classifier.output_shape) == ((None, 224, 224, 3), (None, 1000))
    assert classifier.count_params() == 60_419_944
    images = tf.constant(rng.uniform(-1, 1, size=(1, 224, 224, 3)), tf.float32)
    # Caffe's: BGR, 0 to 255, less ImageNet's means.
    inner = classifier.layers[1](images).numpy()
    expected = 127.5 * (images.numpy()[..., ::-1] + 1) - np.array([103.939, 116.779, 123.68])
    np.testing.assert_allclose(inner, expected, atol=1e-3)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = classifier(images, training=False)
        loss = tf.reduce_sum(logits[:, 7])
    gradient = tape.gradient(loss, images).numpy()
    np.testing.assert_allclose(logits, classifier.layers[-1](tf.constant(inner)), rtol=1e-3, atol=1e-3)
    assert np.all(np.isfinite(gradient))
    assert np.abs(gradient).max() > 0


def test_weights_may_come_from_a_file(tmp_path, rng):
    network = keras.applications.MobileNet(weights=None, classifier_activation=None)
    network.save_weights(tmp_path / "own.weights.h5")
    classifier = imagenet.application("MobileNet", tmp_path / "own.weights.h5")
    images = rng.uniform(-1, 1, size=(1, 224, 224, 3)).astype(np.float32)
    np.testing.assert_allclose(classifier(images), network(images), rtol=1e-4, atol=1e-5)


def test_another_network_brings_its_own_preprocessing(tmp_path, rng):
    layer = imagenet.Preprocessing("MobileNetV2")
    images = rng.uniform(-1, 1, size=(2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(layer(images), images, atol=1e-6)
    again = imagenet.Preprocessing.from_config(layer.get_config())
    np.testing.assert_allclose(again(images), images, atol=1e-6)


def test_a_classifier_may_be_a_file(tmp_path, rng):
    images = keras.layers.Input((8, 8, 3))
    body = keras.layers.Flatten()(imagenet.Preprocessing("ResNet152")(images))
    classifier = keras.Model(images, keras.layers.Dense(5)(body))
    path = tmp_path / "classifier.keras"
    classifier.save(path)
    some = rng.uniform(-1, 1, size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(imagenet.load_classifier(str(path))(some), classifier(some), rtol=1e-5)


def test_what_is_no_classifier_is_refused(tmp_path):
    flat = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(5)])
    flat.save(tmp_path / "flat.keras")
    (tmp_path / "text.keras").write_text("no model")
    (tmp_path / "other.weights.h5").write_text("no weights")
    for make, sentence in (
        (lambda: imagenet.load_classifier(str(tmp_path / "flat.keras")), r"maps \(None, 8\).*must map images"),
        (lambda: imagenet.load_classifier(str(tmp_path / "text.keras")), "cannot be loaded"),
        (lambda: imagenet.load_classifier(str(tmp_path / "none.keras")), "There is no file .*none.keras"),
        (
            lambda: imagenet.load_classifier("ResNet1520"),
            "There is no network 'ResNet1520'; Keras has .*mean 'ResNet152'",
        ),
        (lambda: imagenet.load_classifier("resnet"), "There is no network 'resnet'"),
        (lambda: imagenet.application("MobileNet", tmp_path / "none.h5"), "There is no weights file .*none.h5"),
        (
            lambda: imagenet.application("MobileNet", tmp_path / "other.weights.h5"),
            "does not hold weights of MobileNet",
        ),
    ):
        with pytest.raises(InputError, match=sentence):
            make()
