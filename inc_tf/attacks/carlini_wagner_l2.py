"""The ℓ2 attack of Carlini and Wagner (2017): cleverhans's objective under a search in one graph.

cleverhans 4.0.0's own search does not run on Keras 3, gives its constant the shape of the images, so that batches mix
or fail, attacks towards the labels that it is given, never asks for the confidence in its test of success, and goes on
lowering a constant that has failed. Its objective and change of variables are kept.
"""

import tensorflow as tf
from cleverhans.tf2.attacks.carlini_wagner_l2 import CarliniWagnerL2
from cleverhans.tf2.utils import get_or_guess_labels

from inc_tf.adam import adam
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.carlini_wagner import shortfall, succeeds
from inc_tf.attacks.checks import (
    Classifier,
    check_confidence,
    check_inputs,
    check_positive,
    check_targets,
    on_any_model,
)
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds
from inc_tf.rows import select


@on_any_model
def cw_l2(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    targets: tf.Tensor | None = None,
    confidence: float = 5.0,
    binary_search_steps: int = 9,
    iterations: int = 10_000,
    learning_rate: float = 1e-2,
    initial_const: float = 1e-3,
) -> tf.Tensor:
    """min ‖δ‖₂² + c·max(margin + κ, 0) by Adam; a binary search finds the least c that succeeds (section VI-A).

    The search for one c stops when a tenth of its iterations have not lowered the batch's loss.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: unused; nothing in this attack is random.
      targets: int64 [N], the classes to reach; None is untargeted.
      confidence: κ ≥ 0, the margin of the logits that counts as success; the paper's 5.
      binary_search_steps: how many values of c to try.
      iterations: the largest number of Adam steps for each c; the reference's 10,000.
      learning_rate: Adam's, on the arctanh of the image.
      initial_const: the first c, for bounds that are 1 apart; it is scaled with their width squared, as ‖δ‖₂² is.

    Returns: float32 [N, H, W, C]; the clean image if the attack failed. Raises `InputError` for arguments that
    `check_inputs` or `check_targets` refuses, a confidence below 0 and budgets not above 0.
    """
    inputs = check_inputs(classifier, images, labels, bounds)
    targets = check_targets(classifier, inputs, targets)
    check_confidence(confidence)
    check_positive(
        binary_search_steps=binary_search_steps,
        iterations=iterations,
        learning_rate=learning_rate,
        initial_const=initial_const,
    )

    def attack(images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        return _Search(
            classifier,
            classes,
            targets is not None,
            batch_size=len(images),
            clip_min=bounds[0],
            clip_max=bounds[1],
            binary_search_steps=binary_search_steps,
            max_iterations=iterations,
            confidence=confidence,
            initial_const=initial_const * (bounds[1] - bounds[0]) ** 2,
            learning_rate=learning_rate,
        ).attack(images)

    return in_batches(attack, inputs.images, inputs.labels if targets is None else targets)


class _Search(CarliniWagnerL2):
    """cleverhans's attack, with its own search; for one batch, since it holds that batch's classes."""

    def __init__(self, classifier: Classifier, classes: tf.Tensor, targeted: bool, **parameters):
        super().__init__(classifier, y=classes, **parameters)
        self.targeted = targeted

    def _attack(self, x: tf.Tensor) -> tf.Tensor:
        one_hot, _ = get_or_guess_labels(self.model_fn, x, y=self.y)
        # A variable, because cleverhans's gradient watches those alone.
        return self._search(x, one_hot, tf.Variable(tf.zeros_like(x)))

    @tf.function
    def _search(self, images: tf.Tensor, one_hot: tf.Tensor, modifier: tf.Variable) -> tf.Tensor:
        """The binary search for c, image by image."""
        lower = tf.zeros(len(images))
        upper = tf.fill([len(images)], float("inf"))
        const = tf.fill([len(images)], self.initial_const)
        best = images, tf.fill([len(images)], float("inf"))
        for _ in tf.range(self.binary_search_steps):
            found, best = self._descend(images, one_hot, modifier, const, best)
            upper = tf.where(found, const, upper)
            lower = tf.where(found, lower, const)
            const = tf.where(tf.math.is_inf(upper), const * 10.0, (lower + upper) / 2.0)
        return best[0]

    def _descend(self, images, one_hot, modifier, const, best) -> tuple:
        """Adam from the clean images for one c; whether each succeeded, and the best (images, distances) so far."""
        # The inverse of cleverhans's clip_tanh; within ±1, for a finite arctanh.
        start = tf.atanh((2.0 * (images - self.clip_min) / (self.clip_max - self.clip_min) - 1.0) * 0.999999)
        modifier.assign(tf.zeros_like(images))
        moments = (tf.zeros_like(images), tf.zeros_like(images))
        found = tf.zeros(len(images), tf.bool)
        previous = float("inf")
        width = self.clip_max - self.clip_min
        for t in tf.range(self.max_iterations):
            candidates, gradient, loss, logits, distances = self.gradient(start, one_hot, modifier, const)
            if t % max(self.max_iterations // 10, 1) == 0:
                if loss > 0.9999 * previous:
                    break
                previous = loss
            success = succeeds(shortfall(logits, self.y, self.targeted), self.confidence)
            found |= success
            better = success & (distances < best[1])
            best = select(better, (candidates, distances), best)
            change, moments = adam(gradient / width**2, moments, tf.cast(t, tf.float32), self.learning_rate)
            modifier.assign_add(change)
        return found, best


register(Method("cw-l2", cw_l2, "Carlini–Wagner ℓ2 on C", left_out="thousands of steps; table_1 runs it"))
