"""The one entrance to the algorithm: ``step`` for messages, ``tick`` for time.

What follows is etcd's Raft.Step and its tick functions. Between them every input of a member is
listed: whatever happens to a Raft happens through one of the two.
"""

from __future__ import annotations

from .._core import Message
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
    MSG_SNAP,
    MSG_STORAGE_APPEND_RESP,
    MSG_STORAGE_APPLY_RESP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from . import candidate, follower, leader
from .state import State


class Raft(State):
    """One member of one group. Owned by one thread at a time."""

    def step(self, m: Message) -> int:
        """Take one message, from a peer (its term is set) or local (term 0). Raises ProposalDropped, Corruption."""
        if m.term > self.term:
            if (m.kind == MSG_VOTE or m.kind == MSG_PRE_VOTE) and m.flags & FLAG_TRANSFER == 0:
                if self.check_quorum and self.lead != 0 and self.election_elapsed < self.election_timeout:
                    # Within the leader's lease nobody is helped to depose it (thesis, 4.2.3).
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

        if m.kind == MSG_VOTE or m.kind == MSG_PRE_VOTE:
            return self.handle_vote(m)
        if m.kind == MSG_HUP:
            if self.pre_vote:
                return candidate.hup(self, candidate.CAMPAIGN_PRE_ELECTION)
            return candidate.hup(self, candidate.CAMPAIGN_ELECTION)
        if m.kind == MSG_STORAGE_APPEND_RESP:
            if m.index != 0:
                self.stable_to(m.index, m.log_term)
            return 0
        if m.kind == MSG_STORAGE_APPLY_RESP:
            return self.applied_to(m.index)
        if self.role == LEADER:
            return leader.step(self, m)
        if self.role == FOLLOWER:
            if m.kind == MSG_TIMEOUT_NOW:
                # A transfer never asks first: the old leader has told us to.
                return candidate.hup(self, candidate.CAMPAIGN_TRANSFER)
            return follower.step(self, m)
        return candidate.step(self, m)

    def step_stale(self, m: Message) -> int:
        """A message of an earlier term: dropped, except where the sender would be stuck without an answer."""
        if (self.check_quorum or self.pre_vote) and (m.kind == MSG_HEARTBEAT or m.kind == MSG_APP):
            # A leader cut off for a while must learn the new term, or the node that was told to keep
            # its term low could never be heard again (etcd does the same).
            return self.send(MSG_APP_RESP, m.sender, self.term, 0, 0, 0, 0, 0, 0)
        if m.kind == MSG_PRE_VOTE:
            # Tell a candidate that is behind, or pre-vote could deadlock against higher terms.
            return self.send(MSG_PRE_VOTE_RESP, m.sender, self.term, 0, 0, 0, FLAG_REJECT, 0, 0)
        return 0

    def can_vote(self, m: Message) -> bool:
        """Whether nothing we promised speaks against this candidate."""
        if self.vote == m.sender or (self.vote == 0 and self.lead == 0):
            return True
        return m.kind == MSG_PRE_VOTE and m.term > self.term

    def handle_vote(self, m: Message) -> int:
        """Grant when we have not promised otherwise and the candidate's log is at least as new."""
        answer = MSG_VOTE_RESP if m.kind == MSG_VOTE else MSG_PRE_VOTE_RESP
        if self.can_vote(m) and self.up_to_date(m.index, m.log_term):
            # The term of the request: for a pre-vote it is not ours yet.
            self.send(answer, m.sender, m.term, 0, 0, 0, 0, 0, 0)
            if m.kind == MSG_VOTE:
                self.election_elapsed = 0
                self.vote = m.sender
            return 0
        return self.send(answer, m.sender, self.term, 0, 0, 0, FLAG_REJECT, 0, 0)

    def step_local(self, kind: int) -> int:
        """A message without content from this node itself."""
        self.scratch.reset(kind)
        self.scratch.sender = self.id
        return self.step(self.scratch)

    def tick(self) -> int:
        """One tick of time has passed."""
        self.election_elapsed += 1
        if self.role != LEADER:
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
            if self.role == LEADER:
                self.transferee = 0
        if self.role == LEADER and self.heartbeat_elapsed >= self.heartbeat_timeout:
            self.heartbeat_elapsed = 0
            return self.step_local(MSG_BEAT)
        return 0
