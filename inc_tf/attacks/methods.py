"""Attacks by name, each declared beside its function, and the targets that they can be run on.

A method is a function, the *target* that it is run on instead of the defence, and the arguments that differ from the
function's defaults. All code that lists, labels, chooses or runs attacks looks them up here.
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
      name: its name in options, records, tables and messages.
      function: called as ``attack(target, images, labels, *, bounds, seed=None, …)``, returns adversarial images.
      label: its label in tables; `{…}` are its arguments, e.g. `"PGD-{steps} on C"`.
      target: the target that it is run on, a name in `TARGETS`.
      arguments: arguments of the function that differ from its defaults.
      gradient: whether it follows the target's gradient, which a search does not have.
      least_change: whether it looks for the least change that changes the class, so that one run serves every ε.
      left_out: why `inc.evaluate` does not run it; empty if it does.
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
        """The norm of its ball, infinity or 2."""
        return self.arguments.get("norm", math.inf)

    @property
    def has_epsilon(self) -> bool:
        """Whether it takes the radius of a ball."""
        return "epsilon" in inspect.signature(self.function).parameters

    @property
    def searches(self) -> bool:
        """Whether each call of its target costs at least one search, so that it knows the defence."""
        return TARGETS[self.target].searches

    def settings(self, **given) -> dict[str, Any]:
        """All arguments of a run except the images' own: defaults, then the declared ones, then `given`."""
        defaults = {
            name: parameter.default
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty and name != "seed"
        }
        return {**defaults, **self.arguments, **given}

    def describe(self, **given) -> str:
        """The label, for a run with the arguments `given` instead of the declared ones."""
        return self.label.format(**self.settings(**given))


@dataclass(frozen=True)
class Target:
    """The declaration of a target, which attacks are run on instead of the defence itself.

    Attributes:
      name: of the target.
      build: maps the defence, its parts, and the number of draws over which its logits are averaged to the first
        argument of the attack's function, usually a function from images to logits.
      searches: whether each call costs at least one search.
      suits: whether a defence can be attacked this way.
      made_of: maps the name of the defence, and a function from names to defences, to the names of the defences and
        parts that `build` uses; finished work is filed under their contents.
    """

    name: str
    build: Callable[[Any, Parts, int], Any]
    searches: bool = True
    suits: Callable[[Any], bool] = lambda defense: True
    made_of: Callable[[str, Callable[[str], Any]], tuple[str, ...]] = lambda name, defense: (name,)


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
    """Declare an attack, so that it can be looked up by its name."""
    return METHODS.add(method.name, method)


def register_target(target: Target) -> Target:
    """Declare a target of attacks."""
    return TARGETS.add(target.name, target)
