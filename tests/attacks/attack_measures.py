"""What the tests of attacks measure."""

import numpy as np
import tensorflow as tf


def predictions(model, images) -> np.ndarray:
    """The class of each image, int [N]."""
    return tf.argmax(model(tf.convert_to_tensor(images)), axis=1).numpy()


def success(model, adversarial, labels) -> float:
    """The share of images that the model no longer has right."""
    return float(np.mean(predictions(model, adversarial) != labels))


def distances(adversarial, images, order) -> np.ndarray:
    """The norm of each image's change, float [N]; for order 0 the pixels changed."""
    change = (np.asarray(adversarial) - images).reshape(len(images), -1)
    return np.linalg.norm(np.where(np.abs(change) > 1e-6, change, 0.0), ord=order, axis=1)
