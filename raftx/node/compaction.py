"""How much of the log stays in memory: what the policy keeps behind the newest snapshot. The engine's; never waits."""

from __future__ import annotations

from array import array

from ..consensus.raft import Raft
from ..types import LEADER, SNAPSHOT
from .peers import PeerTable
from .rows import PLACES

HOLD_TIMEOUTS = 600  # election timeouts for which a transfer keeps what it needs, above max_log_bytes
HOLD_TIMES = 2  # up to so many times max_log_bytes
ASK_TIMEOUTS = 4  # election timeouts in which a member that fetches a snapshot asks for the next part of it


class Compaction:
    """The log of one node, which begins behind what a snapshot holds, or what its owner does not need any more.

    A leader keeps what the slowest member that answers has not acknowledged, and ``keep_entries`` before that, so that
    a member that was away for a moment needs no snapshot. A member that is being sent a snapshot needs what follows it.
    Beyond ``max_log_bytes`` the leader waits for nobody but such a member, and for it a while only.

    What a member fetches may be an older snapshot than it was offered last, from before its source was restarted. So
    what follows the one that it asks for stays as well; and a node that has just begun drops nothing before those who
    fetch from it have had the time to ask.
    """

    def __init__(self, core: Raft, peers: PeerTable, keep_entries: int, max_log_bytes: int) -> None:
        self.core = core
        self.peers = peers
        self.keep_entries = keep_entries
        self.max_log_bytes = max_log_bytes
        #: the owner needs nothing up to here (Node.compact); 0: it has not said so
        self.released = 0
        #: ticks for which each member has been sent a snapshot, by place (peers.py); 0: it is not
        self.sent_for = array("q", bytes(8 * PLACES))
        #: of which snapshot each member has asked for a part, by place; 0: of none, or long ago. And ticks since then
        self.wanted = array("Q", bytes(8 * PLACES))
        self.quiet = array("q", bytes(8 * PLACES))
        #: where the log began, and ticks for which it stays so: none where nothing lies before the newest snapshot
        self.begin = core.log.first - 1
        self.grace = ASK_TIMEOUTS * core.election_timeout if self.begin < core.snapshot_index else 0

    def place_of(self, slot: int) -> int:
        """Where what is kept of the member in that slot stands."""
        return self.peers.of_slot(self.core.tracker.peers, slot)

    def most(self) -> int:
        """Nothing above this may go: it is applied, durable, and in a snapshot or given up by the owner."""
        return min(self.core.applied, self.core.stable, max(self.core.snapshot_index, self.released))

    def release(self, index: int, applied: int) -> bool:
        """The owner needs nothing up to ``index``; False when that is not applied and durable here.

        applied: what the state machine has. The core may not have heard of it, and its owner has.
        """
        if index > min(applied, self.core.stable):
            return False
        self.released = max(self.released, index)
        return True

    def asks(self, slot: int, index: int) -> None:
        """A member has asked for a part of the snapshot of that entry."""
        place = self.place_of(slot)
        self.wanted[place] = index
        self.quiet[place] = 0

    def tick(self) -> int:
        """Drop what may go and nobody is to need."""
        self.count_transfers()
        most = self.most()
        if most < self.core.log.first:
            return 0
        keep = self.slowest()
        keep = keep - self.keep_entries if keep > self.keep_entries else 0
        if keep < most:
            size = self.core.log_bytes(self.core.log.first, self.core.log.last)
            if size > self.max_log_bytes:
                keep = most if size // HOLD_TIMES > self.max_log_bytes else self.needed()
        keep = min(keep, most)
        if keep >= self.core.log.first:
            self.core.log.compact(keep)
        return 0

    def count_transfers(self) -> None:
        """For how long each member has been sent a snapshot, and whether it still asks for one."""
        leads = self.core.role == LEADER
        if self.grace > 0:
            self.grace -= 1
        for slot in range(self.core.tracker.peers.count):
            place = self.place_of(slot)
            self.sent_for[place] = self.sent_for[place] + 1 if leads and self.is_sent(slot) else 0
            self.quiet[place] += 1
            if self.quiet[place] > ASK_TIMEOUTS * self.core.election_timeout:
                self.wanted[place] = 0

    def is_sent(self, slot: int) -> bool:
        """Whether that member is being sent a snapshot."""
        return slot != self.core.self_slot and self.core.tracker.peers.state[slot] == SNAPSHOT

    def fetched(self, slot: int, index: int) -> int:
        """What a member will have when it has fetched its snapshot, if ``index`` is that of what it was offered."""
        wanted = self.wanted[self.place_of(slot)]
        return min(index, wanted) if wanted else index

    def slowest(self) -> int:
        """What every member that answers this leader has, or will have; of a follower: what it has applied itself."""
        slowest = self.core.applied
        if self.grace > 0:
            slowest = min(slowest, self.begin)
        for slot in range(self.core.tracker.peers.count):
            slowest = self.fetched(slot, slowest)
        if self.core.role == LEADER:
            for slot in range(self.core.tracker.peers.count):
                if self.is_sent(slot):
                    slowest = min(slowest, self.core.tracker.peers.pending_snapshot[slot])
                elif slot != self.core.self_slot and (self.core.tracker.peers.recent_active >> slot) & 1:
                    slowest = min(slowest, self.core.tracker.peers.match[slot])
        return slowest

    def needed(self) -> int:
        """Nothing up to this is needed by a member that has not been sent a snapshot for too long."""
        needed = self.core.applied
        for slot in range(self.core.tracker.peers.count):
            if 0 < self.sent_for[self.place_of(slot)] <= HOLD_TIMEOUTS * self.core.election_timeout:
                needed = min(needed, self.fetched(slot, self.core.tracker.peers.pending_snapshot[slot]))
        return needed
