"""Commands that write: ``raftx restore``, ``raftx wal rebuild`` and ``raftx recover``."""

from __future__ import annotations

from typing import Any


class Refused(Exception):
    """It is not done, because of what it would do; the text says what, and how to ask for it all the same."""


def add_to(commands: Any) -> None:
    """Add them."""
