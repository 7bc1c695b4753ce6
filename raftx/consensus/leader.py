"""What a leader does: appends, heartbeats, commits, hands leadership over.

Functions over State. The windows and pauses themselves are Tracker's.
"""

from __future__ import annotations

from .._core import Message
from ..errors import ProposalDropped
from ..types import (
    FLAG_REJECT,
    MSG_APP,
    MSG_APP_RESP,
    MSG_BEAT,
    MSG_CHECK_QUORUM,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_TIMEOUT_NOW,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    PROBE,
    REPLICATE,
    SNAPSHOT,
)
from .state import State

ENTRY_HEADER = 32


def maybe_send_append(r: State, slot: int, send_if_empty: bool) -> int:
    """One append to a peer, if it is not paused and there is something to say (etcd's maybeSendAppend)."""
    if r.tracker.is_paused(slot):
        return 0
    low = r.tracker.peers.next[slot]
    if low < r.log.first:
        # What the peer needs is compacted: only a snapshot would help, and an append must not pretend.
        return 0
    count = 0
    high = r.log.last
    # A full window still lets an empty append through: it carries the commit index and provokes an answer.
    if low <= high and (r.tracker.peers.state[slot] != REPLICATE or not r.tracker.inflights.full(slot)):
        high = r.log.limit(low, high, r.max_message_bytes)
        count = high + 1 - low
    if count == 0 and not send_if_empty:
        return 0
    r.send(MSG_APP, r.tracker.peers.ids[slot], r.term, low - 1, r.log.term(low - 1), r.committed, 0, 0, 0)
    if count:
        r.messages.set_entries(r.log, low, high)
        r.tracker.sent_entries(slot, count, r.log.payload(low, high))
    else:
        r.tracker.sent_entries(slot, 0, 0)
    r.tracker.peers.sent_commit[slot] = r.committed
    return 1


def bcast_append(r: State) -> int:
    """Everything a peer may be sent now, to each in the order of ids."""
    for slot in range(r.tracker.peers.count):
        if slot != r.self_slot:
            maybe_send_append(r, slot, True)
    return 0


def bcast_heartbeat(r: State) -> int:
    """Heartbeats carry the commit index only as far as the peer has acknowledged (its log may differ beyond)."""
    for slot in range(r.tracker.peers.count):
        if slot != r.self_slot:
            commit = min(r.tracker.peers.match[slot], r.committed)
            r.send(MSG_HEARTBEAT, r.tracker.peers.ids[slot], r.term, 0, 0, commit, 0, 0, 0)
            r.tracker.peers.sent_commit[slot] = commit
    return 0


def send_timeout_now(r: State, id: int) -> int:
    return r.send(MSG_TIMEOUT_NOW, id, r.term, 0, 0, 0, 0, 0, 0)


def check_quorum(r: State) -> int:
    """Step down when a quorum has not been heard from; then everybody has to prove life again."""
    if not r.tracker.quorum_active():
        r.become_follower(r.term, 0)
    for slot in range(r.tracker.peers.count):
        if slot != r.self_slot:
            r.tracker.peers.set_recent_active(slot, False)
    return 0


def propose(r: State, m: Message) -> int:
    """Append proposals and send them on. Raises ProposalDropped; then nothing was appended."""
    if m.count == 0:
        raise ProposalDropped("a proposal without entries")
    if r.self_slot < 0:
        raise ProposalDropped("this leader has been removed")
    if r.transferee:
        raise ProposalDropped("leadership is being transferred")
    if not r.increase_uncommitted(m.body_size - m.count * ENTRY_HEADER):
        raise ProposalDropped("too many bytes are not committed yet")
    r.log.append_proposals(r.term, m.body, m.body_size)
    r.acknowledge_own()
    return bcast_append(r)


def handle_append_response(r: State, m: Message, slot: int) -> int:
    """An acknowledgement, the leader's own included, or a refusal with a hint."""
    r.tracker.peers.set_recent_active(slot, True)
    if m.flags & FLAG_REJECT:
        probe = m.hint
        if m.log_term > 0:
            # Skip all terms that the follower cannot have: one round a term, not one an entry.
            probe, _ = r.log.find_conflict_by_term(m.hint, m.log_term)
        if r.tracker.maybe_decrease(slot, m.index, probe):
            if r.tracker.peers.state[slot] == REPLICATE:
                r.tracker.become_probe(slot)
            return maybe_send_append(r, slot, True)
        return 0
    if m.index > r.log.last:
        # Nobody can have more of this term than its leader: the answer is not from this log.
        return 0
    if not r.tracker.maybe_update(slot, m.index) and (
        r.tracker.peers.match[slot] != m.index or r.tracker.peers.state[slot] != PROBE
    ):
        return 0
    if r.tracker.peers.state[slot] == PROBE:
        r.tracker.become_replicate(slot)
    elif r.tracker.peers.state[slot] == SNAPSHOT:
        if r.tracker.peers.match[slot] + 1 >= r.log.first:
            r.tracker.become_probe(slot)
            r.tracker.become_replicate(slot)
    else:
        r.tracker.inflights.free_to(slot, m.index)
    if r.maybe_commit():
        bcast_append(r)
    elif slot != r.self_slot and r.tracker.can_bump_commit(slot, r.committed):
        maybe_send_append(r, slot, True)
    if slot != r.self_slot:
        while maybe_send_append(r, slot, False):
            pass
        if m.sender == r.transferee and r.tracker.peers.match[slot] == r.log.last:
            return send_timeout_now(r, m.sender)
    return 0


def handle_heartbeat_response(r: State, m: Message, slot: int) -> int:
    """A sign of life: a paused peer may be tried again."""
    r.tracker.peers.set_recent_active(slot, True)
    r.tracker.peers.set_paused(slot, False)
    if r.tracker.peers.match[slot] < r.log.last or r.tracker.peers.state[slot] == PROBE:
        maybe_send_append(r, slot, True)
    return 0


def transfer(r: State, id: int) -> int:
    """Hand leadership to a voter: at once if it has everything, else when it has (paper, section 3.10)."""
    slot = r.tracker.peers.slot_of(id)
    if slot < 0 or (r.tracker.learners >> slot) & 1:
        return 0
    if r.transferee == id:
        return 0
    r.transferee = 0
    if id == r.id:
        return 0
    r.election_elapsed = 0
    r.transferee = id
    if r.tracker.peers.match[slot] == r.log.last:
        return send_timeout_now(r, id)
    return maybe_send_append(r, slot, True)


def step(r: State, m: Message) -> int:
    """One message for a leader."""
    if m.kind == MSG_PROP:
        return propose(r, m)
    if m.kind == MSG_BEAT:
        return bcast_heartbeat(r)
    if m.kind == MSG_CHECK_QUORUM:
        return check_quorum(r)
    if m.kind == MSG_TRANSFER_LEADER:
        return transfer(r, m.hint)
    slot = r.tracker.peers.slot_of(m.sender)
    if slot < 0:
        return 0
    if m.kind == MSG_APP_RESP:
        return handle_append_response(r, m, slot)
    if m.kind == MSG_HEARTBEAT_RESP:
        return handle_heartbeat_response(r, m, slot)
    if m.kind == MSG_UNREACHABLE and r.tracker.peers.state[slot] == REPLICATE:
        # What is in flight may be lost: probe instead of waiting for its answers.
        r.tracker.become_probe(slot)
    return 0
