"""What a leader does: appends, snapshots, heartbeats, commits, reads, membership; hands leadership over.

Functions over State. The windows and pauses themselves are Tracker's.
"""

from __future__ import annotations

from .._native.layout import ENTRY_HEADER
from .._native.outbox import Message, Outbox
from ..errors import ConfChangeError, FrameError, ProposalDropped
from ..types import (
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    FLAG_REJECT,
    FLAG_REQUEST_SNAPSHOT,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_BEAT,
    MSG_CHECK_QUORUM,
    MSG_DOUBT,
    MSG_DOUBT_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PROP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_SNAP,
    MSG_SNAP_STATUS,
    MSG_TIMEOUT_NOW,
    MSG_TRANSFER_LEADER,
    MSG_UNREACHABLE,
    PROBE,
    REPLICATE,
    SNAPSHOT,
)
from . import changes, records
from .state import State

# What is due at the end of a round: something to those that acknowledged, or news for everybody
DUE_ANSWER = 1
DUE_ALL = 2
HOLD_FROM = 2  # unacknowledged appends to a peer from which on a small one waits


def maybe_send_append(r: State, slot: int, send_if_empty: bool) -> int:
    """One append to a peer, if it is not paused and there is something to say (etcd's maybeSendAppend)."""
    if r.tracker.is_paused(slot):
        return 0
    low = r.tracker.peers.next[slot]
    if low < r.log.first or r.tracker.peers.requested_snapshot[slot] != 0:
        return maybe_send_snapshot(r, slot)
    count = 0
    high = r.log.last
    # A full window still lets an empty append through: it carries the commit index and provokes an answer.
    if low <= high and (r.tracker.peers.state[slot] != REPLICATE or not r.tracker.inflights.full(slot)):
        high = r.log.limit(low, high, append_bytes(r, slot))
        count = high + 1 - low
    if count == 0 and not send_if_empty:
        return 0
    if not (r.batch_append and batched(r, slot, low, count)):
        r.send(MSG_APP, r.tracker.peers.ids[slot], r.term, low - 1, r.log.term(low - 1), r.committed, 0, 0, 0)
        if count:
            r.log.fill(r.messages, low, high)
    size = 0
    if count:
        # What is held back is measured as a queue would be: with the headers of entries. etcd counts their data alone.
        size = r.log_bytes(low, high) if r.hold_bytes else r.log.payload(low, high)
    r.tracker.sent_entries(slot, count, size)
    r.tracker.peers.sent_commit[slot] = r.committed
    return 1


def append_bytes(r: State, slot: int) -> int:
    """Bytes of entries in one append to a peer; one entry goes whatever its size."""
    limit = r.tracker.append_limits[slot]
    return limit if 0 < limit < r.max_message_bytes else r.max_message_bytes


def batched(r: State, slot: int, low: int, count: int) -> bool:
    """Add to an append for the same peer that is not sent yet, when what follows fits (raft-rs's try_batching)."""
    row = r.messages.find(MSG_APP, r.tracker.peers.ids[slot])
    if row < 0:
        return False
    if count:
        first = r.messages.index_at(row) + 1
        high = low + count - 1
        if first < r.log.first:
            # What it begins with has been compacted since: it goes as it is.
            return False
        if first + r.messages.count_at(row) != low or r.log.limit(first, high, append_bytes(r, slot)) < high:
            return False
        r.log.extend(r.messages, row, high, r.committed)
    else:
        r.log.extend(r.messages, row, 0, r.committed)
    return True


def maybe_send_snapshot(r: State, slot: int) -> int:
    """The newest snapshot in place of entries that are compacted, or asked for (etcd's maybeSendSnapshot)."""
    if (r.tracker.peers.recent_active >> slot) & 1 == 0:
        # It would be lost, and sent again and again.
        return 0
    least = r.tracker.peers.requested_snapshot[slot]
    if r.snapshot_index == 0 or r.snapshot_index < least:
        # Temporarily unavailable: the driver of the core can see what is wanted.
        r.snapshot_wanted = max(r.snapshot_wanted, least, r.log.first - 1)
        return 0
    r.tracker.become_snapshot(slot, r.snapshot_index)
    r.send(MSG_SNAP, r.tracker.peers.ids[slot], r.term, 0, 0, 0, 0, 0, 0)
    r.messages.set_spans(r.snapshot, 1)
    return 1


