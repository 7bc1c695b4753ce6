"""The state of one Raft member: fields, marks in the log, sending, changes of role.

Deterministic: no I/O, no clock, no threads, and no randomness but the injected seed. What a role
does with a message stands in follower.py, candidate.py and leader.py; dispatch and ticks in raft.py.
The semantics are those of etcd/raft v3.7 (raft.go, log.go, log_unstable.go).
"""

from __future__ import annotations

from .._core import EntryLog
from .._native import checks, memory
from .._native.layout import ENTRY_HEADER
from .._native.memory import Spans
from .._native.outbox import Message, Outbox, snapshot_from
from ..config import Config
from ..errors import ConfChangeError, Corruption, FrameError
from ..types import (
    CANDIDATE,
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_SNAPSHOT,
    FOLLOWER,
    LEADER,
    MASK64,
    MSG_APP_RESP,
    MSG_PRE_VOTE_RESP,
    MSG_VOTE_RESP,
    PRE_CANDIDATE,
    ConfState,
    HardState,
    RefusedChange,
    Snapshot,
)
from . import changes, configuration, quorum, records
from .configuration import Configuration
from .doubt import Doubts
from .reads import PendingReads
from .tracker import Tracker


class State:
    """Term, vote, role, log marks and outgoing messages.

    Marks, as indexes into ``log``. Invariants:
      applied <= applying <= committed <= log.last: what the state machine has, was handed, may have
      stable <= writing <= log.last: what is durable here, what was handed to the storage
    An entry is handed to the state machine only when it is committed and, with asynchronous writes,
    also stable here.

    ``snapshot`` is the record that other members may be sent, ``restored`` the one that was received and
    is not durable yet (etcd's unstable snapshot); while pending_snapshot, its index, is not 0, nothing is
    applied and the member does not campaign.
    """

    def __init__(
        self, config: Config, log: EntryLog, hard_state: HardState, conf_state: ConfState, applied: int = 0
    ) -> None:
        self.id = config.id
        self.log = log
        self.tracker = Tracker(conf_state, config.max_inflight_messages, config.max_inflight_bytes, config.group_commit)
        self.self_slot = self.tracker.peers.slot_of(self.id)
        self.messages = Outbox()
        self.after_append = Outbox()
        self.scratch = Message()
        #: a piece of the message that is being taken
        self.piece = Message()
        #: the membership of the snapshot that is being taken
        self.arriving = Configuration()
        self.election_timeout = config.election_ticks
        self.heartbeat_timeout = config.heartbeat_ticks
        self.pre_vote = config.pre_vote
        self.check_quorum = config.check_quorum
        self.forward_proposals = config.forward_proposals
        self.step_down_on_removal = config.step_down_on_removal
        self.validate_conf_changes = config.validate_conf_changes
        self.lease_reads = config.lease_reads
        self.priority = config.priority
        self.batch_append = config.batch_append
        self.commit_by_vote = config.commit_by_vote
        self.skip_bcast_commit = config.skip_bcast_commit
        #: not 0: appends wait for ``send_due``, and fewer bytes of entries wait for an acknowledgement (leader.held)
        self.hold_bytes = 0
        #: what ``send_due`` is to send: DUE_ANSWER, DUE_ALL, or nothing
        self.due = 0
        self.max_message_bytes = config.max_message_bytes
        self.max_uncommitted_bytes = config.max_uncommitted_bytes
        self.max_apply_bytes = config.max_apply_bytes
        self.uncommitted_bytes = 0
        self.applying_bytes = 0
        self.apply_paused = False
        self.lead = 0
        self.transferee = 0
        self.lease_ended = False
        self.pending_conf_index = 0
        #: proposed changes that this leader did not take, a row each: sender, index, reason (changes.py) as flags, the
        #: pending change as hint, the applied index as commit
        self.refused = Outbox()
        self.reads = PendingReads()
        self.doubts = Doubts()
        self.early_reads = Outbox()
        self.read_states = Outbox()
        self.election_elapsed = self.heartbeat_elapsed = 0
        self.snapshot = Spans()
        self.snapshot_index = self.snapshot_term = 0
        self.snapshot_wanted = 0
        self.restored = Spans()
        self.pending_snapshot = self.pending_snapshot_term = 0
        self.snapshot_writing = False
        #: entries up to here survived a restored snapshot and must be written again; the storage's answers about them
        #: concern the old log
        self.rewrite = 0
        self.requested_snapshot = 0
        #: index of the last restored snapshot: its membership already includes all changes up to there
        self.conf_index = 0
        #: it was founded to be added: its first snapshot may be older than its addition (etcd refuses such a one)
        self.joins = False
        self.stable = self.writing = log.last
        if not log.first - 1 <= applied <= log.last:
            raise Corruption(f"the applied index {applied} is outside of the log, {log.first}..{log.last}")
        if hard_state.commit > log.last:
            commit = hard_state.commit
            raise Corruption(f"the commit index {commit} is beyond the last index {log.last}: was the log cut?")
        self.committed = max(hard_state.commit, log.first - 1)
        if applied > self.committed:
            raise Corruption(f"the applied index {applied} is beyond the commit index {self.committed}")
        self.applying = self.applied = max(applied, log.first - 1)
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = FOLLOWER
        #: Invariant: while it is set, this member is a follower that neither votes nor confirms reads, and acknowledges
        #: nothing but to the leader of ``doubt_term``
        self.in_doubt = bool(hard_state.in_doubt)
        #: ticks since it began; what tells this life from others; the term whose leader has answered, 0 for none
        self.doubt_ticks = self.doubt_nonce = self.doubt_term = 0
        #: what is to be held before the doubt ends, and how far the log is known to be that leader's
        self.doubt_floor = self.doubt_match = 0
        #: ``doubt_match`` when it was last looked whether it grows
        self.doubt_seen = 0
        #: the last term that an earlier life may have had a part in; while in doubt, it may have been in later ones
        self.lived_term = self.term
        # A seed and an id give each member its own sequence; zero would be a fixed point of xorshift.
        seed = config.seed or 0
        mixed = (seed * 0x9E3779B97F4A7C15 + config.id * 0xBF58476D1CE4E5B9 + 0x94D049BB133111EB) & MASK64
        self.random = (mixed ^ (mixed >> 31)) or 1
        self.become_follower(self.term, 0)
        self.doubt_nonce = (self.random >> 1) or 1
        #: the disk has no room for a vote of this member's own (node/room.py)
        self.no_room = False

    # --- random election timeouts ----------------------------------------------------------------

    def reset_timeout(self) -> None:
        """Draw the next election timeout: election_timeout .. 2 * election_timeout - 1 ticks."""
        x = self.random
        x ^= (x << 13) & MASK64
        x ^= x >> 7
        x ^= (x << 17) & MASK64
        self.random = x
        self.randomized_timeout = self.election_timeout + (x >> 11) % self.election_timeout

    def past_election_timeout(self) -> bool:
        return self.election_elapsed >= self.randomized_timeout

    def is_led(self) -> bool:
        """Whether this member leads, or has heard of its leader within an election timeout."""
        return self.role == LEADER or (self.lead != 0 and self.election_elapsed < self.election_timeout)

    # --- sending ---------------------------------------------------------------------------------

    def send(
        self, kind: int, to: int, term: int, index: int, log_term: int, commit: int, flags: int, hint: int, context: int
    ) -> int:
        """Queue a message. Answers that promise durability wait for the storage (etcd's msgsAfterAppend)."""
        if kind in (MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP):
            return self.after_append.put(kind, to, self.id, term, index, log_term, commit, flags, hint, context)
        if to == self.id:
            raise Corruption(f"a message of kind {kind} to the member itself")
        return self.messages.put(kind, to, self.id, term, index, log_term, commit, flags, hint, context)

    # --- roles -----------------------------------------------------------------------------------

    def reset(self, term: int) -> None:
        if self.term != term:
            self.term = term
            self.vote = 0
            if self.in_doubt:
                self.doubt_term = self.doubt_match = 0
        self.lead = 0
        self.election_elapsed = self.heartbeat_elapsed = 0
        self.reset_timeout()
        self.transferee = 0
        self.tracker.reset_votes()
        for slot in range(self.tracker.peers.count):
            self.tracker.reset_progress(slot, self.log.last if slot == self.self_slot else 0, self.log.last + 1)
        self.pending_conf_index = 0
        self.uncommitted_bytes = 0
        self.lease_ended = False
        self.requested_snapshot = 0
        self.reads.reset()
        if self.doubts.known:
            self.doubts.reset()

    def become_follower(self, term: int, lead: int) -> None:
        self.reset(term)
        self.lead = lead
        self.role = FOLLOWER

    def become_candidate(self) -> int:
        if self.role == LEADER:
            raise Corruption("a leader cannot become a candidate")
        self.reset(self.term + 1)
        self.vote = self.id
        self.role = CANDIDATE
        return 0

    def become_pre_candidate(self) -> int:
        """Ask without changing term or vote; nothing is reset but the votes."""
        if self.role == LEADER:
            raise Corruption("a leader cannot become a pre-candidate")
        self.tracker.reset_votes()
        self.lead = 0
        self.role = PRE_CANDIDATE
        return 0

    def become_leader(self) -> int:
        if self.role == FOLLOWER:
            raise Corruption("a follower cannot become leader without a campaign")
        self.reset(self.term)
        self.lead = self.id
        self.role = LEADER
        if self.self_slot >= 0:
            self.tracker.become_replicate(self.self_slot)
            self.tracker.peers.set_recent_active(self.self_slot, True)
        # Every change of membership in the log counts as pending until it is applied.
        self.pending_conf_index = self.log.last
        # The empty entry of the new term: nothing of an old term commits without it (paper, 5.4.2).
        self.log.append_empty(self.term)
        return self.acknowledge_own()

    def acknowledge_own(self) -> int:
        """The leader's own acknowledgement, released by its own disk like that of any member."""
        return self.send(MSG_APP_RESP, self.id, self.term, self.log.last, 0, 0, 0, 0, 0)

    def promotable(self) -> bool:
        """Whether this member may campaign: it is no learner and not in doubt, and can write its vote.

        While a restored snapshot is to be written it may not.
        """
        if self.self_slot < 0 or self.in_doubt or self.no_room:
            return False
        return (self.tracker.learners >> self.self_slot) & 1 == 0 and self.pending_snapshot == 0

    def has_unapplied_conf_change(self) -> bool:
        """Whether a committed change of membership is not applied yet: no campaign until it is."""
        index = self.applied + 1
        while index <= self.committed:
            kind = self.log.kind(index)
            if kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2):
                return True
            index += 1
        return False

    # --- the log ---------------------------------------------------------------------------------

    def look_at_marks(self) -> None:
        """In a debug build: the invariants of the marks. Wherever one of them has moved."""
        checks.check(self.applied <= self.applying)
        checks.check(self.applying <= self.committed)
        checks.check(self.committed <= self.log.last)
        checks.check(self.stable <= self.writing)
        checks.check(self.writing <= self.log.last)

    def commit_to(self, index: int) -> int:
        """Never backwards, never beyond the log."""
        if index > self.committed:
            if index > self.log.last:
                raise Corruption(f"the commit index {index} is beyond the last index {self.log.last}: was the log cut?")
            self.committed = index
            self.look_at_marks()
        return 0

    def maybe_commit(self) -> bool:
        """Advance the commit index by counting, for an entry of the present term only (paper, 5.4.2)."""
        index = self.tracker.committed()
        if index > self.committed and self.term != 0 and self.log.match(index, self.term):
            self.committed = index
            self.look_at_marks()
            return True
        return False

    def maybe_commit_by_vote(self, m: Message) -> int:
        """Learn from a vote message what its sender knows to be committed, if it is in our log too (raft-rs).

        Members may wait for each other for ever otherwise: each needs the vote of one that only the other,
        older membership would still ask. A candidate that finds a change of membership this way steps down.
        """
        if not self.commit_by_vote or self.role == LEADER or m.commit <= self.committed:
            return 0
        if not self.log.match(m.commit, m.context):
            return 0
        self.committed = m.commit
        self.look_at_marks()
        if self.role != FOLLOWER and self.has_unapplied_conf_change():
            self.become_follower(self.term, 0)
        return 0

    def up_to_date(self, index: int, term: int) -> bool:
        """Whether a log that ends in (index, term) is at least as new as ours (paper, 5.4.1)."""
        ours = self.log.last_term()
        return term > ours or (term == ours and index >= self.log.last)

    def replace_tail(self, m: Message, conflict: int) -> int:
        """Append the entries of ``m`` from index ``conflict`` on; what stood there is gone."""
        if conflict <= self.committed:
            raise Corruption(f"entry {conflict} conflicts with a committed one (committed up to {self.committed})")
        self.log.append_from(m.body, m.body_size, conflict)
        self.stable = min(self.stable, conflict - 1)
        self.writing = min(self.writing, conflict - 1)
        self.look_at_marks()
        return 0

    def stable_to(self, index: int, term: int) -> None:
        """The storage has written up to (index, term). A replaced entry is not mistaken for it."""
        if index > self.stable and index > self.rewrite and self.log.match(index, term):
            self.stable = index
            self.writing = max(self.writing, index)
            self.look_at_marks()

    def stable_snapshot_to(self, index: int) -> None:
        """The storage has the restored snapshot at ``index``: it is what other members may be sent now."""
        if self.pending_snapshot == index and index != 0:
            self.snapshot.clear()
            self.snapshot.swap(self.restored)
            self.snapshot_index = self.pending_snapshot
            self.snapshot_term = self.pending_snapshot_term
            self.pending_snapshot = 0
            self.snapshot_writing = False

    def restore_log(self, index: int, term: int) -> int:
        """Begin the log anew behind a snapshot, which is to be written.

        Entries behind one that was asked for stay, and are written once more: they may have been acknowledged. A log
        that does not hold the snapshot's place is of another leader, and gone (paper, section 7).
        """
        if self.log.match(index, term):
            self.log.compact(index)
            self.rewrite = self.log.last
        else:
            self.log.restore(index, term)
        self.committed = index
        self.stable = self.writing = index
        self.pending_snapshot = index
        self.pending_snapshot_term = term
        self.snapshot_writing = False
        self.look_at_marks()
        return 0

    def read_snapshot(self, m: Message) -> int:
        """Read the membership of a snapshot into ``arriving``: FITS, DAMAGED or what else is wrong (configuration.py).

        The checksum of the record is left to ``sealed``.
        """
        if m.count != 1 or m.body_size < ENTRY_HEADER:
            return configuration.DAMAGED
        if records.record_size(m.body, 0, m.body_size) != m.body_size or m.body[records.RECORD_KIND] != ENTRY_SNAPSHOT:
            return configuration.DAMAGED
        return self.arriving.read(m.body, ENTRY_HEADER, m.body_size)

    def restore(self, m: Message) -> int:
        """Take the snapshot of ``m`` in place of log and membership, unless there is no need (etcd's restore).

        Raises FrameError for a damaged one, and ConfChangeError for one whose membership is none.
        """
        fault = self.read_snapshot(m)
        if fault == configuration.DAMAGED or not self.sealed(m):
            raise FrameError("records")
        if fault != configuration.FITS:
            raise ConfChangeError(configuration.FAULTS[fault])
        index = records.u64(m.body, records.RECORD_INDEX)
        term = records.u64(m.body, records.RECORD_TERM)
        if index < self.committed or (index == self.committed and self.requested_snapshot == 0):
            return 0
        if self.role != FOLLOWER:
            raise Corruption("only a follower takes a snapshot")
        if self.arriving.slot_of(self.id) < 0 and (self.self_slot >= 0 or not self.joins):
            # The snapshot's membership does not have this member: the leader sent it to a member that was removed.
            return 0
        if self.requested_snapshot == 0 and self.log.match(index, term):
            # The log has all of it: only the commit index is news.
            self.commit_to(index)
            return 0
        self.restore_log(index, term)
        self.reads.reset()
        self.tracker.reset_votes()
        # Nothing that was known of any member's progress holds any more.
        self.arriving.anew = MASK64
        self.tracker.install(self.arriving, self.log.last)
        self.self_slot = self.tracker.peers.slot_of(self.id)
        self.conf_index = index
        self.restored.clear()
        self.restored.push_copy(m.body, m.body_size, index, 1)
        self.requested_snapshot = 0
        return 1

    def sealed(self, m: Message) -> bool:
        """Whether the checksum of a message's one record is right."""
        self.piece.body_of(m, 4, m.body_size - 4, 1)
        return memory.crc32(0, self.piece.body, self.piece.body_size) == records.u32(m.body, 0)

    def refused_changes(self) -> list[RefusedChange]:
        """Changes that this leader did not take, for Python; each is given out once."""
        found = []
        for m in self.refused.messages():
            found.append(RefusedChange(m.sender, m.index, changes.refusal_text(m.flags, m.hint, m.commit)))
        self.refused.py_clear()
        return found

    def take_last_refused(self) -> str:
        """Take out the last of them, for a proposer that learns of it at once: why it was not taken."""
        earlier = Outbox()
        for row in range(len(self.refused) - 1):
            earlier.py_take(self.refused, row)
        last = self.refused_changes().pop()
        self.refused = earlier
        return last.reason

    def restored_snapshot(self) -> Snapshot:
        """The restored snapshot that is not durable yet, for Python."""
        return snapshot_from(self.restored.tobytes())

    def group_committed(self) -> tuple[int, bool]:
        """What two commit groups have, and whether they decided it, for Python."""
        tracker = self.tracker
        return quorum.joint_group_committed_index(tracker.voters, tracker.outgoing, tracker.peers)

    def log_bytes(self, low: int, high: int) -> int:
        """Bytes of the records low .. high."""
        return self.log.payload(low, high) + (high + 1 - low) * ENTRY_HEADER

    def may_apply(self, allow_unstable: bool) -> bool:
        """Whether something may be handed to the state machine now."""
        return self.applicable(allow_unstable) > self.applying and not self.apply_paused and self.pending_snapshot == 0

    def apply_room(self) -> int:
        """How many bytes of records: the budget counts everything that is handed over and not applied."""
        return self.max_apply_bytes - min(self.applying_bytes, self.max_apply_bytes)

    def apply_limit(self, allow_unstable: bool) -> int:
        """The last index that may be handed over now; ``applying`` for nothing (etcd's nextCommittedEnts)."""
        if not self.may_apply(allow_unstable):
            return self.applying
        return self.log.limit(self.applying + 1, self.applicable(allow_unstable), self.apply_room())

    def set_snapshot(self, record: bytes, index: int, term: int) -> None:
        """What other members may be sent from now on: a snapshot as a record."""
        self.snapshot.clear()
        self.snapshot.py_push(record, index, 1)
        self.snapshot_index = index
        self.snapshot_term = term
        self.snapshot_wanted = 0

    def take_snapshot(self, spans: Spans, span: int, index: int, term: int) -> int:
        """The same without the GIL, of a record that is one of ``spans``; an older one changes nothing."""
        if index <= self.snapshot_index:
            return 0
        self.snapshot.clear()
        self.snapshot.push_copy(spans.data_at(span), spans.size_at(span), index, 1)
        self.snapshot_index = index
        self.snapshot_term = term
        self.snapshot_wanted = 0
        return 0

    def applicable(self, allow_unstable: bool) -> int:
        """The last index that may be handed to the state machine."""
        return self.committed if allow_unstable else min(self.committed, self.stable)

    def accept_applying(self, index: int) -> int:
        """Entries up to ``index`` have been handed to the state machine."""
        if index < self.applying or index > self.committed:
            raise Corruption(f"the applying index {index} is outside of {self.applying}..{self.committed}")
        self.applying = index
        self.look_at_marks()
        return 0

    def count_applying(self, size: int, allow_unstable: bool) -> None:
        """``size`` bytes of records were handed over just now; beyond the budget nothing more is.

        (etcd's acceptApplying.)
        """
        self.applying_bytes += size
        self.apply_paused = self.applying_bytes >= self.max_apply_bytes or self.applying < self.applicable(
            allow_unstable
        )

    def is_of_this_life(self, term: int) -> bool:
        """Whether only this life of the member can have done anything in that term, which is then not forgotten."""
        return not self.in_doubt and term > self.lived_term

    def committed_in_term(self) -> bool:
        """Whether an entry of the present term is committed: before that a leader does not know what is."""
        return self.log.term(self.committed) == self.term

    def increase_uncommitted(self, size: int) -> bool:
        """Reserve room for ``size`` payload bytes. One proposal always fits in an empty room."""
        if self.uncommitted_bytes > 0 and size > 0 and self.uncommitted_bytes + size > self.max_uncommitted_bytes:
            return False
        self.uncommitted_bytes += size
        return True
