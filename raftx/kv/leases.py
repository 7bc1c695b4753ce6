"""Leases: which there are, what belongs to each, and when each may be taken for run out.

What there is comes of the entries alone. A lease ends by an entry that says which renewal its proposer saw last, and
only if no other has come since and its time has passed by the times of the entries. When an entry like that is proposed
each member tells by its own clock, which counts from when the renewal was applied there: never before the whole time
has passed since it was acknowledged to anybody. That clock is no part of the state.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field

from .errors import LEASE_EXISTS, LEASE_NOT_FOUND, TTL_TOO_LARGE

TTL_MIN = 2  # seconds
TTL_MAX = 9_000_000_000
SECOND = 1_000_000_000
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot() -> int:
    """Nanoseconds since some moment, by a clock that also runs while the system sleeps."""
    return time.clock_gettime_ns(_CLOCK)


@dataclass
class Lease:
    """One of them."""

    #: in seconds
    ttl: int
    #: the entry that granted or renewed it last
    renewed: int
    #: the time of the entry that granted or renewed it last, in nanoseconds; 0: not known
    since: int
    #: likewise, by this member's own clock
    seen: int
    keys: set[bytes] = field(default_factory=set)


class Leases:
    """All of them."""

    def __init__(self) -> None:
        self.by_id: dict[int, Lease] = {}
        #: by this member's own clock: (when to look at it, id, entry that renewed it); some are out of date
        self._due: list[tuple[int, int, int]] = []

    # --- what entries do ---------------------------------------------------------------------------

    def grant(self, id: int, ttl: int, index: int, now: int) -> int:
        """A new one, by an entry of that index and time; the seconds that it is granted for.

        Raises LEASE_NOT_FOUND, TTL_TOO_LARGE, LEASE_EXISTS.
        """
        if id == 0:
            raise LEASE_NOT_FOUND
        if ttl > TTL_MAX:
            raise TTL_TOO_LARGE
        if id in self.by_id:
            raise LEASE_EXISTS
        self.take(id, Lease(max(ttl, TTL_MIN), index, now, boot()))
        return self.by_id[id].ttl

    def keep(self, id: int, index: int, now: int) -> int:
        """Renew one, by an entry of that index and time; its seconds, 0 where there is none."""
        lease = self.by_id.get(id)
        if lease is None:
            return 0
        lease.renewed, lease.since, lease.seen = index, now, boot()
        self._note(id, lease)
        return lease.ttl

    def revoke(self, id: int) -> list[bytes]:
        """End one; its keys, in order. Raises LEASE_NOT_FOUND."""
        lease = self.by_id.pop(id, None)
        if lease is None:
            raise LEASE_NOT_FOUND
        return sorted(lease.keys)

    def has_expired(self, id: int, renewed: int, now: int) -> bool:
        """Whether it ends by an entry of that time, whose proposer had seen that renewal last."""
        lease = self.by_id.get(id)
        if lease is None or lease.renewed != renewed:
            return False
        return lease.since == 0 or now == 0 or now - lease.since >= lease.ttl * SECOND

    def knows(self, lease: int) -> bool:
        """Whether there is that lease."""
        return lease in self.by_id

    def move(self, key: bytes, before: int, after: int) -> None:
        """A key belongs to another lease; 0: to none."""
        if before in self.by_id:
            self.by_id[before].keys.discard(key)
        if after in self.by_id:
            self.by_id[after].keys.add(key)

    def take(self, id: int, lease: Lease) -> None:
        """A new one."""
        self.by_id[id] = lease
        self._note(id, lease)

    def become(self, by_id: dict[int, Lease]) -> None:
        """Have those of a snapshot."""
        self.by_id = {}
        self._due = []
        for id, lease in by_id.items():
            self.take(id, lease)

    # --- this member's clock -------------------------------------------------------------------------

    def _note(self, id: int, lease: Lease) -> None:
        heapq.heappush(self._due, (lease.seen + lease.ttl * SECOND, id, lease.renewed))
        if len(self._due) > 4 * len(self.by_id) + 64:
            self._due = [(each.seen + each.ttl * SECOND, id, each.renewed) for id, each in self.by_id.items()]
            heapq.heapify(self._due)

    def remaining(self, id: int) -> int:
        """Nanoseconds that are left of one."""
        lease = self.by_id[id]
        return lease.seen + lease.ttl * SECOND - boot()

    def due(self) -> list[tuple[int, int]]:
        """Those whose time has passed: (id, entry that renewed it). They are told once; ``again`` after that."""
        now = boot()
        found = []
        while self._due and self._due[0][0] <= now:
            _, id, renewed = heapq.heappop(self._due)
            lease = self.by_id.get(id)
            if lease is not None and lease.renewed == renewed and lease.seen + lease.ttl * SECOND <= now:
                found.append((id, renewed))
        return found

    def again(self, id: int, renewed: int, later: int) -> None:
        """Tell of it again, so many nanoseconds later, unless it was renewed."""
        lease = self.by_id.get(id)
        if lease is not None and lease.renewed == renewed:
            heapq.heappush(self._due, (boot() + later, id, renewed))

    def restart(self, more: int) -> None:
        """Give each its whole time again, and so many nanoseconds: a leader that has just been elected does."""
        now = boot()
        self._due = []
        for id, lease in self.by_id.items():
            lease.seen = max(lease.seen, now + more)
            self._note(id, lease)
