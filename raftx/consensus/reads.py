"""Linearizable reads that wait until a quorum has confirmed their leader (thesis, section 6.4).

Reads are numbered within a leadership: the position of a read is its number. A heartbeat carries the position of
the newest read, its answer returns it, and an answer confirms all reads up to there, in the order in which
they came (etcd's read_only.go of v3.7). What the caller gave as context may therefore repeat: it is never
compared. No messages are sent from here.
"""

from __future__ import annotations

from array import array

from .. import _core
from .._core import Peers
from .._native.outbox import Message, Outbox
from ..types import MEMBERS_MAX, MSG_DOUBT, MSG_READ_INDEX, NUMBER_MAX
from . import quorum
from .configuration import Configuration
from .departed import Departed
from .tracker import Tracker


class PendingReads:
    """The reads of one leadership.

    Invariant: ``unconfirmed`` holds the reads with positions confirmed + 1, confirmed + 2, ...
    """

    def __init__(self) -> None:
        self.unconfirmed = Outbox()
        #: the newest position that each slot's member has acknowledged, 0 for none
        self.positions = array("Q", [0] * MEMBERS_MAX)
        #: what members that have left acknowledged in this leadership
        self.departed = Departed()
        self.before = array("Q", [0] * MEMBERS_MAX)
        self.confirmed = 0

    def __repr__(self) -> str:
        return f"<PendingReads {self.unconfirmed.length()} unconfirmed behind {self.confirmed}>"

    @property
    def acks(self) -> list[int]:
        """The newest position that each slot's member has acknowledged."""
        return list(self.positions)

    def reset(self) -> None:
        """Another leadership, or none."""
        self.unconfirmed.clear()
        self.confirmed = 0
        self.departed.clear()
        for slot in range(MEMBERS_MAX):
            self.positions[slot] = 0

    def move(self, peers: Peers, to: Configuration) -> None:
        """Another configuration is about to be installed: what was acknowledged moves with the ids.

        That holds for a member that leaves, too: it may come back.
        """
        for slot in range(MEMBERS_MAX):
            self.before[slot] = self.positions[slot]
        for slot in range(peers.count):
            if self.before[slot] and to.slot_of(peers.ids[slot]) < 0:
                self.departed.put(peers.ids[slot], self.before[slot])
        for slot in range(MEMBERS_MAX):
            self.positions[slot] = 0
        for slot in range(to.count):
            place = peers.slot_of(to.ids[slot])
            self.positions[slot] = self.before[place] if place >= 0 else self.departed.take(to.ids[slot])

    def last(self) -> int:
        """Position of the newest read."""
        return self.confirmed + self.unconfirmed.length()

    def context(self) -> int:
        """What heartbeats carry: the newest position, 0 when no read waits."""
        return self.last() if self.unconfirmed.length() else 0

    def add(self, index: int, origin: int, m: Message) -> int:
        """A read of member ``origin`` that came when ``index`` was committed."""
        self.unconfirmed.push(MSG_READ_INDEX, 0, origin, 0)
        self.unconfirmed.set_log(index, 0, 0)
        return self.unconfirmed.set_body(m.body, m.body_size, m.count)

    def add_row(self, index: int, box: Outbox, row: int) -> int:
        """The same for a read that has waited in ``box``."""
        self.unconfirmed.push(MSG_READ_INDEX, 0, box.sender_at(row), 0)
        self.unconfirmed.set_log(index, 0, 0)
        return self.unconfirmed.share_body(box, row)

    def add_mark(self) -> int:
        """A position without a read: an acknowledgement of it confirms the leader since now. Returns it."""
        self.unconfirmed.push(MSG_DOUBT, 0, 0, 0)
        return self.last()

    def acknowledge(self, slot: int, position: int) -> None:
        """A member has answered a heartbeat that carried ``position``; one that no heartbeat carried is ignored."""
        if position <= self.last():
            self.positions[slot] = max(self.positions[slot], position)

    def advance(self, tracker: Tracker) -> int:
        """How many of the oldest reads are confirmed now; the caller takes and discards them."""
        count = tracker.peers.count
        reached = min(self._majority(tracker.voters, count), self._majority(tracker.outgoing, count))
        if reached <= self.confirmed:
            return 0
        fresh = reached - self.confirmed
        self.confirmed = reached
        return fresh

    def _majority(self, voters: int, count: int) -> int:
        """The largest position that a majority of ``voters`` has acknowledged; 2^63-1 for no voters."""
        best = 0
        if voters == 0:
            return NUMBER_MAX
        for slot in range(count):
            candidate = self.positions[slot]
            if (voters >> slot) & 1 == 0 or candidate <= best:
                continue
            behind = voters
            for other in range(count):
                if self.positions[other] >= candidate:
                    behind &= ~_core.bit(other)
            if quorum.vote_result(voters, voters & ~behind, behind) == quorum.VOTE_WON:
                best = candidate
        return best
