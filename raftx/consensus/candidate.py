"""Campaigns: pre-vote, vote, and what a candidate does with messages."""

from __future__ import annotations

from .._native.outbox import Message
from ..errors import ProposalDropped
from ..types import (
    FLAG_REJECT,
    FLAG_TRANSFER,
    LEADER,
    MSG_APP,
    MSG_HEARTBEAT,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_PROP,
    MSG_SNAP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    PRE_CANDIDATE,
)
from . import follower, leader, quorum
from .state import State

CAMPAIGN_PRE_ELECTION = 1
CAMPAIGN_ELECTION = 2
CAMPAIGN_TRANSFER = 3


def start_campaign(r: State, campaign_kind: int) -> int:
    """Campaign unless that is not allowed now (etcd's hup)."""
    if r.role == LEADER or not r.promotable() or r.has_unapplied_conf_change():
        return 0
    return campaign(r, campaign_kind)


def campaign(r: State, campaign_kind: int) -> int:
    """Ask every voter, oneself included: one's own vote counts when it is durable."""
    if campaign_kind == CAMPAIGN_PRE_ELECTION:
        r.become_pre_candidate()
        kind = MSG_PRE_VOTE
        answer = MSG_PRE_VOTE_RESP
        term = r.term + 1
    else:
        r.become_candidate()
        kind = MSG_VOTE
        answer = MSG_VOTE_RESP
        term = r.term
    flags = FLAG_TRANSFER if campaign_kind == CAMPAIGN_TRANSFER else 0
    for slot in range(r.tracker.peers.count):
        if ((r.tracker.voters | r.tracker.outgoing) >> slot) & 1:
            if slot == r.self_slot:
                r.send(answer, r.id, term, 0, 0, 0, 0, 0, 0)
            else:
                id = r.tracker.peers.ids[slot]
                commit = r.committed if r.commit_by_vote else 0
                commit_term = r.log.term(commit) if r.commit_by_vote else 0
                r.send(kind, id, term, r.log.last, r.log.last_term(), commit, flags, r.priority, commit_term)
    return 0


def handle_vote_response(r: State, m: Message) -> int:
    """Count one answer; win, lose or wait."""
    slot = r.tracker.peers.slot_of(m.sender)
    if slot < 0:
        return 0
    r.tracker.record_vote(slot, m.flags & FLAG_REJECT == 0)
    result = r.tracker.tally()
    if result == quorum.VOTE_WON:
        if r.role == PRE_CANDIDATE:
            return campaign(r, CAMPAIGN_ELECTION)
        r.become_leader()
        return leader.bcast_append(r)
    if result == quorum.VOTE_LOST:
        # The term of a lost pre-vote was never ours: stay at our own.
        r.become_follower(r.term, 0)
    if m.flags & FLAG_REJECT:
        return r.maybe_commit_by_vote(m)
    return 0


def step(r: State, m: Message) -> int:
    """One message for a candidate or pre-candidate; its term is ours."""
    if m.kind == MSG_PROP:
        raise ProposalDropped("no leader")
    if m.kind == MSG_APP:
        r.become_follower(m.term, m.sender)
        return follower.handle_append(r, m)
    if m.kind == MSG_HEARTBEAT:
        r.become_follower(m.term, m.sender)
        return follower.handle_heartbeat(r, m)
    if m.kind == MSG_SNAP:
        r.become_follower(m.term, m.sender)
        return follower.handle_snapshot(r, m)
    if m.kind == (MSG_PRE_VOTE_RESP if r.role == PRE_CANDIDATE else MSG_VOTE_RESP):
        return handle_vote_response(r, m)
    return 0
