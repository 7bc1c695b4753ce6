"""What an engine asks about who leads, and what it would take. Functions that change nothing; no GIL."""

from __future__ import annotations

from .._native.outbox import Message
from ..consensus import changes
from ..consensus.raft import Raft
from ..types import LEADER, MSG_PROP, MSG_READ_INDEX, MSG_SNAP
from .peers import PeerTable
from .rows import (
    REFUSED_NO_LEADER,
    REFUSED_NO_VOTER,
    REFUSED_NOT_LEADER,
    REFUSED_REMOVED,
    REFUSED_TRANSFER,
    REFUSED_UNCOMMITTED,
)


def most_complete(core: Raft, peers: PeerTable) -> int:
    """The live voter, other than this one, that has acknowledged most; 0 for none. On the leader."""
    best = to = 0
    for slot in range(core.tracker.peers.count):
        if slot == core.self_slot or (core.tracker.voters >> slot) & 1 == 0:
            continue
        if peers.is_alive(core.tracker.peers, slot) and core.tracker.peers.match[slot] >= best:
            best = core.tracker.peers.match[slot]
            to = core.tracker.peers.ids[slot]
    return to


def best_match(core: Raft) -> int:
    """How far the voter, other than this one, that has acknowledged most has the log; 0 without another voter."""
    best = 0
    for slot in range(core.tracker.peers.count):
        if slot != core.self_slot and ((core.tracker.voters | core.tracker.outgoing) >> slot) & 1:
            best = max(best, core.tracker.peers.match[slot])
    return best


def transfer_refusal(core: Raft, to: int) -> int:
    """Why leadership cannot be handed to ``to``; 0 when it can, or when another member has to know."""
    if core.role != LEADER:
        if core.lead == 0:
            return REFUSED_NO_LEADER
        return 0 if to else REFUSED_NOT_LEADER
    slot = core.tracker.peers.slot_of(to) if to else -1
    if slot < 0 or (core.tracker.learners >> slot) & 1:
        return REFUSED_NO_VOTER
    return REFUSED_TRANSFER if core.transferee == to else 0


def proposal_refusal(core: Raft, size: int) -> int:
    """Why a leader would refuse a proposal of ``size`` payload bytes; 0 when it would not.

    Looked at before the core is asked: an exception would need the GIL, which may be away.
    """
    if core.self_slot < 0:
        return REFUSED_REMOVED
    if core.transferee:
        return REFUSED_TRANSFER
    if core.uncommitted_bytes > 0 and core.uncommitted_bytes + size > core.max_uncommitted_bytes:
        return REFUSED_UNCOMMITTED
    return 0


def serves(core: Raft, m: Message) -> bool:
    """Whether a node does what the message asks for: the core knows more ways than the engine has."""
    if m.kind == MSG_SNAP:
        return True  # it has a membership, and no change of one
    if m.kind == MSG_READ_INDEX:
        # Whoever asked asks again, the leader of then. Two that take each other for it would pass it on for ever.
        return core.role == LEADER
    # A change of membership is asked for with a message of its own, which tells what its sender has applied
    # (changes.py). A leader sends none that is no change.
    return not m.has_changes() or (m.kind != MSG_PROP and changes.unfit_kind(m) == 0)
