"""What an engine asks of its core about who is to lead. Functions of a Raft, which change nothing of it; no GIL."""

from __future__ import annotations

from ..consensus.raft import Raft
from ..types import LEADER
from .rows import REFUSED_NO_LEADER, REFUSED_NO_VOTER, REFUSED_NOT_LEADER, REFUSED_TRANSFER


def most_complete(core: Raft) -> int:
    """The live voter, other than this one, that has acknowledged most; 0 for none. On the leader."""
    best = to = 0
    for slot in range(core.tracker.peers.count):
        if slot == core.self_slot or (core.tracker.voters >> slot) & 1 == 0:
            continue
        alive = (core.tracker.peers.recent_active >> slot) & 1
        if alive and core.tracker.peers.match[slot] >= best:
            best = core.tracker.peers.match[slot]
            to = core.tracker.peers.ids[slot]
    return to


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
