"""When a connection is of no use any more although nothing has ended it. Counts ticks; decides, does nothing.

A network that drops packets without a word, or something in between that acknowledges what it does not pass on, leaves
a connection that looks whole. Two signs tell:

* frames go out to a member and nothing has come from it for a while: what we send may not arrive;
* a member has made a new connection to us, and ours to it is an old one: it had a reason, which may be that it did not
  hear us. So whichever side notices first, both directions are made again; a connection that is new is left alone,
  so the two do not go on renewing each other's.
"""

from __future__ import annotations

from array import array

from .rows import PLACES

TIMEOUTS = 3  # election timeouts make a while
LEAST_MS = 500  # but no less than a new connection may need to come to stand


class Contact:
    """One column entry for each place (peers.py). ``election_ticks`` and ``tick_ms``: of the configuration."""

    def __init__(self, election_ticks: int, tick_ms: int) -> None:
        self.limit = max(TIMEOUTS * election_ticks, -(-LEAST_MS // tick_ms))
        #: ticks since the first frame that was sent after we last heard of it, from 1; 0: nothing is unanswered
        self.unanswered = array("q", bytes(8 * PLACES))
        #: the tick in which a frame of it came last, from 1; 0: none has come
        self.heard_at = array("q", bytes(8 * PLACES))
        self.ticks = 1
        #: ticks since our connection to it was established, or last made again
        self.age = array("q", bytes(8 * PLACES))

    def forget(self, place: int) -> None:
        """The place belongs to another member now."""
        self.unanswered[place] = self.age[place] = self.heard_at[place] = 0

    def quiet(self, place: int) -> int:
        """Ticks since a frame of it came; -1: none has come."""
        return self.ticks - self.heard_at[place] if self.heard_at[place] else -1

    def sent(self, place: int) -> int:
        """A frame has gone out to it."""
        if self.unanswered[place] == 0:
            self.unanswered[place] = 1
        return 0

    def unsent(self, place: int) -> int:
        """A frame to it has been dropped: there was no connection, say, that could be of no use."""
        self.unanswered[place] = 0
        return 0

    def heard(self, place: int) -> int:
        """A frame of its present life has come."""
        self.unanswered[place] = 0
        self.heard_at[place] = self.ticks
        return 0

    def connected(self, place: int) -> int:
        """A connection to it has come to stand."""
        self.age[place] = 0
        self.unanswered[place] = 0
        return 0

    def greeted(self, place: int) -> bool:
        """It has made a new connection to us: whether ours is to be made again."""
        if self.age[place] <= self.limit:
            return False
        self.age[place] = 0
        return True

    def tick(self, place: int) -> bool:
        """Time passes: whether our connection is to be made again."""
        self.age[place] += 1
        if self.unanswered[place] == 0:
            return False
        self.unanswered[place] += 1
        if self.unanswered[place] <= self.limit:
            return False
        self.unanswered[place] = 0
        self.age[place] = 0
        return True
