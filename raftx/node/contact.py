"""When a connection is of no use any more although nothing has ended it. Counts ticks; decides, does nothing.

A network that drops packets without a word, or something in between that acknowledges what it does not pass on, leaves
a connection that looks whole. Two signs tell:

* frames go out to a member and nothing has come from it for a while: what we send may not arrive;
* a member has made a new connection to us, and ours to it is an old one: it had a reason, which may be that it did not
  hear us. So whichever side notices first, both directions are made anew; a connection that is new is left alone,
  so the two do not go on renewing each other's.
"""

from __future__ import annotations

from array import array

from ..types import MEMBERS_MAX

TIMEOUTS = 3  # election timeouts make a while


class Contact:
    """One column entry for each member's slot. ``election_ticks``: of the configuration."""

    def __init__(self, election_ticks: int) -> None:
        self.limit = TIMEOUTS * election_ticks
        #: ticks since the first frame that was sent after we last heard of it, from 1; 0: nothing is unanswered
        self.unanswered = array("q", bytes(8 * MEMBERS_MAX))
        #: ticks since our connection to it came to stand, or was last made anew
        self.age = array("q", bytes(8 * MEMBERS_MAX))

    def sent(self, slot: int) -> int:
        """A frame has gone out to it."""
        if self.unanswered[slot] == 0:
            self.unanswered[slot] = 1
        return 0

    def heard(self, slot: int) -> int:
        """A frame of its present life has come."""
        self.unanswered[slot] = 0
        return 0

    def connected(self, slot: int) -> int:
        """A connection to it has come to stand."""
        self.age[slot] = 0
        return 0

    def greeted(self, slot: int) -> bool:
        """It has made a new connection to us: whether ours is to be made anew."""
        if self.age[slot] <= self.limit:
            return False
        self.age[slot] = 0
        return True

    def tick(self, slot: int) -> bool:
        """Time passes: whether our connection is to be made anew."""
        self.age[slot] += 1
        if self.unanswered[slot] == 0:
            return False
        self.unanswered[slot] += 1
        if self.unanswered[slot] <= self.limit:
            return False
        self.unanswered[slot] = 0
        self.age[slot] = 0
        return True
