"""Attacks, one file each.

Every attack is called as ``attack(classifier, images, labels, *, bounds, seed=None, …) -> adversarial images``:
`classifier` maps images to logits, `images` are float32 [N, H, W, C] within `bounds`, `labels` int64 [N]. What is wrong
with them is refused with an `InputError` before any work. What an attack on a whole defence is run on in the defence's
place, `substitute` and `combined` train, and `differentiable` makes of the defence itself.
"""

from inc_tf.attacks import combined, differentiable, substitute
from inc_tf.attacks.autopgd import auto_pgd
from inc_tf.attacks.basic_iterative import bim
from inc_tf.attacks.carlini_wagner_l0 import cw_l0
from inc_tf.attacks.carlini_wagner_l2 import cw_l2
from inc_tf.attacks.carlini_wagner_linf import cw_linf
from inc_tf.attacks.fast_gradient import fgsm
from inc_tf.attacks.hop_skip_jump import boundary
from inc_tf.attacks.latent_search import latent
from inc_tf.attacks.overpowered import overpowered_pairs
from inc_tf.attacks.projected_gradient import pgd
from inc_tf.attacks.simultaneous_perturbation import spsa
from inc_tf.attacks.square_search import square
from inc_tf.attacks.worst_of import worst_case

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
