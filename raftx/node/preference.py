"""Who is to lead: the live voter of the highest priority (Config.priority) that is fit to.

A priority also counts in elections (consensus/raft.py), but a member that was away is elected only when its leader
fails. So a leader looks whether such a voter is back: it answers, has everything that is committed, its state machine
is not far behind, its disk has room, and all that has been so for a while. Then it is asked to take over. A leader
whose own state machine is far behind for long asks any voter that is fit, whatever its priority. Between two attempts
some election timeouts pass, more and more, since proposals are refused during each.

In an election a voter refuses its vote to a candidate of lower priority, as it expects to campaign itself. So one that
cannot or should not campaign at present counts as one of priority 0, and so does every voter after some election
timeouts without a leader: priorities never keep a group from having one. On the engine's thread, without the GIL.
"""

from __future__ import annotations

from ..config import Config
from ..consensus.raft import Raft
from ..types import LEADER, MSG_TRANSFER_LEADER, REPLICATE
from .hello import Hellos
from .lag import Lag
from .peers import PeerTable
from .room import Room
from .rows import OPTIONS, PRIORITY_UNIT

READY_TIMEOUTS = 2  # election timeouts for which a voter must have been fit to lead
PAUSE_TIMEOUTS = 10  # from the first attempt to the second one, twice as many to the next one, and so on
PAUSE_TIMEOUTS_MAX = 160
FAR_TIMEOUTS = 4  # for which a leader has been far behind when it looks for another one
YIELD_TIMEOUTS = 6  # without a leader, after which priorities do not count in elections


class Preference:
    """Of one node, while it leads."""

    def __init__(self, core: Raft, hellos: Hellos, peers: PeerTable, room: Room, lag: Lag, settings: Config) -> None:
        self.core = core
        self.hellos = hellos
        self.peers = peers
        self.room = room
        self.lag = lag
        self.priority = settings.priority
        #: who is preferred at present, 0 for nobody, and for how many ticks
        self.candidate = self.ready = 0
        #: ticks until the next attempt may be made, and election timeouts from that to the one behind it
        self.pause = 0
        self.timeouts = PAUSE_TIMEOUTS
        #: what was committed a tick ago
        self.committed = 0
        #: ticks for which no leader was heard of
        self.leaderless = 0

    def tick(self) -> int:
        """One tick of time has passed."""
        if self.pause > 0:
            self.pause -= 1
        self.core.priority = 0 if self.yields() else self.priority
        if self.core.role != LEADER:
            self.candidate = self.ready = 0
            self.timeouts = PAUSE_TIMEOUTS
            return 0
        relief = self.lag.far > FAR_TIMEOUTS * self.core.election_timeout
        best = self.preferred(-1 if relief else self.priority)
        self.committed = self.core.committed
        if best == 0 or best != self.candidate:
            self.candidate, self.ready = best, 0
            return 0
        self.ready += 1
        if self.ready < READY_TIMEOUTS * self.core.election_timeout or self.pause > 0 or not self.is_quiet(relief):
            return 0
        self.ready = 0
        self.pause = self.timeouts * self.core.election_timeout
        self.timeouts = min(2 * self.timeouts, PAUSE_TIMEOUTS_MAX)
        if relief:
            self.lag.relieved()
        self.core.scratch.reset(MSG_TRANSFER_LEADER)
        self.core.scratch.sender = self.core.id
        self.core.scratch.hint = best
        return self.core.step(self.core.scratch)

    def yields(self) -> bool:
        """Whether this voter's priority is not to count in an election now."""
        if self.core.is_led():
            self.leaderless = 0
            return False
        self.leaderless += 1
        if self.leaderless > YIELD_TIMEOUTS * self.core.election_timeout or self.lag.says_far() or self.lag.rests > 0:
            return True
        return self.room.full or not self.core.promotable() or self.core.has_unapplied_conf_change()

    def preferred(self, least: int) -> int:
        """The voter of the highest priority above ``least`` that is fit to lead; 0 for none."""
        best, to = least, 0
        for slot in range(self.core.tracker.peers.count):
            if slot == self.core.self_slot or (self.core.tracker.voters >> slot) & 1 == 0:
                continue
            id = self.core.tracker.peers.ids[slot]
            priority = self.hellos.said(id, OPTIONS, self.core.tracker.peers) // PRIORITY_UNIT
            if priority > best and self.is_fit(slot):
                best, to = priority, id
        return to

    def is_fit(self, slot: int) -> bool:
        """Whether the member in this slot could go on at once, where this one is."""
        if self.core.tracker.peers.state[slot] != REPLICATE or self.core.tracker.peers.match[slot] < self.committed:
            return False
        if not self.peers.is_alive(self.core.tracker.peers, slot):
            return False
        place = self.peers.of_slot(self.core.tracker.peers, slot)
        if self.peers.in_doubt[place]:
            return False  # it could not be elected
        return self.room.others[place] == 0 and self.lag.others[place] == 0

    def is_quiet(self, relief: bool) -> bool:
        """Whether no transfer and no change of membership is under way; ``relief``: one may wait to be applied here."""
        if self.core.transferee != 0 or self.core.tracker.outgoing != 0 or not self.core.committed_in_term():
            return False
        return relief or self.core.pending_conf_index <= self.core.applied
