"""What has a name: one declaration each, looked up by everybody else."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

from inc_tf.errors import InputError

Declared = TypeVar("Declared")


class Registry(Generic[Declared]):
    """Declarations of one kind by name, in the order in which they were made.

    Args:
      kind: what one is called in a message, e.g. `"attack"`.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._declared: dict[str, Declared] = {}

    def add(self, name: str, declaration: Declared) -> Declared:
        """Declare `name`; returns the declaration. Declaring a name again replaces what it stood for."""
        self._declared[name] = declaration
        return declaration

    def __getitem__(self, name: str) -> Declared:
        """The declaration of `name`. Raises `InputError` for a name that is not declared."""
        if name not in self._declared:
            close = difflib.get_close_matches(name, self._declared, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InputError(f"There is no {self.kind} {name!r}; there are {', '.join(self._declared)}.{hint}")
        return self._declared[name]

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def values(self) -> Iterator[Declared]:
        """The declarations, in order."""
        return iter(self._declared.values())
