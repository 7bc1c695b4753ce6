"""What a node asks of its transport: whole frames, to a member, best effort.

A transport may lose, delay, repeat and reorder frames; it must not change them without being
noticed (frames carry checksums) and must not block in ``send``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable


@runtime_checkable
class Transport(Protocol):
    """How frames reach the other members."""

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Begin to receive for node ``id``; ``deliver(frame)`` may be called from any thread, and never blocks.

        Raises ``TransportError`` when it cannot listen.
        """

    def send(self, to: int, frame: bytes) -> bool:
        """Hand over a frame for member ``to``. False: it was dropped (the node then counts the peer as unreachable)."""

    def close(self) -> None:
        """Stop receiving and release sockets. May be called twice; no ``deliver`` after it returns."""
