"""Who may stay connected to us, and what people should hear of it: the definition of what ``limits.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``; both change in one commit. Nothing here opens or closes
anything, or knows sockets, NNG, frames or Raft.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import final

from .threads import _int, _int64, _number

# What notes are about. The detail is an error number; of getaddrinfo if it is negative.
NOTE_UNREACHABLE = 1  # a target could not be reached for a second; the detail says why
NOTE_REACHED = 2  # it can be again
NOTE_SHORTAGE = 3  # the system has too little of something; what needs it waits
NOTE_CROWD = 4  # connections were closed that had not sent a valid frame, or were too many
NOTE_LIMIT = 5  # a member takes only frames that are smaller than one for it; the detail is its limit
NOTE_TOO_LARGE = 6  # a member has a frame for this node that is larger than this node takes; the detail is our limit

NOTES = 64
STATES = 4  # of a connection
FREE, STRANGER, PROVEN, CLOSING = range(STATES)
SEED = 88172645463325252


class _Draw:
    """Numbers that choose which of several goes: that must not depend on who came when."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state = SEED

    def below(self, limit: int) -> int:
        """A number in 0..limit - 1 (xorshift)."""
        self.state ^= self.state << 13 & 2**64 - 1
        self.state ^= self.state >> 7
        self.state ^= self.state << 17 & 2**64 - 1
        return (self.state >> 33) % limit


def _most_frequent(sources: list[int]) -> int:
    """The source that occurs most often; of several, the one that occurs first."""
    return max(sources, key=sources.count)


@final
class Notes:
    """What people should hear of. ``put`` from any thread; one thread takes."""

    __slots__ = ("detail", "id", "kind", "lock", "lost", "waiting")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.waiting: list[tuple[int, int, int]] = []
        self.lost = 0  # for which there was no room
        self.kind = self.id = self.detail = 0  # of the one that take() found

    def put(self, kind: int, id: int, detail: int) -> None:
        """Add one; without room it is lost, and counted."""
        with self.lock:
            if len(self.waiting) == NOTES:
                self.lost += 1
            else:
                self.waiting.append((kind, id, detail))

    def take(self) -> bool:
        """Make the oldest the present one (``kind``, ``id``, ``detail``); False when there is none."""
        if not self.waiting:
            return False
        with self.lock:
            self.kind, self.id, self.detail = self.waiting.pop(0)
        return True

    def py_put(self, kind: int, id: int, detail: int) -> None:
        """Add one; without room it is lost, and counted."""
        self.put(_int(kind), _number(id), _int64(detail))

    def py_take(self) -> tuple[int, int, int] | None:
        """The oldest as (kind, id, detail), or None."""
        return (self.kind, self.id, self.detail) if self.take() else None


class _Arrival:
    """One connection. ``own``: it came over a listener that is there for it alone."""

    __slots__ = ("heard", "listener", "member", "own", "pipe", "since", "source", "state")

    def __init__(self) -> None:
        self.state = FREE
        self.own = False
        self.listener = self.pipe = self.source = self.since = self.heard = 0
        self.member = 0  # whom its certificate names; 0: it has none


