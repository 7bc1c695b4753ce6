"""Lines of holders and of those who wait: the replicated state of locks, semaphores, elections and parties.

A line has a limit, of which each holder takes a part: all of it (a lock, a writer), or one of many (a permit, a reader,
a member of a party). Who comes first is first: nobody overtakes one that waits, however little it wants. Deterministic,
without clocks; the state machine says when somebody goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

#: who holds or waits: a lease, and a number of its owner's
Key = tuple[bytes, int]
#: makes a fencing token for it
Give = Callable[[Key], int]

WAITERS_MAX = 10_000


@dataclass(frozen=True)
class Place:
    """Somebody in a line."""

    #: how much of the limit it takes
    weight: int
    #: what it says of itself, encoded
    data: bytes
    #: its fencing token; 0: it waits
    token: int = 0


class Line:
    """One of them."""

    def __init__(self, give: Give, count: Callable[[], int]) -> None:
        self.give = give
        self.limit = 0
        #: in the order of their tokens; and in the order in which they came
        self.holders: dict[Key, Place] = {}
        self.waiters: dict[Key, Place] = {}
        self.taken = 0

    def unused(self) -> bool:
        """Whether nothing is known of it that a new one would not know."""
        return not self.holders and not self.waiters

    def claim(self, key: Key, weight: int, limit: int, wait: bool, data: bytes) -> tuple[Any, ...]:
        """Somebody wants to hold it. A claim that comes again is the same one."""
        if key in self.holders:
            return "ok", self.holders[key].token
        if key in self.waiters:
            return ("waits",)
        if self.unused():
            self.limit = limit
        elif self.limit != limit:
            return "differs", self.limit
        if not self.waiters and self.taken + weight <= self.limit:
            return "ok", self.grant(key, Place(weight, data))
        if not wait:
            return ("busy",)
        if len(self.waiters) >= WAITERS_MAX:
            return "full", WAITERS_MAX
        self.waiters[key] = Place(weight, data)
        return ("waits",)

    def grant(self, key: Key, place: Place) -> int:
        """It holds now; its token."""
        token = self.give(key)
        self.holders[key] = Place(place.weight, place.data, token)
        self.taken += place.weight
        return token

    def drop(self, key: Key) -> int:
        """It is gone, and ``settle`` follows. The token that it had, 0 if it waited, -1 if it was not here."""
        place = self.holders.pop(key, None)
        if place is not None:
            self.taken -= place.weight
            return place.token
        return -1 if self.waiters.pop(key, None) is None else 0

    def holds(self, key: Key) -> int:
        """The token of a holder; 0: it holds nothing."""
        place = self.holders.get(key)
        return 0 if place is None else place.token

    def settle(self) -> None:
        """Whoever is first and finds room holds it now."""
        while self.waiters:
            key = next(iter(self.waiters))
            place = self.waiters[key]
            if self.taken + place.weight > self.limit:
                return
            del self.waiters[key]
            self.grant(key, place)

    def tokens(self) -> Iterator[tuple[Key, int]]:
        """Of all that hold it."""
        for key, place in self.holders.items():
            yield key, place.token

    def keys(self) -> Iterator[Key]:
        """All that a lease keeps in it."""
        yield from self.holders
        yield from self.waiters

    def records(self) -> list[tuple[Any, ...]]:
        """What a snapshot keeps of it."""
        places = [*self.holders.items(), *self.waiters.items()]
        return [(self.limit, *key, place.weight, place.data, place.token) for key, place in places]

    def take(self, limit: int, lease: bytes, claim: int, weight: int, data: bytes, token: int) -> None:
        """One of these records."""
        self.limit = limit
        place = Place(weight, data, token)
        if token:
            self.holders[lease, claim] = place
            self.taken += weight
        else:
            self.waiters[lease, claim] = place


class Barrier:
    """Where clients wait for one another: with one phase, or with two (all come in, and all have gone out)."""

    def __init__(self, give: Give, count: Callable[[], int]) -> None:
        self.parties = 0
        self.double = False
        #: who waits to come in; who is in; who waits until all have gone out
        self.arrived: dict[Key, None] = {}
        self.inside: dict[Key, None] = {}
        self.leaving: dict[Key, None] = {}

    def unused(self) -> bool:
        """Whether nobody is here."""
        return not (self.arrived or self.inside or self.leaving)

    def arrive(self, key: Key, parties: int, double: bool) -> tuple[Any, ...]:
        """Somebody wants to come in."""
        if self.unused():
            self.parties, self.double = parties, double
        elif (self.parties, self.double) != (parties, double):
            return "differs", self.parties
        if key not in self.inside and key not in self.leaving:
            if key not in self.arrived and len(self.arrived) >= WAITERS_MAX:
                return "full", WAITERS_MAX
            self.arrived[key] = None
        return ("waits",)

    def depart(self, key: Key) -> tuple[Any, ...]:
        """He wants to go out, as soon as all do."""
        if key in self.inside:
            del self.inside[key]
            self.leaving[key] = None
        return ("waits",) if key in self.leaving else ("gone",)

    def drop(self, key: Key) -> int:
        """It is gone; 0, for it has no token, and -1 if it was not here."""
        for those in (self.arrived, self.inside, self.leaving):
            if key in those:
                del those[key]
                return 0
        return -1

    def holds(self, key: Key) -> int:
        """Whether it has come in."""
        return int(key in self.inside or key in self.leaving)

    def settle(self) -> list[Key]:
        """Let go who need not wait any more; those who are not known here from now on."""
        gone: list[Key] = []
        if self.double:
            if not self.inside and self.leaving:
                gone += self.leaving
                self.leaving.clear()
            if not self.inside and len(self.arrived) >= self.parties:
                self.inside = dict.fromkeys(self.first())
        elif len(self.arrived) >= self.parties > 0:
            gone += self.first()
        return gone

    def first(self) -> list[Key]:
        """Take out as many of those who came first as belong together."""
        keys = list(self.arrived)[: self.parties]
        for key in keys:
            del self.arrived[key]
        return keys

    def tokens(self) -> Iterator[tuple[Key, int]]:
        """Nobody has one."""
        return iter(())

    def keys(self) -> Iterator[Key]:
        """All that a lease keeps in it."""
        yield from self.arrived
        yield from self.inside
        yield from self.leaving

    def records(self) -> list[tuple[Any, ...]]:
        """What a snapshot keeps of it."""
        phases = (self.arrived, self.inside, self.leaving)
        return [(self.parties, self.double, at, *key) for at, those in enumerate(phases) for key in those]

    def take(self, parties: int, double: bool, phase: int, lease: bytes, claim: int) -> None:
        """One of these records."""
        self.parties, self.double = parties, double
        (self.arrived, self.inside, self.leaving)[phase][lease, claim] = None
