"""Whether a storage is in use by a node, and who calls it: the node, or the owner who still holds the object.

A storage that a node has opened is the node's until the node closes it: an owner who appended, synced or closed it
would write beside the node, and a start would find a log that never was. What the node calls is marked by the thread
that calls; so a class that wraps or extends a storage of this package need know nothing of it. No file is touched here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import UsageError

T = TypeVar("T")


class _Caller(threading.local):
    """Of one thread: how many calls of a node it is within."""

    depth = 0


_caller = _Caller()


def by_node(call: Callable[..., T], *given: Any) -> T:
    """Call a method of a storage as the node that uses it. Raises what it raises."""
    _caller.depth += 1
    try:
        return call(*given)
    finally:
        _caller.depth -= 1


def as_node(call: Callable[..., T]) -> Callable[..., T]:
    """The same call, made as the node that uses the storage, whenever it is made."""
    return lambda *given: by_node(call, *given)


class Use:
    """Whether one storage is in use by a node."""

    def __init__(self) -> None:
        self.by_node = False

    def begin(self) -> None:
        """It is opened: a node has it, if a node opens it."""
        self.by_node = _caller.depth > 0

    def end(self) -> None:
        """It is closed, or has lost its power."""
        self.by_node = False

    def check(self, what: str) -> None:
        """Raise UsageError where somebody else than the node that uses it calls the method of that name."""
        if self.by_node and _caller.depth == 0:
            raise UsageError(
                f"{what}() of a storage that a node uses is the node's alone: what is on disk would not fit together "
                "any more. Close the node first (Node.close closes its storage, too)"
            )
