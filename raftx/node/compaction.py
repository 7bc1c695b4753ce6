"""How much of the log stays in memory: what the policy keeps behind the newest snapshot. The engine's; never waits."""

from __future__ import annotations

from ..consensus.raft import Raft
from ..types import LEADER


class Compaction:
    """The log of one node, which begins behind what a snapshot holds, or what its owner does not need any more.

    A leader keeps what the slowest member that answers has not acknowledged, and ``keep_entries`` before that, so that
    a member that was away for a moment needs no snapshot. Beyond ``max_log_bytes`` it waits for nobody.
    """

    def __init__(self, core: Raft, keep_entries: int, max_log_bytes: int) -> None:
        self.core = core
        self.keep_entries = keep_entries
        self.max_log_bytes = max_log_bytes
        #: the owner needs nothing up to here (Node.compact); 0: it has not said so
        self.released = 0

    def most(self) -> int:
        """Nothing above this may go: it is applied, durable, and in a snapshot or given up by the owner."""
        return min(self.core.applied, self.core.stable, max(self.core.snapshot_index, self.released))

    def release(self, index: int) -> bool:
        """The owner needs nothing up to ``index``; False when that is not applied and durable here."""
        if index > min(self.core.applied, self.core.stable):
            return False
        self.released = max(self.released, index)
        return True

    def tick(self) -> int:
        """Drop what may go and nobody is to need."""
        most = self.most()
        if most < self.core.log.first:
            return 0
        keep = self.slowest()
        keep = keep - self.keep_entries if keep > self.keep_entries else 0
        if keep < most and self.core.log_bytes(self.core.log.first, self.core.log.last) > self.max_log_bytes:
            keep = most
        keep = min(keep, most)
        if keep >= self.core.log.first:
            self.core.log.compact(keep)
        return 0

    def slowest(self) -> int:
        """What every member that answers this leader has; of a follower: what it has applied itself."""
        slowest = self.core.applied
        if self.core.role == LEADER:
            for slot in range(self.core.tracker.peers.count):
                if slot != self.core.self_slot and (self.core.tracker.peers.recent_active >> slot) & 1:
                    slowest = min(slowest, self.core.tracker.peers.match[slot])
        return slowest