def bcast_append(r: State) -> int:
    """Everything a peer may be sent now, to each in the order of ids; with hold_bytes, when ``send_due`` is called."""
    if r.hold_bytes:
        r.due = DUE_ALL
        return 0
    for slot in range(r.tracker.peers.count):
        if slot != r.self_slot:
            maybe_send_append(r, slot, True)
    return 0


def held(r: State, slot: int) -> bool:
    """Whether what there is for a peer waits for an acknowledgement, to go in one larger append: for a node only.

    While the peer has acknowledged all but one append, nothing waits. The acknowledgement comes, or else a heartbeat's
    answer, behind which nothing is held.
    """
    if r.hold_bytes == 0 or r.tracker.peers.state[slot] != REPLICATE or r.tracker.inflights.count[slot] < HOLD_FROM:
        return False
    if r.transferee or r.pending_conf_index > r.applied:
        return False
    low = r.tracker.peers.next[slot]
    if low < r.log.first:
        return False
    # What fills an append does not wait.
    return low > r.log.last or r.log_bytes(low, r.log.last) < min(r.hold_bytes, append_bytes(r, slot))


def send_due(r: State) -> int:
    """The appends that were left for the end of the round: one to a peer, with the newest commit index, if it can be.

    The commit index goes alone only to a peer that there is nothing else for.
    """
    due = r.due
    r.due = 0
    if r.role != LEADER:
        return 0
    for slot in range(r.tracker.peers.count):
        if slot == r.self_slot or held(r, slot):
            continue
        if r.tracker.peers.state[slot] == REPLICATE:
            news = r.tracker.can_bump_commit(slot, r.committed) and (due == DUE_ALL or not r.skip_bcast_commit)
        else:
            news = due == DUE_ALL
        if maybe_send_append(r, slot, news):
            # The rest of what does not fit one append goes with it.
            while maybe_send_append(r, slot, False):
                pass
    return 0


def bcast_heartbeat(r: State) -> int:
    """Send a heartbeat to every peer.

    It carries the commit index only as far as the peer has acknowledged (its log may differ beyond), and the position
    of the newest read that waits for a quorum to confirm this leader.
    """
    context = r.reads.context()
    for slot in range(r.tracker.peers.count):
        if slot != r.self_slot:
            commit = min(r.tracker.peers.match[slot], r.committed)
            r.send(MSG_HEARTBEAT, r.tracker.peers.ids[slot], r.term, 0, 0, commit, 0, 0, context)
            r.tracker.peers.sent_commit[slot] = commit
    return 0


def send_timeout_now(r: State, id: int) -> int:
    return r.send(MSG_TIMEOUT_NOW, id, r.term, 0, 0, 0, 0, 0, 0)


def check_quorum(r: State) -> int:
    """Step down when no quorum has been heard from; then every member has to show again that it lives."""
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
    if m.has_changes():
        return propose_changes(r, m)
    return append_proposals(r, m)


def append_proposals(r: State, m: Message) -> int:
    """Append entries that may be appended, unless the cap is full, and send them (etcd's appendEntry)."""
    if not r.increase_uncommitted(m.body_size - m.count * ENTRY_HEADER):
        raise ProposalDropped("too many bytes are not committed yet")
    r.log.append_proposals(r.term, m.body, m.body_size)
    r.acknowledge_own()
    return bcast_append(r)


def propose_changes(r: State, m: Message) -> int:
    """Append proposals, and membership changes one at a time: an empty entry replaces one that may not pass.

    The refused change is kept in ``refused`` (etcd only logs it). Raises ConfChangeError for an entry that is no
    change, and ProposalDropped; then nothing was appended. The message stays as it is.
    """
    kind = changes.unfit_kind(m)
    if kind in (ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2):
        raise ConfChangeError("the entry of a proposed change of membership holds none")
    if kind != 0:
        raise ConfChangeError(f"an entry of kind {kind} cannot be proposed")
    if not r.increase_uncommitted(pass_changes(r, m, False)):
        raise ProposalDropped("too many bytes are not committed yet")
    pass_changes(r, m, True)
    r.acknowledge_own()
    return bcast_append(r)


