"""Messages by which a member's life is introduced, for tests that write frames by hand. Not a test."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tests.helpers.waiting import eventually

MEET, KNOWN = 38, 39
REJECT = 1
REBUILT = 1
MASK = 2**48 - 1


def introduction(impl: ModuleType, store: bytes, rebuilt: bool = False, added: bool = True) -> Any:
    """What one of the first members says that lives on that store (16 bytes). added: it knows that it is one."""
    number = int.from_bytes(store, "little")
    first, second, third = number & MASK, number >> 48 & MASK, number >> 96
    return impl.Message(MEET, index=first, log_term=second, commit=third, hint=REBUILT * rebuilt, context=int(added))


def life(node: Any) -> int:
    """The number of a node's present life."""
    number: int = node.status().life
    return number


def later(number: int, lives: int = 1) -> int:
    """A life that comes so many after another one."""
    return ((number >> 32) + lives << 32) | 7


def befriend(impl: ModuleType, node: Any, deliver: Any, ids: Any, number: int = 1) -> None:
    """Members that exist in a test's own frames alone meet a node that runs, and say that they know its life.

    deliver: hands the node a frame. number: the life that each of them lives.
    """
    for id in ids:
        codec = impl._core.Codec(node.config.cluster, id, number)
        deliver(codec.encode(node.id, [introduction(impl, bytes([id] * 16))]))
        eventually(lambda id=id: node._parts.engine.peers.py_incarnation(id) == number)
        deliver(codec.encode(node.id, [impl.Message(KNOWN, index=life(node))]))
    eventually(lambda: begun([node]))


def begun(nodes: Any) -> bool:
    """Whether the lives of all of these take part."""
    return not any([node.status().waits_for for node in nodes])
