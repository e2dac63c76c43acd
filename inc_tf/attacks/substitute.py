"""The substitute-model attack of section 4.2.2, after Papernot et al. (2017).

A fresh network of the inner classifier's architecture learns the protected classifier's answers; it has gradients, and
what `fgsm` and `bim` find on it is tried on the protected one. `query` asks for the answers, `train_substitute` learns.
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.fast_gradient import fgsm
from inc_tf.data import Bounds, Dataset
from inc_tf.errors import InputError
from inc_tf.seeds import derive
from inc_tf.training import classifier as classifiers

_VALIDATION = 0.1


def query(
    oracle: Callable[[tf.Tensor], tf.Tensor],
    classifier: keras.Model,
    images: tf.Tensor,
    *,
    bounds: Bounds,
    epsilon: float = 0.1,
) -> Dataset:
    """Images and inputs adversarial to the inner classifier, labelled by the protected one.

    Args:
      oracle: the protected classifier, from images to classes, int64 [N]; e.g. ``lambda x: defense(x).predictions``.
      classifier: C, the inner one, from images to logits.
      images: float32 [N, H, W, C] within `bounds`; not the ones that will be attacked.
      bounds: (lowest, highest) value of a pixel.
      epsilon: ε of the FGSM that makes the adversarial inputs, in the images' own units.

    Returns: 2N labelled images in the order image, its adversarial input, the next image. Raises `InputError` for what
    `fgsm` refuses.
    """
    images = tf.convert_to_tensor(images)
    own = in_batches(lambda batch: tf.argmax(classifier(batch), axis=1), images)
    adversarial = fgsm(classifier, images, own, bounds=bounds, epsilon=epsilon)
    pairs = tf.reshape(tf.stack([images, adversarial], axis=1), [-1, *images.shape[1:]])
    labels = in_batches(oracle, pairs)
    return Dataset("substitute", "train", pairs.numpy(), labels.numpy().astype(np.int64), bounds)


def train_substitute(
    classifier: keras.Model,
    answers: Dataset,
    *,
    seed: int | None = None,
    steps: int = 4000,
    batch_size: int = 50,
    learning_rate: float = 1e-3,
    directory: Path,
) -> keras.Model:
    """A fresh network of `classifier`'s architecture, trained on the protected classifier's answers.

    Args:
      classifier: C, the inner one; its architecture is taken, not its weights.
      answers: what `query` returns; its last tenth is kept back to watch the agreement.
      seed: of the weights and the batches; None is 0. Sets Keras's global seed.
      steps: of Adam.
      batch_size: images a step.
      learning_rate: of Adam.
      directory: gets the state, from which the same call carries on, and TensorBoard's logs.

    Returns: a keras.Model, images → logits. Raises `InputError` where a batch is larger than the answers, or the
    directory holds another run.
    """
    seed = 0 if seed is None else seed
    kept = len(answers) - int(_VALIDATION * len(answers))
    if kept == len(answers):
        raise InputError(f"There are {len(answers)} answers; there must be at least {int(1 / _VALIDATION)}.")
    keras.utils.set_random_seed(derive(seed, "substitute"))
    substitute = keras.models.clone_model(classifier)
    classifiers.train(
        substitute,
        Dataset(answers.name, "train", answers.images[:kept], answers.labels[:kept], answers.bounds),
        Dataset(answers.name, "validation", answers.images[kept:], answers.labels[kept:], answers.bounds),
        settings={
            "substitute": classifier.name,
            "answers": len(answers),
            "seed": seed,
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
        },
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        directory=directory,
    )
    return substitute
