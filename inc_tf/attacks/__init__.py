"""Attacks, one file each.

Every attack is called as ``attack(classifier, images, labels, *, bounds, seed=None, …) -> adversarial images``:
`classifier` maps images to logits, `images` are float32 [N, H, W, C] within `bounds`, `labels` int64 [N].
"""

from inc_tf.attacks.fgsm import fgsm

__all__ = ["fgsm"]
