"""What a follower does with a message, and how anybody takes entries from a leader.

Functions over State, one per kind of message. No role is changed here but by the caller.
"""

from __future__ import annotations

from .._core import Message
from ..errors import ProposalDropped
from ..types import (
    FLAG_REJECT,
    MSG_APP,
    MSG_APP_RESP,
    MSG_FORGET_LEADER,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_TRANSFER_LEADER,
)
from .state import State


def handle_append(r: State, m: Message) -> int:
    """Append, or say where the logs may still agree (etcd's handleAppendEntries)."""
    if m.index < r.committed:
        # Committed entries are never touched again: an old append is answered with what we have.
        return r.send(MSG_APP_RESP, m.sender, r.term, r.committed, 0, 0, 0, 0, 0)
    if not r.log.match(m.index, m.log_term):
        hint, hint_term = r.log.find_conflict_by_term(min(m.index, r.log.last), m.log_term)
        return r.send(MSG_APP_RESP, m.sender, r.term, m.index, hint_term, 0, FLAG_REJECT, hint, 0)
    conflict = r.log.find_conflict(m.body, m.body_size) if m.count else 0
    if conflict:
        r.replace_tail(m, conflict)
    # Only as far as this append vouches for: what follows in our log may be of another leader.
    r.commit_to(min(m.commit, m.index + m.count))
    return r.send(MSG_APP_RESP, m.sender, r.term, m.index + m.count, 0, 0, 0, 0, 0)


def handle_heartbeat(r: State, m: Message) -> int:
    """Learn the commit index, which the leader has capped at what we acknowledged."""
    r.commit_to(m.commit)
    return r.send(MSG_HEARTBEAT_RESP, m.sender, r.term, 0, 0, 0, 0, 0, m.context)


def step(r: State, m: Message) -> int:
    """One message for a follower. Raises ProposalDropped for a proposal that has nowhere to go."""
    if m.kind == MSG_APP:
        r.election_elapsed = 0
        r.lead = m.sender
        return handle_append(r, m)
    if m.kind == MSG_HEARTBEAT:
        r.election_elapsed = 0
        r.lead = m.sender
        return handle_heartbeat(r, m)
    if m.kind == MSG_PROP:
        if r.lead == 0:
            raise ProposalDropped("no leader")
        if not r.forward_proposals:
            raise ProposalDropped("not the leader, and forwarding is off")
        r.messages.push(MSG_PROP, r.lead, r.id, 0)
        return r.messages.set_body(m.body, m.body_size, m.count)
    if m.kind == MSG_TRANSFER_LEADER:
        if r.lead == 0:
            return 0
        # etcd forwards it with the sender it came with: the member that is to lead. On the wire the
        # sender is the node itself, so the transferee travels as hint.
        return r.send(MSG_TRANSFER_LEADER, r.lead, r.term, 0, 0, 0, 0, m.hint, 0)
    if m.kind == MSG_FORGET_LEADER:
        r.lead = 0
    return 0
