"""Attacks, one file each, and each declared where it is written.

Every attack is called as ``attack(classifier, images, labels, *, bounds, seed=None, …) -> adversarial images``:
`classifier` maps images to logits, `images` are float32 [N, H, W, C] within `bounds`, `labels` int64 [N]. What is wrong
with them is refused with an `InputError` before any work. `METHODS` has the attacks by name, with what each is run on;
`differentiable` makes of a defence with a search what a gradient goes through. The attacks repeat the arguments that
they have in common and what these mean, so that a reader of one need not look further.
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
