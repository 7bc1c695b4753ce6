"""The one entrance to the algorithm: ``step`` for messages, ``tick`` for time.

What follows is etcd's Raft.Step and its tick functions. Between them every input of a member is
listed: whatever happens to a Raft happens through one of the two.
"""

from __future__ import annotations

from .._native import checks
from .._native.layout import ENTRY_HEADER
from .._native.memory import Entry
from .._native.outbox import Message
from ..errors import Corruption, SnapshotRequestDropped
from ..types import (
    FLAG_REJECT,
    FLAG_TRANSFER,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_BEAT,
    MSG_CHECK_QUORUM,
    MSG_HEARTBEAT,
    MSG_HUP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_SNAP,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY_RESP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
    ConfChange,
    Role,
)
from . import candidate, configuration, follower, leader
from .confchange import configuration_after
from .configuration import Configuration
from .state import State


class Raft(State):
    """One member of one group. Owned by one thread at a time."""

    def step(self, m: Message) -> int:
        """Take one message, from a peer (its term is set) or local (term 0). Raises ProposalDropped, Corruption."""
        if m.term > self.term:
            if (m.kind == MSG_VOTE or m.kind == MSG_PRE_VOTE) and m.flags & FLAG_TRANSFER == 0:
                if self.check_quorum and self.lead != 0 and self.election_elapsed < self.election_timeout:
                    # Within the leader's lease we help no candidate to depose it (thesis, 4.2.3).
                    return 0
            if m.kind == MSG_PRE_VOTE or (m.kind == MSG_PRE_VOTE_RESP and m.flags & FLAG_REJECT == 0):
                # Neither a question nor a promise about a future term makes it ours.
                pass
            elif m.kind == MSG_APP or m.kind == MSG_HEARTBEAT or m.kind == MSG_SNAP:
                self.become_follower(m.term, m.sender)
            else:
                self.become_follower(m.term, 0)
        elif m.term != 0 and m.term < self.term:
            return self.step_stale(m)

        # Most messages are PROP, APP or APP_RESP, one after the other, and mean something else in each role.
        if m.kind < MSG_PROP:
            if m.kind == MSG_HUP:
                if self.pre_vote:
                    return candidate.start_campaign(self, candidate.CAMPAIGN_PRE_ELECTION)
                return candidate.start_campaign(self, candidate.CAMPAIGN_ELECTION)
        elif m.kind > MSG_APP_RESP:
            if m.kind == MSG_STORAGE_APPEND_RESP:
                if m.index != 0:
                    self.stable_to(m.index, m.log_term)
                if m.hint != 0:
                    return self.applied_snapshot(m.hint)
                return 0
            if m.kind == MSG_VOTE or m.kind == MSG_PRE_VOTE:
                return self.handle_vote(m)
            if m.kind == MSG_STORAGE_APPLY_RESP:
                return self.apply_done(m.index, m.hint, m.context)
        if self.role == LEADER:
            return leader.step(self, m)
        if self.role == FOLLOWER:
            if m.kind == MSG_TIMEOUT_NOW:
                # A transfer never asks first: the old leader wants us to lead.
                return candidate.start_campaign(self, candidate.CAMPAIGN_TRANSFER)
            return follower.step(self, m)
        return candidate.step(self, m)

    def step_stale(self, m: Message) -> int:
        """A message of an earlier term: dropped, except where the sender would be stuck without an answer."""
        if (self.check_quorum or self.pre_vote or self.in_doubt) and (m.kind == MSG_HEARTBEAT or m.kind == MSG_APP):
            # A leader cut off for a while must learn the new term, or the node that was told to keep
            # its term low could never be heard again (etcd does the same). In doubt we do not campaign, and this
            # is the only way to a term that we can take part in.
            return self.send(MSG_APP_RESP, m.sender, self.term, 0, 0, 0, 0, 0, 0)
        if m.kind == MSG_PRE_VOTE:
            # Tell a candidate that is behind, or pre-vote could deadlock against higher terms.
            return self.send(MSG_PRE_VOTE_RESP, m.sender, self.term, 0, 0, 0, FLAG_REJECT, 0, 0)
        if m.kind == MSG_STORAGE_APPEND_RESP and m.hint != 0:
            # Entries may have been replaced in a later term, what a snapshot holds is committed.
            return self.applied_snapshot(m.hint)
        return 0

    def can_vote(self, m: Message) -> bool:
        """Whether nothing we promised speaks against this candidate."""
        if self.vote == m.sender or (self.vote == 0 and self.lead == 0):
            return True
        return m.kind == MSG_PRE_VOTE and m.term > self.term

    def priority_allows(self, m: Message) -> bool:
        """Whether the candidate's priority, or a log that is newer than ours, speaks for it.

        raft-rs lets only a longer log beat priority: then two members whose logs end in different terms could
        refuse each other for ever.
        """
        return self.priority <= m.hint or m.log_term > self.log.last_term() or m.index > self.log.last

    def handle_vote(self, m: Message) -> int:
        """Grant when we have not promised otherwise and the candidate's log is at least as new.

        Learners answer too: one that was made a voter may not know it yet. Of two with the same log the one of
        higher priority is elected; a newer log beats priority.
        """
        answer = MSG_VOTE_RESP if m.kind == MSG_VOTE else MSG_PRE_VOTE_RESP
        if not self.in_doubt and self.can_vote(m) and self.priority_allows(m) and self.up_to_date(m.index, m.log_term):
            # The term of the request: for a pre-vote it is not ours yet.
            self.send(answer, m.sender, m.term, 0, 0, 0, 0, 0, 0)
            if m.kind == MSG_VOTE:
                self.election_elapsed = 0
                self.vote = m.sender
            return 0
        commit = self.committed if self.commit_by_vote else 0
        commit_term = self.log.term(commit) if self.commit_by_vote else 0
        self.send(answer, m.sender, self.term, 0, 0, commit, FLAG_REJECT, 0, commit_term)
        return self.maybe_commit_by_vote(m)

    # --- applied -----------------------------------------------------------------------------------

    def apply_done(self, index: int, size: int, count: int) -> int:
        """The state machine has everything up to ``index``: ``count`` records of ``size`` bytes in all.

        An older answer changes nothing (etcd's appliedTo).
        """
        if index > self.applied:
            if index > self.committed:
                raise Corruption(f"the applied index {index} is beyond the commit index {self.committed}")
            self.applied = index
            self.applying = max(self.applying, index)
            checks.check(self.applying <= self.committed)
        self.applying_bytes -= min(self.applying_bytes, size)
        self.apply_paused = self.applying_bytes >= self.max_apply_bytes
        if self.tracker.auto_leave:
            leader.maybe_leave_joint(self)
        # Entries of earlier terms were never counted: not below zero for them.
        self.uncommitted_bytes -= min(self.uncommitted_bytes, size - min(size, count * ENTRY_HEADER))
        return 0

    def applied_snapshot(self, index: int) -> int:
        """The storage has the snapshot at ``index``, and so has the state machine (etcd's appliedSnap)."""
        self.stable_snapshot_to(index)
        return self.apply_done(index, 0, 0)

    # --- membership --------------------------------------------------------------------------------

    def install(self, to: Configuration) -> int:
        """Take the membership that a committed change leads to (etcd's switchToConfig).

        Progress, windows, votes and acknowledgements of reads move with the ids; ``tracker.places`` tells where each
        member was before. Nothing happens when a restored snapshot has the change in it. Raises Corruption for a
        configuration that was computed from another one than the present; then nothing has changed.
        """
        if to.index != 0 and to.index <= self.conf_index:
            return 0
        if not self.tracker.fits(to):
            raise Corruption("the configuration was computed from another one than the present")
        self.reads.move(self.tracker.peers, to)
        self.tracker.install(to, self.log.last)
        if self.doubts.known:
            self.doubts.reset()
        self.self_slot = self.tracker.peers.slot_of(self.id)
        return self.configuration_changed()

    def py_install(self, encoded: bytes) -> None:
        """``install`` for Python, of the bytes of a Configuration. Raises Corruption when they are none."""
        to = Configuration()
        if to.load(encoded, len(encoded)) != configuration.FITS:
            raise Corruption("the bytes are no configuration")
        self.install(to)

    def configuration_changed(self) -> int:
        """What a leader does when the membership is another one."""
        if self.role != LEADER:
            return 0
        if self.self_slot < 0 or (self.tracker.learners >> self.self_slot) & 1:
            # Removed or demoted: others are to lead (thesis, 4.2.2). etcd leaves it to an option as well.
            if self.step_down_on_removal:
                self.become_follower(self.term, 0)
            elif self.maybe_commit():
                # It accepts no more proposals, so nothing else would advance the commit index (etcd does not look).
                leader.bcast_append(self)
            return 0
        if self.tracker.voters == 0:
            return 0
        if self.maybe_commit():
            # A smaller quorum may have committed more.
            leader.bcast_append(self)
        else:
            # New members are probed at once.
            for slot in range(self.tracker.peers.count):
                if slot != self.self_slot:
                    leader.maybe_send_append(self, slot, False)
        slot = self.tracker.peers.slot_of(self.transferee) if self.transferee else -1
        if slot < 0 or ((self.tracker.voters | self.tracker.outgoing) >> slot) & 1 == 0:
            self.transferee = 0
        # The members that are left may have confirmed reads, and a single one has no peer that would answer.
        return leader.confirm_reads(self)

    def begin_group(self, entries: list[Entry], changes: list[ConfChange]) -> None:
        """The first entries of a new group: they add its members, and are committed as they stand."""
        self.become_follower(1, 0)
        for entry in entries:
            self.log.py_append(1, entry.data, entry.kind)
        self.committed = len(entries)
        for change in changes:
            self.install(configuration_after(self.tracker.conf_state(), change))

    def __repr__(self) -> str:
        marks = f"applied={self.applied} commit={self.committed} log={self.log.first}..{self.log.last}"
        doubt = " in doubt" if self.in_doubt else ""
        lead = f" lead={self.lead}" if self.lead else ""
        role = Role(self.role).name.lower().replace("_", "-")
        return f"<Raft {self.id} {role}{doubt} term={self.term}{lead} {marks} {self.tracker.conf_state()!r}>"

    # --- on request --------------------------------------------------------------------------------

    def ask_snapshot(self) -> int:
        """Refuse appends until the leader has sent a snapshot (raft-rs's request_snapshot)."""
        if self.role == LEADER or self.lead == 0:
            raise SnapshotRequestDropped("a snapshot can only be asked for by a follower that knows its leader")
        if self.pending_snapshot or self.requested_snapshot:
            raise SnapshotRequestDropped("a snapshot is under way already")
        if self.log.last_term() != self.term:
            # The leader may never come to an index that only our log has.
            raise SnapshotRequestDropped("the log ends in another term than the leader's")
        # What is committed is what the leader can have in a snapshot without our help; raft-rs asks for the last entry,
        # and may wait for ever for one that only our acknowledgement would commit.
        self.requested_snapshot = self.committed if self.committed else 1
        return follower.send_snapshot_request(self)

    def step_down(self) -> int:
        """A leader gives up leadership without a transfer and stays in its term."""
        if self.role == LEADER:
            self.become_follower(self.term, 0)
        return 0

    def ping(self) -> int:
        """A leader sends its heartbeats now (raft-rs's ping)."""
        if self.role == LEADER:
            return leader.bcast_heartbeat(self)
        return 0

    def recount_commit(self) -> int:
        """The commit rule has changed: recount."""
        if self.role == LEADER and self.maybe_commit():
            return leader.bcast_append(self)
        return 0

    def send_due(self) -> int:
        """With hold_bytes: what has become due since the last call is sent."""
        return leader.send_due(self) if self.due else 0

    def step_local(self, kind: int) -> int:
        """A message without content from this node itself."""
        self.scratch.reset(kind)
        self.scratch.sender = self.id
        return self.step(self.scratch)

    def tick(self) -> int:
        """One tick of time has passed."""
        self.election_elapsed += 1
        if self.role != LEADER:
            if self.in_doubt:
                follower.doubt_ticked(self)
            if self.promotable() and self.past_election_timeout():
                self.election_elapsed = 0
                return self.step_local(MSG_HUP)
            return 0
        self.heartbeat_elapsed += 1
        if self.election_elapsed >= self.election_timeout:
            self.election_elapsed = 0
            if self.check_quorum:
                self.step_local(MSG_CHECK_QUORUM)
            # A transfer that has not ended within an election timeout has failed.
            if self.role == LEADER and self.transferee != 0:
                self.transferee = 0
                if self.tracker.auto_leave:
                    # The transfer was in the way, and nothing else may ever be applied (etcd waits for that).
                    leader.maybe_leave_joint(self)
        if self.role == LEADER and self.heartbeat_elapsed >= self.heartbeat_timeout:
            self.heartbeat_elapsed = 0
            return self.step_local(MSG_BEAT)
        return 0
