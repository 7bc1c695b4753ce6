"""What may go wrong with a simulated disk, by chance or by order. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Chances:
    """How likely each operation is to go wrong, 0 to 1."""

    #: a sync takes up to ``stall_asks`` more rounds
    stall: float = 0.0
    stall_asks: int = 8
    #: a creation, reservation or write finds a descriptor, memory or the like short
    short: float = 0.0
    #: a write or a sync fails for good
    broken: float = 0.0


@dataclass
class Failure:
    """What ``fail`` has ordered."""

    operation: str
    code: int
    after: int
    times: int
    name: str | None
    short: bool
