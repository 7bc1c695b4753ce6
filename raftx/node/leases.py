"""The leader's lease: for how long, by the clock, no other member can have been elected.

A leader that was confirmed by a quorum leads for as long as none of these voters helps a candidate. A voter promises
that for an election timeout after it has heard of a leader (``takes``), which it counts in ticks, on its own clock. So
the lease begins when the question was *sent* whose answers confirmed the leader, and it is shorter than the shortest
election timeout of a voter, by what ticks may be early and by what clocks may differ. It is looked at by the clock,
after the index of a read was taken: a leader that was stopped meanwhile finds it over.

The core keeps the promise of voters only while it knows a leader: not after a restart, and not after a refusal of a
higher term. Here it is kept whatever else happens. A candidate that a leader has asked to take over is helped, so a
transfer ends the lease, for the rest of the leadership. On the engine's thread, without the GIL; nothing is sent.
"""

from __future__ import annotations

from .._native.outbox import Message
from .._native.threads import Clock
from ..config import Config
from ..consensus.raft import Raft
from ..types import FLAG_TRANSFER, LEADER, MSG_APP, MSG_HEARTBEAT, MSG_PRE_VOTE, MSG_SNAP, MSG_VOTE
from .hello import Hellos
from .rows import CHECK_QUORUM, ELECTION_MS, HEARTBEAT_MS, MS, OPTIONS

# Of the time that is left of an election timeout: the clocks of two members may run at rates that differ by a fifth.
SHARE = 80
WHOLE = 100
# What may be missing of a voter's election timeout when it counts ticks: the first one may be due when it hears of the
# leader, and the second one may come early behind a late one.
EARLY_TICKS = 2
LONG_MS = 1 << 40  # more than any election timeout


def lease_ms(election_ms: int, heartbeat_ms: int) -> int:
    """Milliseconds for which a voter with these settings helps no candidate, on a slower clock; 0 for none.

    A tick is not told, and is at most as long as the heartbeat interval.
    """
    early = EARLY_TICKS * heartbeat_ms
    return (election_ms - early) * SHARE // WHOLE if election_ms > early else 0


class Leases:
    """That of one node as a leader, and its promise as a voter."""

    def __init__(self, core: Raft, clock: Clock, hellos: Hellos, settings: Config) -> None:
        self.core = core
        self.clock = clock
        self.hellos = hellos
        #: who has no check_quorum promises nothing
        self.promises = settings.check_quorum
        self.own_ms = lease_ms(settings.election_ticks * settings.tick_ms, settings.heartbeat_ticks * settings.tick_ms)
        #: ticks since this member heard of a leader. Its last life may have done so right before it ended, unless it
        #: has never been in a term
        self.quiet = 0 if core.term else core.election_timeout
        #: when the newest question was sent that a quorum has answered, in which term, under which membership
        self.since = self.term = self.installs = 0

    # --- as a voter ---------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick of time has passed."""
        self.quiet += 1

    def is_bound(self) -> bool:
        """Whether this member may help no candidate, itself included."""
        return self.promises and self.quiet < self.core.election_timeout and self.core.role != LEADER

    def takes(self, m: Message) -> bool:
        """Whether the core may have a message: not a request for a vote that the promise speaks against."""
        if m.kind == MSG_APP or m.kind == MSG_HEARTBEAT or m.kind == MSG_SNAP:
            if m.term >= self.core.term:
                self.quiet = 0
            return True
        if m.kind != MSG_VOTE and m.kind != MSG_PRE_VOTE:
            return True
        if m.flags & FLAG_TRANSFER and self.core.role == LEADER and m.term > self.core.term:
            # A leader knows whom it has asked to take over. Another one may have been asked by a leader of before, and
            # came late: it is heard when it campaigns again. Or nobody has asked it.
            return m.sender == self.core.transferee
        if m.flags & FLAG_TRANSFER or m.term < self.core.term:
            return True  # its leader wants it to; or it learns that it is behind
        return not self.is_bound()

    # --- as a leader --------------------------------------------------------------------------------

    def confirmed(self, since: int, term: int) -> None:
        """A quorum has confirmed this leader of ``term`` with answers to what was sent at ``since`` or later."""
        if self.core.role != LEADER or term != self.core.term or since > self.clock.boot():
            return
        if term != self.term or self.installs != self.core.tracker.installs or since > self.since:
            self.since, self.term, self.installs = since, term, self.core.tracker.installs

    def rest(self) -> int:
        """Nanoseconds for which the lease holds from now on; 0 or less: it does not."""
        if self.core.role != LEADER or self.term != self.core.term or not self.promises:
            return 0
        if self.core.lease_ended or self.core.transferee != 0 or self.installs != self.core.tracker.installs:
            return 0
        return self.since + self.length() * MS - self.clock.boot()

    def length(self) -> int:
        """Milliseconds of a lease: the shortest of what the voters promise; 0 while one of them promises nothing."""
        shortest = self.own_ms
        voters = self.core.tracker.voters | self.core.tracker.outgoing
        for slot in range(self.core.tracker.peers.count):
            if (voters >> slot) & 1 == 0 or slot == self.core.self_slot:
                continue
            id = self.core.tracker.peers.ids[slot]
            if self.hellos.said(id, OPTIONS, self.core.tracker.peers) & CHECK_QUORUM == 0:
                return 0
            election = self.hellos.said(id, ELECTION_MS, self.core.tracker.peers)
            heartbeat = self.hellos.said(id, HEARTBEAT_MS, self.core.tracker.peers)
            if election > 0 and heartbeat > 0:
                shortest = min(shortest, lease_ms(min(election, LONG_MS), min(heartbeat, LONG_MS)))
            else:
                return 0
        return shortest

    # --- for Python ---------------------------------------------------------------------------------

    def py_rest(self) -> int:
        """``rest``."""
        return self.rest()