def pass_changes(r: State, m: Message, append: bool) -> int:
    """Judge the changes among proposals one after the other; bytes of payload of what is appended.

    Without ``append`` nothing is done but that.
    """
    size = at = 0
    index = r.log.last
    pending = r.pending_conf_index
    while at < m.body_size:
        step = records.record_size(m.body, at, m.body_size)
        if step == 0:
            raise FrameError("records")
        index += 1
        reason = 0
        is_change = changes.is_kind_of_change(m.body[at + records.RECORD_KIND])
        if is_change:
            reason = judge_change(r, changes.part_count(m.body, at + ENTRY_HEADER, at + step), pending)
        if reason == 0:
            size += step - ENTRY_HEADER
        if append and reason == 0:
            r.piece.body_of(m, at, step, 1)
            r.log.append_proposals(r.term, r.piece.body, step)
        elif append:
            r.log.append_empty(r.term)
            r.refused.put(MSG_PROP, 0, m.sender, r.term, index, 0, r.applied, reason, pending, 0)
        if is_change and reason == 0:
            pending = index
        at += step
    if append:
        r.pending_conf_index = pending
    return size


def judge_change(r: State, parts: int, pending: int) -> int:
    """CHANGE_FITS, or why a change of so many parts is not taken; ``pending`` is the last one that may be under way."""
    if not r.validate_conf_changes:
        return changes.CHANGE_FITS
    if pending > r.applied:
        return changes.CHANGE_PENDING
    if r.tracker.outgoing != 0 and parts != 0:
        return changes.CHANGE_IN_JOINT
    if r.tracker.outgoing == 0 and parts == 0:
        return changes.CHANGE_NOT_JOINT
    return changes.CHANGE_FITS


def change_refusal(r: State, m: Message) -> int:
    """Why a leader would put an empty entry in the place of a message's first change; CHANGE_FITS when it would not.

    A caller that wants to tell the proposer at once asks this before it steps the message.
    """
    at = 0
    while at < m.body_size:
        step = records.record_size(m.body, at, m.body_size)
        if step == 0:
            return changes.CHANGE_FITS
        if changes.is_kind_of_change(m.body[at + records.RECORD_KIND]):
            parts = changes.part_count(m.body, at + ENTRY_HEADER, at + step)
            return judge_change(r, parts, r.pending_conf_index)
        at += step
    return changes.CHANGE_FITS


def maybe_leave_joint(r: State) -> int:
    """Propose to leave a joint configuration that is left by itself, once all before it is applied (etcd's appliedTo).

    It is tried again with every applied batch, because a transfer may be in the way. It is replicated like a proposal.
    """
    if r.applied < r.pending_conf_index or r.role != LEADER:
        return 0
    if r.self_slot < 0 or r.transferee:
        return 0
    r.pending_conf_index = r.log.last + 1
    r.log.append_change(r.term)
    r.acknowledge_own()
    return bcast_append(r)


def handle_append_response(r: State, m: Message, slot: int) -> int:
    """An acknowledgement, the leader's own included, or a refusal with a hint."""
    r.tracker.peers.set_recent_active(slot, True)
    if m.flags & FLAG_REJECT:
        if m.flags & FLAG_REQUEST_SNAPSHOT:
            return handle_snapshot_request(r, m, slot)
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
        # No member can have more of this term than its leader: the answer is not from this log.
        return 0
    was_paused = r.skip_bcast_commit and r.tracker.is_paused(slot)
    if not r.tracker.maybe_update(slot, m.index) and not reconnects(r, m, slot):
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
        release_early_reads(r)
        if not r.skip_bcast_commit or r.pending_conf_index > r.applied:
            # A pending change is learned at once even so: no member shall lag behind with an old membership.
            bcast_append(r)
    elif slot != r.self_slot and r.tracker.can_bump_commit(slot, r.committed):
        # With skip_bcast_commit, a bare commit index goes only to a peer that was paused until now.
        if not r.skip_bcast_commit or r.pending_conf_index > r.applied or was_paused:
            if r.hold_bytes == 0 or r.skip_bcast_commit:
                # At the end of the round others would be told, too.
                maybe_send_append(r, slot, True)
    if slot != r.self_slot:
        if r.hold_bytes:
            r.due = max(r.due, DUE_ANSWER)
        else:
            while maybe_send_append(r, slot, False):
                pass
        if m.sender == r.transferee and r.tracker.peers.match[slot] == r.log.last:
            return send_timeout_now(r, m.sender)
    return 0


