"""The worst of several attacks, image by image: the measure of a defence."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from inc_tf.attacks.losses import higher, margin
from inc_tf.data import Bounds
from inc_tf.errors import InputError


def worst_case(attacks: Sequence[Callable[..., tf.Tensor]]) -> Callable[..., tf.Tensor]:
    """One attack that runs `attacks` and keeps, for each image, the result that the classifier gets most wrong.

    Args:
      attacks: each called as every attack is, ``attack(classifier, images, labels, bounds=…, seed=…)``; bind its own
        arguments with `functools.partial`. An attack on a stand-in ignores the classifier that it is given.

    Returns: an attack of the same form. The classifier that it is given judges the results, for which it needs no
    gradient. Raises `InputError` if there are no attacks.
    """
    if not attacks:
        raise InputError("There are no attacks to take the worst of; name at least one.")

    def attack(
        classifier: Callable[[tf.Tensor], tf.Tensor],
        images: tf.Tensor,
        labels: tf.Tensor,
        *,
        bounds: Bounds,
        seed: int | None = None,
    ) -> tf.Tensor:
        best = tf.convert_to_tensor(images)
        highest = margin(labels, classifier(best))
        for one in attacks:
            found = one(classifier, images, labels, bounds=bounds, seed=seed)
            best, highest = higher(best, highest, found, margin(labels, classifier(found)))
        return best

    return attack
