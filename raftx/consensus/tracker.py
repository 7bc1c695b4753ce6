"""The members and the progress of each: etcd's tracker package on columns.

Transitions of a peer's progress stand here and nowhere else. No messages are sent from here.
"""

from __future__ import annotations

from array import array

from .. import _core
from .._core import Inflights, Peers
from .._native import checks
from ..types import MEMBERS_MAX, PROBE, REPLICATE, SNAPSHOT, ConfState
from . import quorum
from .confchange import check_conf_state
from .configuration import Configuration
from .departed import Departed

GRANTED = 1  # what a member that has left had voted
REFUSED = 2

# A peer is
#   PROBE      its log is not known: one append at a time, then a pause until it answers
#   REPLICATE  appends are pipelined, up to the window
#   SNAPSHOT   a snapshot is under way: nothing else is sent
# Invariants: match < next; match is durable on that peer; entries in [match + 1, next - 1] are in flight
# in REPLICATE. sent_commit is the highest commit index that was sent to that peer; it may be next or more,
# of which the peer has taken no more than next - 1.


class Tracker:
    """Membership as masks of slots, progress as columns, votes as masks."""

    def __init__(
        self, conf_state: ConfState, max_inflight_messages: int, max_inflight_bytes: int, group_commit: bool = False
    ) -> None:
        self.peers = Peers()
        self.inflights = Inflights(max_inflight_messages, max_inflight_bytes)
        self.voters = self.outgoing = self.learners = self.learners_next = 0
        self.votes_granted = self.votes_refused = 0
        self.auto_leave = False
        #: bytes of entries in one append to each slot's member, where that is less than for everybody; 0: it is not
        self.append_limits = array("Q", bytes(8 * MEMBERS_MAX))
        self.group_commit = group_commit
        #: what members that have left voted in this campaign
        self.departed_votes = Departed()
        #: how many configurations have been installed, and for each slot where its member was before the last one; -1:
        #: it was no member. Columns by slot that are kept elsewhere are moved by this.
        self.installs = 0
        self.places = array("b", [-1] * MEMBERS_MAX)
        #: the same for progress; -1 also for a member that begins anew
        self.progress_places = array("b", [-1] * MEMBERS_MAX)
        self.column = array("Q", bytes(8 * MEMBERS_MAX))
        self.present = Configuration()
        check_conf_state(conf_state)
        self.install(Configuration(conf_state), 0)

    def install(self, to: Configuration, next: int) -> None:
        """Take another membership; members whose progress begins anew are probed from ``next``.

        Progress, windows, votes and limits of appends move with the ids. A vote outlives its member's absence: it was
        given for this term, and the member may come back within it.
        """
        for slot in range(MEMBERS_MAX):
            self.places[slot] = self.peers.slot_of(to.ids[slot]) if slot < to.count else -1
            self.progress_places[slot] = -1 if (to.anew >> slot) & 1 else self.places[slot]
        self._move_votes(to)
        for slot in range(MEMBERS_MAX):
            self.column[slot] = self.append_limits[slot]
        for slot in range(MEMBERS_MAX):
            self.append_limits[slot] = self.column[self.places[slot]] if self.places[slot] >= 0 else 0
        self.peers.move(to.ids, self.progress_places, to.count)
        self.inflights.move(self.progress_places)
        self.voters = to.voters
        self.outgoing = to.outgoing
        self.learners = to.learners
        self.learners_next = to.learners_next
        self.auto_leave = to.auto_leave
        for slot in range(to.count):
            if self.progress_places[slot] < 0:
                self.begin(slot, next)
        self.installs += 1

    def _move_votes(self, to: Configuration) -> None:
        granted, refused = self.votes_granted, self.votes_refused
        for slot in range(self.peers.count):
            if ((granted | refused) >> slot) & 1 and to.slot_of(self.peers.ids[slot]) < 0:
                self.departed_votes.put(self.peers.ids[slot], GRANTED if (granted >> slot) & 1 else REFUSED)
        self.votes_granted = self.votes_refused = 0
        for slot in range(to.count):
            place = self.places[slot]
            vote = 0
            if place < 0:
                vote = self.departed_votes.take(to.ids[slot])
            elif ((granted | refused) >> place) & 1:
                vote = GRANTED if (granted >> place) & 1 else REFUSED
            if vote == GRANTED:
                self.votes_granted |= _core.bit(slot)
            elif vote == REFUSED:
                self.votes_refused |= _core.bit(slot)

    def look_at(self, slot: int) -> None:
        """In a debug build: a member's slot, and the invariants of its progress. At the end of each transition."""
        checks.check_index(slot, self.peers.count)
        checks.check(self.peers.match[slot] < self.peers.next[slot])

    def begin(self, slot: int, next: int) -> None:
        """A member that is new in the configuration: probed from ``next``, and counted as heard from."""
        self.peers.next[slot] = next if next else 1
        self.peers.set_recent_active(slot, True)
        self.look_at(slot)

    def tell(self, to: Configuration) -> None:
        """Write the present membership into ``to``."""
        to.clear()
        to.count = self.peers.count
        for slot in range(self.peers.count):
            to.ids[slot] = self.peers.ids[slot]
        to.voters = self.voters
        to.outgoing = self.outgoing
        to.learners = self.learners
        to.learners_next = self.learners_next
        to.auto_leave = self.auto_leave

    def fits(self, to: Configuration) -> bool:
        """Whether a configuration was computed from the present one, or replaces any."""
        self.tell(self.present)
        return to.base == 0 or to.base == self.present.digest()

    def py_places(self) -> list[int]:
        """Where the member in each slot was before the last installation, -1 for one that was none. For Python."""
        return list(self.places[: self.peers.count])

    def conf_state(self) -> ConfState:
        """The membership as a value, ids ascending."""
        now = Configuration()
        self.tell(now)
        return now.conf_state()

    def __repr__(self) -> str:
        states = {PROBE: "probe", REPLICATE: "replicate", SNAPSHOT: "snapshot"}
        columns = zip(*[self.peers.column(name).tolist() for name in ("ids", "match", "next", "state")])
        progress = [f"{id}: {match}/{next} {states[state]}" for id, match, next, state in columns]
        return f"<Tracker {self.conf_state()!r} match/next {{{', '.join(progress)}}}>"

    # --- votes -----------------------------------------------------------------------------------

    def reset_votes(self) -> None:
        self.votes_granted = self.votes_refused = 0
        self.departed_votes.clear()

    def record_vote(self, slot: int, granted: bool) -> None:
        """The first answer of a member counts."""
        checks.check_index(slot, self.peers.count)
        if ((self.votes_granted | self.votes_refused) >> slot) & 1:
            return
        if granted:
            self.votes_granted |= _core.bit(slot)
        else:
            self.votes_refused |= _core.bit(slot)

    def tally(self) -> int:
        """VOTE_WON, VOTE_LOST or VOTE_PENDING."""
        return quorum.joint_vote_result(self.voters, self.outgoing, self.votes_granted, self.votes_refused)

    def quorum_active(self) -> bool:
        """Whether a quorum has been heard from since the flags were last cleared."""
        active = self.peers.recent_active & ~self.learners
        return quorum.joint_vote_result(self.voters, self.outgoing, active, ~active) == quorum.VOTE_WON

    def committed(self) -> int:
        """The largest index that a quorum has acknowledged; with group commit, in two groups."""
        if self.group_commit:
            index, _ = quorum.joint_group_committed_index(self.voters, self.outgoing, self.peers)
            return index
        return quorum.joint_committed_index(self.voters, self.outgoing, self.peers)

    def is_singleton(self) -> bool:
        return self.outgoing == 0 and _core.popcount(self.voters) == 1

    # --- progress --------------------------------------------------------------------------------

    def reset_progress(self, slot: int, match: int, next: int) -> None:
        """A peer as a new leader sees it."""
        self.peers.match[slot] = match
        self.peers.next[slot] = next
        self.peers.sent_commit[slot] = 0
        self.peers.requested_snapshot[slot] = 0
        self.peers.set_recent_active(slot, False)
        self._reset_state(slot, PROBE)
        self.look_at(slot)

    def _reset_state(self, slot: int, state: int) -> None:
        checks.check_index(slot, self.peers.count)
        self.peers.set_paused(slot, False)
        self.peers.pending_snapshot[slot] = 0
        if state != PROBE:
            self.peers.requested_snapshot[slot] = 0
        self.peers.state[slot] = state
        self.inflights.reset(slot)

    def become_probe(self, slot: int) -> None:
        # After a snapshot, probe behind it: it may have arrived although its answer did not.
        pending = self.peers.pending_snapshot[slot] if self.peers.state[slot] == SNAPSHOT else 0
        self._reset_state(slot, PROBE)
        self.peers.next[slot] = max(self.peers.match[slot] + 1, pending + 1)
        self.peers.sent_commit[slot] = min(self.peers.sent_commit[slot], self.peers.next[slot] - 1)
        self.look_at(slot)

    def become_replicate(self, slot: int) -> None:
        self._reset_state(slot, REPLICATE)
        self.peers.next[slot] = self.peers.match[slot] + 1
        self.look_at(slot)

    def become_snapshot(self, slot: int, index: int) -> None:
        """A snapshot at ``index`` is on its way; nothing else is sent until something is heard of it."""
        self._reset_state(slot, SNAPSHOT)
        self.peers.pending_snapshot[slot] = index
        # A member that has asked for it may have more than the snapshot.
        self.peers.next[slot] = max(index, self.peers.match[slot]) + 1
        self.peers.sent_commit[slot] = index
        self.look_at(slot)

    def snapshot_ended(self, slot: int, arrived: bool) -> None:
        """What was sent has arrived or was lost: probe, but not before the peer is heard of."""
        if not arrived:
            # In this order, or the probe would begin behind a snapshot that the peer does not have.
            self.peers.pending_snapshot[slot] = 0
        self.become_probe(slot)
        self.peers.set_paused(slot, True)

    def is_paused(self, slot: int) -> bool:
        """Whether no append may be sent to the peer now."""
        return self.peers.state[slot] == SNAPSHOT or (self.peers.paused >> slot) & 1 != 0

    def sent_entries(self, slot: int, count: int, size: int) -> int:
        """Account for an append with ``count`` entries of ``size`` payload bytes. Raises Corruption: window full."""
        checks.check_index(slot, self.peers.count)
        if self.peers.state[slot] == REPLICATE:
            if count > 0:
                self.peers.next[slot] = self.peers.next[slot] + count
                self.inflights.add(slot, self.peers.next[slot] - 1, size)
            # A full window pauses: etcd's MsgAppFlowPaused.
            self.peers.set_paused(slot, self.inflights.full(slot))
        elif count > 0:
            self.peers.set_paused(slot, True)
        return 0

    def can_bump_commit(self, slot: int, index: int) -> bool:
        """Whether telling the peer this commit index could teach it something."""
        checks.check_index(slot, self.peers.count)
        sent = self.peers.sent_commit[slot]
        return index > sent and sent + 1 < self.peers.next[slot]

    def maybe_update(self, slot: int, index: int) -> bool:
        """An acknowledgement up to ``index``; whether it was news."""
        checks.check_index(slot, self.peers.count)
        if index <= self.peers.match[slot]:
            return False
        self.peers.match[slot] = index
        self.peers.next[slot] = max(self.peers.next[slot], index + 1)
        self.peers.set_paused(slot, False)
        self.look_at(slot)
        return True

    def request_snapshot(self, slot: int, rejected: int, least: int) -> bool:
        """The peer refuses appends until it has a snapshot of at least that index; False when that is stale."""
        if self.peers.state[slot] == REPLICATE:
            if rejected < self.peers.match[slot]:
                return False
            self.peers.requested_snapshot[slot] = least
            return True
        if self.peers.requested_snapshot[slot] == 0:
            self.peers.requested_snapshot[slot] = least
        self.peers.set_paused(slot, False)
        return True

    def maybe_decrease(self, slot: int, rejected: int, hint: int) -> bool:
        """A refusal of the append after ``rejected``; False when it is stale (etcd's MaybeDecrTo)."""
        if self.peers.state[slot] == REPLICATE:
            if rejected <= self.peers.match[slot]:
                return False
            self.peers.next[slot] = self.peers.match[slot] + 1
        else:
            if self.peers.next[slot] != rejected + 1:
                return False
            self.peers.next[slot] = max(min(rejected, hint + 1), self.peers.match[slot] + 1)
            self.peers.set_paused(slot, False)
        self.peers.sent_commit[slot] = min(self.peers.sent_commit[slot], self.peers.next[slot] - 1)
        self.look_at(slot)
        return True
