"""Leases by replicated time: whose have run out, in the order in which they do. Deterministic.

A lease lasts its time-to-live from the last entry that opened or renewed it. What an entry's time is worth is not
always known: at the beginning of a leader's term it may stand. So where an entry is the first of its term here, or has
the same time as the one before, what it renews counts from the next later time on. That is never too early, and makes
the order in which leases run out a matter of the times alone: it is the same whether one entry brings the news or
several do.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

from .lines import Key

#: (kind, name) of an object
Place = tuple[str, str]


@dataclass
class Lease:
    """One of them."""

    #: in nanoseconds
    ttl: int
    #: the time that it counts from; 0: from the next later one
    used: int = 0
    #: when it is looked at, which is no later than it runs out; 0: it is not
    due: int = 0
    #: what it keeps; in no order that means anything
    held: dict[tuple[str, str, int], None] = field(default_factory=dict)


class Leases:
    """All of them, and the time of the newest entry."""

    def __init__(self) -> None:
        self.now = 0
        self.term = 0
        #: whether what is renewed now counts from now
        self.sure = False
        self.by_id: dict[bytes, Lease] = {}
        #: ids of those that count from the next later time
        self.unsure: dict[bytes, None] = {}
        #: (when to look, id). Invariant: of each that counts, its ``due`` is here
        self.due: list[tuple[int, bytes]] = []

    def changes_at(self, time: int) -> bool:
        """Whether anything follows from an entry of that time."""
        return time > self.now and bool(self.unsure or (self.due and self.due[0][0] < time))

    def pass_on(self, time: int, term: int) -> None:
        """The next entry is of that time. ``expired`` follows."""
        later = time > self.now
        self.sure = later and term == self.term and time > 0
        self.term = term
        if not later:
            return
        self.now = time
        for id in self.unsure:
            self.count(id, self.by_id[id])
        self.unsure.clear()

    def count(self, id: bytes, lease: Lease) -> None:
        """It counts from now on."""
        lease.used = self.now
        if not lease.due:
            self.look_at(id, lease, lease.used + lease.ttl)

    def look_at(self, id: bytes, lease: Lease, when: int) -> None:
        """It may have run out then."""
        lease.due = when
        heapq.heappush(self.due, (when, id))

    def renew(self, id: bytes, lease: Lease) -> None:
        """It begins anew with this entry."""
        if self.sure:
            self.unsure.pop(id, None)
            self.count(id, lease)
        else:
            lease.used = 0
            self.unsure[id] = None

    def open(self, id: bytes, ttl: int) -> Lease:
        """A new one, or the one that is there."""
        lease = self.by_id.get(id)
        if lease is None:
            lease = self.by_id[id] = Lease(ttl)
        self.renew(id, lease)
        return lease

    def expired(self) -> tuple[bytes, Lease] | None:
        """The next one that has run out, which is taken away; None: there is none."""
        while self.due and self.due[0][0] < self.now:
            when, id = self.due[0]
            if self.looked_at(when, id):
                return id, self.by_id.pop(id)
        return None

    def looked_at(self, when: int, id: bytes) -> bool:
        """The first that is due is taken out; whether its lease runs out then. Else it is looked at again."""
        heapq.heappop(self.due)
        lease = self.by_id.get(id)
        if lease is None or lease.due != when:
            return False
        lease.due = 0
        if lease.used and lease.used + lease.ttl != when:
            self.look_at(id, lease, lease.used + lease.ttl)
        return lease.used + lease.ttl == when and lease.used > 0

    def drop(self, id: bytes) -> Lease | None:
        """Its owner needs it no more."""
        self.unsure.pop(id, None)
        return self.by_id.pop(id, None)

    def next_due(self) -> int | None:
        """When the next one runs out, if its owner stays away; None: there is none that counts."""
        if self.unsure:
            return self.now
        while self.due:
            when, id = self.due[0]
            if self.looked_at(when, id):
                self.look_at(id, self.by_id[id], when)
                return when
        return None

    def keep(self, place: Place, key: Key) -> None:
        """It has this now."""
        self.by_id[key[0]].held[place[0], place[1], key[1]] = None

    def let_go(self, place: Place, key: Key) -> None:
        """It has it no more."""
        lease = self.by_id.get(key[0])
        if lease is not None:
            lease.held.pop((place[0], place[1], key[1]), None)

    def records(self) -> list[tuple[Any, ...]]:
        """What a snapshot keeps; what a lease has stands with the objects."""
        return [(id, lease.ttl, lease.used) for id, lease in self.by_id.items()]

    def take(self, id: bytes, ttl: int, used: int) -> None:
        """One of these records."""
        self.by_id[id] = Lease(ttl, used)
        if used == 0:
            self.unsure[id] = None
        else:
            self.look_at(id, self.by_id[id], used + ttl)
