"""Registries: things with a name are declared once, and looked up everywhere else."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from inc_tf.errors import InputError

Declared = TypeVar("Declared")


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question that ends a message about an unknown name, e.g. `" Did you mean 'mnist'?"`; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


class Registry(Generic[Declared]):
    """Declarations of one kind by name, in the order in which they were listed or made.

    Args:
      kind: the word for one of them in messages, e.g. `"attack"`.
      modules: by name, the module that declares it, for names that must be known before it is imported.
    """

    def __init__(self, kind: str, modules: Mapping[str, str] | None = None):
        self.kind = kind
        self._modules = dict(modules or {})
        self._declared: dict[str, Declared] = {}

    def add(self, name: str, declaration: Declared) -> Declared:
        """Declare `name`; returns the declaration. Declaring a name again replaces its declaration."""
        self._declared[name] = declaration
        return declaration

    def discard(self, name: str) -> None:
        """Remove the declaration of `name`, if there is one."""
        self._declared.pop(name, None)

    def __getitem__(self, name: str) -> Declared:
        """The declaration of `name`. Raises `InputError` for a name that is not declared."""
        self.check(name)
        if name not in self._declared:
            importlib.import_module(self._modules[name])
        return self._declared[name]

    def get(self, name: str) -> Declared | None:
        """The declaration of `name`; None for a name that is not declared."""
        return self[name] if name in self else None  # noqa: SIM401

    def check(self, name: str) -> None:
        """Raise `InputError` if `name` is not declared; it suggests the declared name that is spelled most like it."""
        if name not in self:
            raise InputError(f"There is no {self.kind} {name!r}; there are {', '.join(self)}.{suggestion(name, self)}")

    def __contains__(self, name: object) -> bool:
        return name in self._modules or name in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._modules, *self._declared]))

    def values(self) -> Iterator[Declared]:
        """The declarations, in order."""
        return (self[name] for name in self)
