"""Stateless randomness: one integer seed at the door, split by name below."""

import hashlib


def derive(seed: int, *path: str | int) -> int:
    """A seed in [0, 2³¹) for the part of the work that `path` names, e.g. ``derive(0, "epoch", 3)``.

    Parts with different names get unrelated seeds; the same name always gets the same one.
    """
    digest = hashlib.sha256(repr((int(seed), *path)).encode()).digest()
    return int.from_bytes(digest[:4], "little") & 0x7FFFFFFF
