"""Sessions of this node that are kept alive: who is due, and when. On the watch thread; nothing here waits.

A session that proposes nothing is renewed a few times within its time-to-live, by an entry of its own. One that nobody
has any more, or that has ended, is renewed no more; nor is any when the node or its process ends, or stands still for
too long: then the cluster forgets it by the time of its entries, as every session that is not used.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._native.threads import Clock

if TYPE_CHECKING:
    from .session import Session

PARTS = 3  # a session is renewed when it was not used for this part of its time-to-live
SHORTEST_NS = 50_000_000  # and not more often than that
LEFT = 64  # that may be due before those that are gone are looked for
SOON_NS = 500_000_000  # the watch thread looks round by itself in half of this time, while anything is open


class Renewals:
    """Those of one node. wake: lets the watch thread have a round. asleep: whether it looks round not by itself."""

    def __init__(self, clock: Clock, wake: Callable[[], object], asleep: Callable[[], bool] = lambda: False) -> None:
        self.clock = clock
        self.wake = wake
        self.asleep = asleep
        self._numbers = itertools.count()
        #: (when to look, number, session), not in order yet. Any thread adds
        self._incoming: collections.deque[tuple[int, int, weakref.ref[Session[Any]]]] = collections.deque()
        #: the same in order. The watch thread's
        self._due: list[tuple[int, int, weakref.ref[Session[Any]]]] = []
        self._most = LEFT  # of them, before those that are gone are taken out

    def interval(self, session: Session[Any]) -> int:
        """Nanoseconds without use after which it is renewed."""
        return max(SHORTEST_NS, session.ttl_ns // PARTS)

    def add(self, session: Session[Any]) -> None:
        """Keep it alive. Any thread."""
        self._look_at(self.clock.py_now() + self.interval(session), weakref.ref(session))

    def _look_at(self, when: int, session: weakref.ref[Session[Any]]) -> None:
        self._incoming.append((when, next(self._numbers), session))
        if when - self.clock.py_now() < SOON_NS or self.asleep():
            self.wake()

    # --- the watch thread ----------------------------------------------------------------------------

    def next_due(self) -> int | None:
        """When to look again; None: it need not."""
        while self._incoming:
            heapq.heappush(self._due, self._incoming.popleft())
        if len(self._due) > self._most:
            # A time-to-live may be of years, and what is gone is not to stay for a part of it.
            self._due = [each for each in self._due if (session := each[2]()) is not None and not session.has_ended()]
            heapq.heapify(self._due)
            self._most = 2 * len(self._due) + LEFT
        return self._due[0][0] if self._due else None

    def work(self) -> None:
        """Renew what was not used for a while."""
        now = self.clock.py_now()
        while (due := self.next_due()) is not None and due <= now:
            _, _, kept = heapq.heappop(self._due)
            session = kept()
            if session is None or session.has_ended():
                continue
            interval = self.interval(session)
            later = session.used_ns + interval
            if later <= now:
                later = now + interval
                session.renew_soon(interval)
            self._incoming.append((later, next(self._numbers), kept))