def reconnects(r: State, m: Message, slot: int) -> bool:
    """Whether an acknowledgement of what was known already lets the peer go on."""
    if r.tracker.peers.state[slot] == SNAPSHOT:
        # One that was asked for need not be ahead of what the peer had acknowledged.
        return r.tracker.peers.pending_snapshot[slot] <= m.index
    if r.tracker.peers.match[slot] + 1 < r.log.first:
        # It needs a snapshot, and this may be how it refused one that does not know it: heartbeats pace the next one
        # (etcd sends it again at once, and again, as fast as the two can talk).
        return False
    return r.tracker.peers.state[slot] == PROBE and r.tracker.peers.match[slot] == m.index


def handle_snapshot_request(r: State, m: Message, slot: int) -> int:
    """The peer takes nothing but a snapshot (raft-rs's request_snapshot)."""
    if r.tracker.request_snapshot(slot, m.index, m.context if m.context else 1):
        if r.tracker.peers.state[slot] == REPLICATE:
            r.tracker.become_probe(slot)
        return maybe_send_append(r, slot, True)
    return 0


def handle_heartbeat_response(r: State, m: Message, slot: int) -> int:
    """A sign of life: a paused peer may be tried again."""
    r.tracker.peers.set_recent_active(slot, True)
    r.tracker.peers.set_paused(slot, False)
    if r.tracker.peers.match[slot] < r.log.last or r.tracker.peers.state[slot] == PROBE:
        maybe_send_append(r, slot, True)
    if m.context != 0:
        r.reads.acknowledge(slot, m.context)
        return confirm_reads(r)
    return 0


def handle_snapshot_status(r: State, m: Message, slot: int) -> int:
    """What became of a snapshot that was sent, as the sender saw it."""
    if r.tracker.peers.state[slot] == SNAPSHOT:
        r.tracker.snapshot_ended(slot, m.flags & FLAG_REJECT == 0)
    return 0


# --- reads -----------------------------------------------------------------------------------------


def read_index(r: State, m: Message) -> int:
    """The commit index for a linearizable read, once this leader is known to be the leader still (etcd)."""
    origin = m.hint if m.hint else m.sender
    if m.count != 1:
        return 0
    if not r.committed_in_term():
        # What is committed is not known yet: the read waits for the first commit of this term. That holds for a
        # single voter too, whose commit index may have been lost with its last life (etcd answers it at once).
        push_read(r.early_reads, origin, 0, m)
        return 0
    if answers_alone(r):
        if origin == 0 or origin == r.id:
            push_read(r.read_states, r.id, r.committed, m)
            return 0
        return answer_read(r, origin, r.committed, m)
    r.reads.add(r.committed, origin, m)
    return confirm_by_heartbeat(r)


def answers_alone(r: State) -> bool:
    """Whether a read needs no confirmation: under a lease, or where no other member could lead.

    A leader that is no voter any more must ask the one voter that is left: it may lead by now (etcd does not look).
    """
    if r.lease_reads and not r.lease_ended:
        return True
    return r.tracker.is_singleton() and r.self_slot >= 0 and (r.tracker.voters >> r.self_slot) & 1 != 0


def push_read(box: Outbox, origin: int, index: int, m: Message) -> int:
    box.push(MSG_READ_INDEX, 0, origin, 0)
    box.set_log(index, 0, 0)
    return box.set_body(m.body, m.body_size, m.count)


def answer_read(r: State, origin: int, index: int, m: Message) -> int:
    r.send(MSG_READ_INDEX_RESP, origin, r.term, index, 0, 0, 0, 0, 0)
    return r.messages.set_body(m.body, m.body_size, m.count)


