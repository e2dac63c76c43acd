"""Attacks by name: one declaration each, beside the function that it names, and what each may be run on.

A method is a function, the *target* that it is run on instead of the defence, and those of its arguments that differ
from the function's own defaults. Whatever lists, labels, chooses or runs attacks looks here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inc_tf.registry import Registry
from inc_tf.zoo import Parts

_PACKAGE = "inc_tf.attacks"

# The module of each name, so that names are known without TensorFlow.
_MODULES = {
    "fgsm": "fast_gradient",
    "bim": "basic_iterative",
    "pgd": "projected_gradient",
    "pgd-l2": "projected_gradient",
    "auto-pgd": "autopgd",
    "cw-l2": "carlini_wagner_l2",
    "cw-l0": "carlini_wagner_l0",
    "cw-linf": "carlini_wagner_linf",
    "autoencode-fgsm": "differentiable",
    "autoencode-pgd": "differentiable",
    "substitute-fgsm": "surrogates",
    "substitute-bim": "surrogates",
    "combined-fgsm": "surrogates",
    "combined-pgd": "surrogates",
    "bpda": "differentiable",
    "bpda-fgsm": "differentiable",
    "unrolled": "differentiable",
    "reverse": "differentiable",
    "surrogate-reverse": "differentiable",
    "implicit": "differentiable",
    "implicit-fgsm": "differentiable",
    "implicit-l2": "differentiable",
    "latent": "latent_search",
    "within-threshold": "within_threshold",
    "end-to-end": "autopgd",
    "end-to-end-l2": "autopgd",
    "square": "square_search",
    "square-l2": "square_search",
    "spsa": "simultaneous_perturbation",
    "boundary": "hop_skip_jump",
}


@dataclass(frozen=True)
class Method:
    """The declaration of an attack.

    Attributes:
      name: in options, records, tables and messages.
      function: called as ``attack(target, images, labels, *, bounds, seed=None, …)``, returns adversarial images.
      label: its line in tables; `{…}` are its arguments, e.g. `"PGD-{steps} on C"`.
      target: what it is run on, of `TARGETS`.
      arguments: of the function, where they are not its defaults.
      gradient: whether it follows the target's gradient, which a search does not have.
      least_change: whether it looks for the least change that misleads, so that one run serves every ε.
      left_out: why `inc.evaluate` does not run it; empty: it does.
    """

    name: str
    function: Callable
    label: str
    target: str = "classifier"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    gradient: bool = True
    least_change: bool = False
    left_out: str = ""

    @property
    def norm(self) -> float:
        """Of the ball that it keeps to, infinity or 2."""
        return self.arguments.get("norm", math.inf)

    @property
    def has_epsilon(self) -> bool:
        """Whether it takes the radius of a ball."""
        return "epsilon" in inspect.signature(self.function).parameters

    def settings(self, **given) -> dict[str, Any]:
        """All arguments of a run but the images' own, defaults included, with `given` over the declared ones."""
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty and name != "seed"
        }
        return {**defaults, **self.arguments, **given}

    def describe(self, **given) -> str:
        """The label, with what a run was `given` over the declared arguments."""
        return self.label.format(**self.settings(**given))


@dataclass(frozen=True)
class Target:
    """The declaration of what attacks are run on in a defence's place.

    Attributes:
      name: of the target.
      build: (the defence, the parts that it is made of, over how many draws of it logits are averaged) ↦ what the
        attack's function is given, mostly a function from images to logits.
      searches: whether each call costs a search, or more.
      suits: whether a defence can be attacked so.
    """

    name: str
    build: Callable[[Any, Parts, int], Any]
    searches: bool = True
    suits: Callable[[Any], bool] = lambda defense: True


METHODS: Registry[Method] = Registry("attack", {name: f"{_PACKAGE}.{module}" for name, module in _MODULES.items()})
TARGETS: Registry[Target] = Registry(
    "target",
    dict.fromkeys(
        (
            *("classifier", "autoencoder", "defense", "search", "straight-through", "unrolled", "implicit"),
            *("thresholded", "reverse", "surrogate-reverse"),
        ),
        f"{_PACKAGE}.differentiable",
    ),
)


def register(method: Method) -> Method:
    """Declare an attack; whatever goes by its name knows it from then on."""
    return METHODS.add(method.name, method)


def register_target(target: Target) -> Target:
    """Declare what attacks may be run on."""
    return TARGETS.add(target.name, target)
