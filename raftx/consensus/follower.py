"""What a follower does with a message, and how any member takes entries from a leader.

Functions over State, one per kind of message. They never change the role; the caller does.
"""

from __future__ import annotations

from .._native.outbox import Message
from ..errors import ProposalDropped
from ..types import (
    FLAG_REJECT,
    FLAG_REQUEST_SNAPSHOT,
    MSG_APP,
    MSG_APP_RESP,
    MSG_DOUBT,
    MSG_DOUBT_RESP,
    MSG_FORGET_LEADER,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_TRANSFER_LEADER,
)
from .state import State


def handle_append(r: State, m: Message) -> int:
    """Append, or say where the logs may still agree (etcd's handleAppendEntries)."""
    if r.requested_snapshot:
        return send_snapshot_request(r)
    if r.in_doubt and r.doubt_term != r.term:
        return 0
    if m.index < r.committed:
        # Committed entries are never touched again: an old append is answered with what we have.
        r.doubt_match = max(r.doubt_match, r.committed)
        return r.send(MSG_APP_RESP, m.sender, r.term, r.committed, 0, 0, 0, 0, 0)
    if not r.log.match(m.index, m.log_term):
        hint, hint_term = r.log.find_conflict_by_term(min(m.index, r.log.last), m.log_term)
        return r.send(MSG_APP_RESP, m.sender, r.term, m.index, hint_term, 0, FLAG_REJECT, hint, 0)
    conflict = r.log.find_conflict(m.body, m.body_size) if m.count else 0
    if conflict:
        r.replace_tail(m, conflict)
    # Only as far as this append vouches for: what follows in our log may be of another leader.
    r.commit_to(min(m.commit, m.index + m.count))
    r.doubt_match = max(r.doubt_match, m.index + m.count)
    return r.send(MSG_APP_RESP, m.sender, r.term, m.index + m.count, 0, 0, 0, 0, 0)


def handle_heartbeat(r: State, m: Message) -> int:
    """Learn the commit index, which the leader has capped at what we acknowledged."""
    if r.in_doubt:
        return doubt_heartbeat(r, m)
    r.commit_to(m.commit)
    if r.requested_snapshot:
        return send_snapshot_request(r)
    return r.send(MSG_HEARTBEAT_RESP, m.sender, r.term, 0, 0, 0, 0, 0, m.context)


def handle_snapshot(r: State, m: Message) -> int:
    """Take a snapshot in place of the log, or say how far the log is without it (etcd's handleSnapshot)."""
    if r.in_doubt and r.doubt_term != r.term:
        return 0
    if r.restore(m):
        r.doubt_match = r.log.last
        return r.send(MSG_APP_RESP, m.sender, r.term, r.log.last, 0, 0, 0, 0, 0)
    return r.send(MSG_APP_RESP, m.sender, r.term, r.committed, 0, 0, 0, 0, 0)


# --- in doubt: see doubt.py ------------------------------------------------------------------------


def doubt_heartbeat(r: State, m: Message) -> int:
    """In doubt, a heartbeat is answered, as a sign of life, but confirms no read; the leader is asked for help.

    The commit index in it is capped at what the leader believes us to have, which may be what we have lost.
    """
    r.commit_to(min(m.commit, r.doubt_match))
    r.send(MSG_HEARTBEAT_RESP, m.sender, r.term, 0, 0, 0, 0, 0, 0)
    if r.doubt_term == r.term or r.doubt_ticks < 2 * r.election_timeout:
        return 0
    return r.send(MSG_DOUBT, m.sender, r.term, 0, 0, 0, 0, 0, r.doubt_nonce)


def handle_doubt_response(r: State, m: Message) -> int:
    """The leader was confirmed without us since we asked; its log ended at ``index`` then."""
    if r.in_doubt and m.sender == r.lead and m.term == r.term and m.context == r.doubt_nonce:
        r.doubt_term = r.term
        r.doubt_floor = m.index
    return 0


def doubt_ticked(r: State) -> None:
    """The doubt ends when what the leader named is durable here."""
    r.doubt_ticks += 1
    if r.lead == 0 or r.doubt_term != r.term or min(r.doubt_match, r.stable) < r.doubt_floor:
        if r.doubt_ticks % (2 * r.election_timeout) == 0:
            if r.doubt_seen == r.doubt_match:
                # Nothing comes: the leader may count again what we acknowledged once, from a late answer. Ask anew.
                r.doubt_nonce += 1
                r.doubt_term = 0
            r.doubt_seen = r.doubt_match
        return
    r.in_doubt = False
    r.lived_term = r.term
    if r.vote == 0:
        # We may have voted in this term, and it has this leader.
        r.vote = r.lead


def send_snapshot_request(r: State) -> int:
    """Refuse what the leader sends until it sends a snapshot (raft-rs's send_request_snapshot)."""
    hint, hint_term = r.log.last, r.log.last_term()
    least = max(r.requested_snapshot, r.committed)
    flags = FLAG_REJECT | FLAG_REQUEST_SNAPSHOT
    return r.send(MSG_APP_RESP, r.lead, r.term, r.committed, hint_term, 0, flags, hint, least)


def forward_read(r: State, m: Message) -> int:
    """Pass a read index request on to the leader: ``hint`` names the member that asked, the frame its sender."""
    origin = m.hint if m.hint else (m.sender if m.sender else r.id)
    r.messages.push(MSG_READ_INDEX, r.lead, origin, 0)
    r.messages.set_answer(0, origin, 0)
    return r.messages.set_body(m.body, m.body_size, m.count)


def handle_read_response(r: State, m: Message) -> int:
    """The leader's answer to a read index request of ours."""
    if m.count != 1:
        return 0
    r.read_states.push(MSG_READ_INDEX_RESP, r.id, m.sender, 0)
    r.read_states.set_log(m.index, 0, 0)
    return r.read_states.set_body(m.body, m.body_size, m.count)


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
    if m.kind == MSG_SNAP:
        r.election_elapsed = 0
        r.lead = m.sender
        return handle_snapshot(r, m)
    if m.kind == MSG_PROP:
        if r.lead == 0:
            raise ProposalDropped("no leader")
        if not r.forward_proposals:
            raise ProposalDropped("not the leader, and forwarding is off")
        r.messages.push(MSG_PROP, r.lead, m.sender if m.sender else r.id, 0)
        return r.messages.set_body(m.body, m.body_size, m.count)
    if m.kind == MSG_TRANSFER_LEADER:
        if r.lead == 0:
            return 0
        # etcd forwards it with the sender it came with: the member that is to lead. On the wire the
        # sender is the node itself, so the transferee travels as hint.
        return r.send(MSG_TRANSFER_LEADER, r.lead, r.term, 0, 0, 0, 0, m.hint, 0)
    if m.kind == MSG_READ_INDEX and r.lead != 0:
        return forward_read(r, m)
    if m.kind == MSG_READ_INDEX_RESP:
        return handle_read_response(r, m)
    if m.kind == MSG_DOUBT_RESP:
        return handle_doubt_response(r, m)
    if m.kind == MSG_FORGET_LEADER and not r.lease_reads:
        # Under a lease the leader relies on us to vote for no other member.
        r.lead = 0
    return 0
