"""Attacks on models that imitate a defence: the substitute of section 4.2.2, after Papernot et al. (2017), and the
encoder of section 4.2.3's combined attack.

`query` asks a protected classifier for the labels that a substitute learns from; `inc_tf.training` trains it, and the
encoder. Both have gradients, and the images found on them are tried on the defence.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from inc_tf.attacks.basic_iterative import bim
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.fast_gradient import fgsm
from inc_tf.attacks.methods import Method, register
from inc_tf.attacks.projected_gradient import pgd
from inc_tf.data import Bounds, Dataset


def query(
    oracle: Callable[[tf.Tensor], tf.Tensor],
    classifier: keras.Model,
    images: tf.Tensor,
    *,
    bounds: Bounds,
    epsilon: float = 0.1,
) -> Dataset:
    """Images, and adversarial inputs to the inner classifier, with the labels that the protected classifier gives them.

    Args:
      oracle: the protected classifier, from images to classes, int64 [N]; e.g. ``lambda x: defense(x).predictions``.
      classifier: C, the inner one, from images to logits.
      images: float32 [N, H, W, C] within `bounds`; not the ones that will be attacked.
      bounds: (lowest, highest) value of a pixel.
      epsilon: ε of the FGSM that makes the adversarial inputs, in the images' own units.

    Returns: 2N labelled images in the order image, its adversarial input, the next image. Raises `InputError` whenever
    `fgsm` does.
    """
    images = tf.convert_to_tensor(images)
    own = in_batches(lambda batch: tf.argmax(classifier(batch), axis=1), images)
    adversarial = fgsm(classifier, images, own, bounds=bounds, epsilon=epsilon)
    pairs = tf.reshape(tf.stack([images, adversarial], axis=1), [-1, *images.shape[1:]])
    labels = in_batches(oracle, pairs)
    return Dataset("substitute", "train", pairs.numpy(), labels.numpy().astype(np.int64), bounds)


_TRAINED = "its stand-in has to be trained; figure_5 and section_4_2_3 run it"
register(Method("substitute-fgsm", fgsm, "FGSM on a substitute", target="substitute", left_out=_TRAINED))
register(Method("substitute-bim", bim, "BIM on a substitute", target="substitute", left_out=_TRAINED))
register(Method("combined-fgsm", fgsm, "FGSM on C∘G∘Ê", target="combined", left_out=_TRAINED))
register(Method("combined-pgd", pgd, "PGD-{steps} on C∘G∘Ê", target="combined", left_out=_TRAINED))
