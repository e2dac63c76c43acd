"""Attacks: one file each, in which the attack is also declared.

Every attack is called as ``attack(classifier, images, labels, *, bounds, seed=None, …) -> adversarial images``:
`classifier` maps images to logits, `images` are float32 [N, H, W, C] within `bounds`, `labels` int64 [N]. Unsuitable
arguments are refused with an `InputError` before any work. `METHODS` lists the attacks by name, with the target of
each; `differentiable` makes stand-ins for a defence with a search, through which a gradient flows. Each attack
documents all its arguments, including the common ones, so that it can be read by itself.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["differentiable", "losses"],
    submod_attrs={
        "autopgd": ["auto_pgd"],
        "basic_iterative": ["bim"],
        "carlini_wagner_l0": ["cw_l0"],
        "carlini_wagner_l2": ["cw_l2"],
        "carlini_wagner_linf": ["cw_linf"],
        "fast_gradient": ["fgsm"],
        "hop_skip_jump": ["boundary"],
        "latent_search": ["latent"],
        "methods": ["METHODS", "TARGETS", "Method", "Target", "register", "register_target"],
        "overpowered": ["overpowered_pairs"],
        "projected_gradient": ["pgd"],
        "simultaneous_perturbation": ["spsa"],
        "square_search": ["square"],
        "surrogates": ["query"],
        "worst_of": ["worst_case"],
    },
)
