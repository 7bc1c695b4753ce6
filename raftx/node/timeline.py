"""The last events in the life of a node, for who looks at it: those that the chronicle tells, and its begin and end.

Any thread adds, none waits, and nothing is decided by it. Never what is in an entry.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._native.threads import Clock

KEPT = 512  # events that are kept
# What the chronicle calls the member that an event is about
MEMBER = ("to", "was", "peer", "leader")


@dataclass(frozen=True)
class Event:
    """Something that has happened to a node: an element of ``Node.events``."""

    #: counts from 1 within this life of the node
    n: int
    #: seconds since the epoch, by the clock of the machine
    time: float
    #: "leader_elected", say: docs/logs.md has those of the log; and "started", "failed", "closing"
    event: str
    #: the same in words, of the node: "follows member 2, which leads in term 7"
    text: str
    #: the term, member and entry it is about; 0: none
    term: int = 0
    member: int = 0
    index: int = 0


class Timeline:
    """The newest events of one node."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._numbers = itertools.count(1)
        self._kept: collections.deque[Event] = collections.deque(maxlen=KEPT)

    def add(self, event: str, text: str, fields: Mapping[str, Any] | None = None) -> None:
        """Something has happened. fields: as of a line of the log."""
        about = fields or {}
        member = next((about[name] for name in MEMBER if about.get(name)), 0)
        now = self.clock.py_wall() / 1e9
        self._kept.append(
            Event(next(self._numbers), now, event, text, about.get("term", 0), member, about.get("index", 0))
        )

    def after(self, number: int) -> list[Event]:
        """The events with a higher number, in order."""
        return sorted([each for each in tuple(self._kept) if each.n > number], key=lambda each: each.n)