def answer_row(r: State, box: Outbox, row: int, index: int) -> int:
    """Answer the read in a row: here, when it was asked here, else where it was."""
    if box.kind_at(row) == MSG_DOUBT:
        # No read, but a mark among them.
        return 0
    origin = box.sender_at(row)
    if origin == 0 or origin == r.id:
        r.read_states.push(MSG_READ_INDEX, 0, r.id, 0)
        r.read_states.set_log(index, 0, 0)
        return r.read_states.share_body(box, row)
    r.send(MSG_READ_INDEX_RESP, origin, r.term, index, 0, 0, 0, 0, 0)
    return r.messages.share_body(box, row)


def confirm_by_heartbeat(r: State) -> int:
    """Ask every member to confirm this leader up to the newest read; its own confirmation counts at once."""
    if r.self_slot >= 0:
        r.reads.acknowledge(r.self_slot, r.reads.last())
    bcast_heartbeat(r)
    # A quorum of its own, as in a joint configuration of one voter twice, will get no answer to wait for.
    return confirm_reads(r)


def confirm_reads(r: State) -> int:
    """Answer the reads that a quorum has confirmed by now."""
    count = r.reads.advance(r.tracker)
    for row in range(count):
        answer_row(r, r.reads.unconfirmed, row, r.reads.unconfirmed.index_at(row))
    r.reads.unconfirmed.discard(count)
    return answer_doubts(r) if r.doubts.waiting != 0 else 0


def handle_doubt(r: State, m: Message, slot: int) -> int:
    """A member does not know what it promised: nothing that it acknowledged counts, and it learns what it must have.

    See doubt.py. The nonce tells a request that is sent again from that of another life.
    """
    r.tracker.peers.set_recent_active(slot, True)
    if slot == r.self_slot or m.context == 0:
        return 0
    if r.doubts.nonce[slot] == m.context:
        if r.doubts.position[slot] == 0:
            # It has been answered already, and the answer may be lost.
            return r.send(MSG_DOUBT_RESP, m.sender, r.term, r.doubts.floor[slot], 0, 0, 0, 0, m.context)
        return 0
    r.tracker.reset_progress(slot, 0, r.log.last + 1)
    r.tracker.peers.set_recent_active(slot, True)
    r.doubts.begin(slot, m.context, r.reads.add_mark(), r.log.last)
    return confirm_by_heartbeat(r)


def answer_doubts(r: State) -> int:
    """Answer the members in doubt since whose request this leader has been confirmed."""
    for slot in range(r.tracker.peers.count):
        if r.doubts.position[slot] != 0 and r.doubts.confirmed(slot, r.reads, r.tracker):
            r.doubts.answer(slot)
            nonce = r.doubts.nonce[slot]
            r.send(MSG_DOUBT_RESP, r.tracker.peers.ids[slot], r.term, r.doubts.floor[slot], 0, 0, 0, 0, nonce)
    return 0


def release_early_reads(r: State) -> int:
    """The term has its first commit: reads that came before it are taken up now."""
    if r.early_reads.length() == 0 or not r.committed_in_term():
        return 0
    for row in range(r.early_reads.length()):
        if answers_alone(r):
            answer_row(r, r.early_reads, row, r.committed)
        else:
            r.reads.add_row(r.committed, r.early_reads, row)
            confirm_by_heartbeat(r)
    r.early_reads.clear()
    return 0


# --- leadership --------------------------------------------------------------------------------------


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
    # From here on another member may be elected within our lease, and a lost or late message does not tell.
    r.lease_ended = True
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
    if m.kind == MSG_READ_INDEX:
        return read_index(r, m)
    if m.kind == MSG_TRANSFER_LEADER:
        return transfer(r, m.hint)
    slot = r.tracker.peers.slot_of(m.sender)
    if slot < 0:
        return 0
    if m.kind == MSG_APP_RESP:
        return handle_append_response(r, m, slot)
    if m.kind == MSG_HEARTBEAT_RESP:
        return handle_heartbeat_response(r, m, slot)
    if m.kind == MSG_DOUBT:
        return handle_doubt(r, m, slot)
    if m.kind == MSG_SNAP_STATUS:
        return handle_snapshot_status(r, m, slot)
    if m.kind == MSG_UNREACHABLE and r.tracker.peers.state[slot] == REPLICATE:
        # What is in flight may be lost: probe instead of waiting for its answers.
        r.tracker.become_probe(slot)
    return 0
