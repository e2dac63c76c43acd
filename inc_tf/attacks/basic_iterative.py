"""The basic iterative method as the paper runs it, with steps of 2ε."""

import tensorflow as tf

from inc_tf.attacks.ascent import ascend
from inc_tf.attacks.batches import in_batches
from inc_tf.attacks.checks import Classifier, check_epsilon, check_inputs, check_positive, on_any_model
from inc_tf.attacks.methods import Method, register
from inc_tf.data import Bounds


@on_any_model
def bim(
    classifier: Classifier,
    images: tf.Tensor,
    labels: tf.Tensor,
    *,
    bounds: Bounds,
    seed: int | None = None,
    epsilon: float,
    steps: int = 20,
    step_size: float | None = None,
) -> tf.Tensor:
    """x_{t+1} = Π(x_t + 2ε·sign ∇L(x_t, y)) from x₀ = x, Π onto the ℓ∞ ball of ε and the bounds; section 4.2.2.

    With the paper's step of 2ε, a pixel with any gradient goes from one side of the ball to the other, so the search is
    over the ball's vertices.

    Args:
      classifier: C, from images to logits.
      images: float32 [N, H, W, C] within `bounds`.
      labels: the true classes, int64 [N].
      bounds: (lowest, highest) value of a pixel.
      seed: unused; nothing in this attack is random.
      epsilon: ε, the largest change of a pixel, in the images' own units.
      steps: the paper's 20.
      step_size: length of a step, in the images' own units; None is the paper's 2ε.

    Returns: float32 [N, H, W, C]. Raises `InputError` for arguments that `check_inputs` or `check_epsilon` refuses, and
    for steps or a step size not above 0.
    """
    inputs = check_inputs(classifier, images, labels, bounds)
    check_epsilon(epsilon, bounds)
    check_positive(steps=steps, **({} if step_size is None else {"step_size": step_size}))

    def attack(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return ascend(
            classifier,
            images,
            images,
            labels,
            bounds=bounds,
            epsilon=epsilon,
            step_size=2 * epsilon if step_size is None else step_size,
            steps=steps,
        )

    return in_batches(attack, *inputs)


register(Method("bim", bim, "BIM on C, {steps} steps of 2ε", left_out="`pgd` is the stronger of its kind"))
