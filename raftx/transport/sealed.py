"""A link whose frames have a seal behind them: by ``cluster_key``, which all members of a cluster have.

Knows neither sockets nor frames: what is sealed and when a seal is good is in ``_native.seal``. Every other transport
lies within: a frame leaves with its seal, and one that comes without a good one is counted and not looked at.
"""

from __future__ import annotations

from .._native.seal import Seal
from .._native.threads import Event
from .link import Link

SEAL = 32  # bytes behind a frame


class SealedLink(Link):
    """Another link, whose frames are sealed. Used by the engine's thread alone."""

    def __init__(self, inner: Link, sealer: Seal) -> None:
        self.inner = inner
        self.sealer = sealer
        self.notes = inner.notes
        self.room = 0
        self.refused = 0

    def prepare(self, to: int, size: int) -> bool:
        if not self.inner.prepare(to, size + SEAL):
            return False
        self.place = self.inner.place
        self.room = size
        return True

    def send(self) -> int:
        if self.sealer.close(self.place, self.room) != 0:
            return 1
        return self.inner.send()

    def waiting(self) -> bool:
        return self.inner.waiting()

    def next(self) -> bool:
        if not self.inner.next():
            return False
        self.data = self.inner.data
        self.refused = self.sealer.open(self.data, self.inner.size)
        self.size = self.inner.size - SEAL if self.refused == 0 else 0
        return True

    def refusal(self) -> int:
        return self.refused

    def member(self) -> int:
        return self.inner.member()

    def proven(self) -> int:
        return self.inner.proven()

    def fresh(self) -> int:
        return self.inner.fresh()

    def note(self, kind: int, id: int, detail: int) -> int:
        return self.inner.note(kind, id, detail)

    def renew(self, to: int) -> int:
        return self.inner.renew(to)

    def heard(self, id: int) -> int:
        return self.inner.heard(id)

    def reach(self, to: int) -> int:
        return self.inner.reach(to)

    def wait(self, event: Event, timeout: int, hungry: bool) -> int:
        return self.inner.wait(event, timeout, hungry)

    def look(self, hungry: bool) -> bool:
        return self.inner.look(hungry)

    def collect(self) -> int:
        return self.inner.collect()

    def flush(self) -> int:
        return self.inner.flush()