@final
class Arrivals:
    """Connections on the receiving side, in NNG's hands: how many may be there, and for how long without a valid frame.

    A connection is a *stranger* until a valid frame has come over it. One stranger too many costs one of those whose
    sender has the most; one connection too many costs a stranger, or else the one that has been silent for longest.
    Whoever is to go is found by ``next_to_close``. Any thread, but for that.

    limit: 2..4096 connections. strangers: 1..limit - 1 of them. stranger_ms: how long one may stay a stranger.
    """

    __slots__ = (
        "_refused", "counts", "draw", "items", "limit", "listener", "lock", "lowest", "own", "pipe", "stranger_limit",
        "stranger_ns", "unnamed", "used",
    )  # fmt: skip

    def __init__(self, limit: int, strangers: int, stranger_ms: int) -> None:
        if not 2 <= _int(limit) <= 4096 or not 1 <= _int(strangers) < limit:
            raise ValueError("limit must be in 2..4096 and strangers in 1..limit - 1")
        if _int(stranger_ms) < 1:
            raise ValueError("stranger_ms must be at least 1")
        self.lock = threading.Lock()
        self.limit = limit
        self.stranger_limit = strangers
        self.stranger_ns = stranger_ms * 1_000_000
        self.draw = _Draw()
        # Those that are being closed may still be there when others come.
        self.items = [_Arrival() for _ in range(2 * limit)]
        self.lowest = 0  # every place below is taken
        self.used = 0  # every place from there on is free
        self.counts = [0] * STATES  # of places, by their state; of those that are free, none
        self._refused = 0
        self.unnamed = 0  # closed because their certificate names no member
        self.listener = self.pipe = 0  # of the one that next_to_close() found
        self.own = False

    def _become(self, place: int, state: int) -> None:
        """The only way to another state: places and counts follow."""
        item = self.items[place]
        if item.state != FREE:
            self.counts[item.state] -= 1
        item.state = state
        if state != FREE:
            self.counts[state] += 1
            self.used = max(self.used, place + 1)
            while self.lowest < self.used and self.items[self.lowest].state != FREE:
                self.lowest += 1
        else:
            self.lowest = min(self.lowest, place)
            while self.used and self.items[self.used - 1].state == FREE:
                self.used -= 1

    def _places(self) -> Iterator[tuple[int, _Arrival]]:
        return enumerate(self.items[: self.used])

    def _enter(self, own: bool, listener: int, pipe: int, source: int, now: int) -> int:
        # The lowest place that is free, so that those in use stand together at the beginning.
        place = self.lowest
        if place == len(self.items):
            self._refused += 1
            return -1
        strangers = self.counts[STRANGER]
        victim = -1
        if strangers >= self.stranger_limit:
            victim = self._worst(True)
        elif strangers + self.counts[PROVEN] >= self.limit:
            victim = self._worst(strangers != 0)
        if victim >= 0:
            self._become(victim, CLOSING)
            self._refused += 1
        self._become(place, STRANGER)
        item = self.items[place]
        item.own, item.listener, item.pipe, item.source = own, listener, pipe, source
        item.since = item.heard = now
        item.member = 0
        return place

    def _worst(self, strangers: bool) -> int:
        there = [(place, item) for place, item in self._places() if item.state == (STRANGER if strangers else PROVEN)]
        if not strangers:
            return min(there, key=lambda each: each[1].heard)[0]
        source = _most_frequent([item.source for _, item in there])
        same = [place for place, item in there if item.source == source]
        return same[self.draw.below(len(same))]

    def admit(self, listener: int, source: int, now: int) -> int:
        """One will come over a listener of its own: its place, -1 when there is no room at all."""
        with self.lock:
            return self._enter(True, listener, 0, source, now)

    def opened(self, listener: int, pipe: int, now: int) -> int:
        """It is there as this pipe: its place, -1 when it has to be closed at once."""
        with self.lock:
            for place, item in self._places():
                if item.state != FREE and item.own and item.listener == listener:
                    item.pipe = pipe
                    return place if item.state == STRANGER else -1
            return self._enter(False, listener, pipe, 0, now)

    def ended(self, pipe: int) -> None:
        """This pipe is gone."""
        with self.lock:
            for place, item in self._places():
                if item.state != FREE and item.pipe == pipe:
                    # What came over a listener of its own leaves that behind.
                    self._become(place, CLOSING if item.own else FREE)
                    break

    def proven(self, pipe: int, now: int) -> bool:
        """A valid frame has come over this pipe; False when it is not known."""
        with self.lock:
            for place, item in self._places():
                if item.pipe == pipe and item.state in (STRANGER, PROVEN):
                    self._become(place, PROVEN)
                    item.heard = now
                    return True
        return False

    def heard(self, pipe: int, now: int) -> None:
        """A frame has come over this pipe: if it is proven, it is not silent."""
        with self.lock:
            for _, item in self._places():
                if item.pipe == pipe and item.state == PROVEN:
                    item.heard = now

    def drop(self, listener: int) -> None:
        """What was admitted over this listener will not come."""
        with self.lock:
            for place, item in self._places():
                if item.state == STRANGER and item.own and item.listener == listener:
                    self._become(place, CLOSING)

    def sweep(self, now: int) -> int:
        """Who has been a stranger for too long has to go; when the next one will have, -1 for nobody."""
        later = -1
        with self.lock:
            for place, item in self._places():
                if item.state != STRANGER:
                    continue
                if now - item.since >= self.stranger_ns:
                    self._become(place, CLOSING)
                    self._refused += 1
                elif later < 0 or item.since + self.stranger_ns < later:
                    later = item.since + self.stranger_ns
        return later

    def next_to_close(self) -> bool:
        """Make one that has to go the present one (``listener``, ``pipe``, ``own``) and forget it; False for none."""
        with self.lock:
            for place, item in self._places():
                if item.state == CLOSING:
                    self._become(place, FREE)
                    self.listener, self.pipe, self.own = item.listener, item.pipe, item.own
                    item.pipe = 0
                    return True
        return False

    def count(self, strangers: bool) -> int:
        """How many there are, or how many strangers among them."""
        with self.lock:
            return self.counts[STRANGER] + (0 if strangers else self.counts[PROVEN])

    def member(self, pipe: int) -> int:
        """Whom the certificate of this pipe names; 0: nobody, or it is not known."""
        with self.lock:
            for _, item in self._places():
                if item.state != FREE and item.pipe == pipe:
                    return item.member
        return 0

    def py_identify(self, pipe: int, member: int) -> None:
        """Whom the certificate of this pipe names; 0: nobody, which is counted."""
        pipe, member = _number(pipe, 2**32), _number(member)
        with self.lock:
            if member == 0:
                self._refused += 1
                self.unnamed += 1
            for _, item in self._places():
                if item.state != FREE and item.pipe == pipe:
                    item.member = member
                    break

    def py_member(self, pipe: int) -> int:
        """Whom the certificate of this pipe names; 0: nobody, or it is not known."""
        return self.member(_number(pipe, 2**32))

    def py_retire(self, before: int) -> int:
        """Those that came before then have to go; how many they are."""
        with self.lock:
            old = [place for place, item in self._places() if item.state in (STRANGER, PROVEN) and item.since < before]
            for place in old:
                self._become(place, CLOSING)
        return len(old)

    def py_pipes(self) -> list[tuple[int, int]]:
        """The pipes of those that are there, with the time at which each came."""
        with self.lock:
            items = [item for _, item in self._places() if item.state in (STRANGER, PROVEN) and item.pipe]
            return [(item.pipe, item.since) for item in items]

    @property
    def refused(self) -> int:
        """How many were closed before they had sent a valid frame, or for want of room."""
        return self._refused

    def py_admit(self, listener: int, source: int, now: int) -> int:
        """One will come over a listener of its own: its place, -1 when there is no room at all."""
        return self.admit(_number(listener, 2**32), _number(source), _int64(now))

    def py_opened(self, listener: int, pipe: int, now: int) -> int:
        """It is there as this pipe: its place, -1 when it has to be closed at once."""
        return self.opened(_number(listener, 2**32), _number(pipe, 2**32), _int64(now))

    def py_ended(self, pipe: int) -> None:
        """This pipe is gone."""
        self.ended(_number(pipe, 2**32))

    def py_proven(self, pipe: int, now: int) -> bool:
        """A valid frame has come over this pipe; False when it is not known."""
        return self.proven(_number(pipe, 2**32), _int64(now))

    def py_heard(self, pipe: int, now: int) -> None:
        """A frame has come over this pipe: if it is proven, it is not silent."""
        self.heard(_number(pipe, 2**32), _int64(now))

    def py_drop(self, listener: int) -> None:
        """What was admitted over this listener will not come."""
        self.drop(_number(listener, 2**32))

    def py_sweep(self, now: int) -> int:
        """Who has been a stranger for too long has to go; when the next one will have, -1 for nobody."""
        return self.sweep(_int64(now))

    def py_next_to_close(self) -> tuple[int, int, bool] | None:
        """One that has to go, as (listener, pipe, whether the listener is its own), or None; it is forgotten then."""
        return (self.listener, self.pipe, self.own) if self.next_to_close() else None

    def py_count(self, strangers: bool = False) -> int:
        """How many there are, or how many strangers among them."""
        return self.count(strangers)

    def py_used(self) -> int:
        """How many places are looked through for one connection: those that are free lie behind, but for gaps."""
        return self.used
