"""Attacks, one file each.

Every attack is called as ``attack(classifier, images, labels, *, bounds, seed=None, …) -> adversarial images``:
`classifier` maps images to logits, `images` are float32 [N, H, W, C] within `bounds`, `labels` int64 [N]. What is wrong
with them is refused with an `InputError` before any work. What an attack on a whole defence is run on in the defence's
place, `substitute` and `combined` train, and `differentiable` makes of the defence itself.
"""

from inc_tf.attacks import combined, differentiable, substitute
from inc_tf.attacks.auto_pgd import auto_pgd
from inc_tf.attacks.bim import bim
from inc_tf.attacks.boundary import boundary
from inc_tf.attacks.cw_l0 import cw_l0
from inc_tf.attacks.cw_l2 import cw_l2
from inc_tf.attacks.cw_linf import cw_linf
from inc_tf.attacks.fgsm import fgsm
from inc_tf.attacks.latent import latent
from inc_tf.attacks.overpowered import overpowered_pairs
from inc_tf.attacks.pgd import pgd
from inc_tf.attacks.spsa import spsa
from inc_tf.attacks.square import square
from inc_tf.attacks.worst_case import worst_case

__all__ = [
    "auto_pgd",
    "bim",
    "boundary",
    "combined",
    "cw_l0",
    "cw_l2",
    "cw_linf",
    "differentiable",
    "fgsm",
    "latent",
    "overpowered_pairs",
    "pgd",
    "spsa",
    "square",
    "substitute",
    "worst_case",
]
