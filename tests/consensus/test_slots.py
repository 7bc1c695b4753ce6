"""Every slot in every set: a membership has up to 64 members, a set of them is one 64-bit mask, no bit may get lost.

Each test takes one slot after the other, so that a slot which counts for another one, or for none, is named. In the
compiled package the masks show in what is read of the core and in what a member does. No members vote or answer alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    MEMBERS_MAX,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from tests.helpers.core_net import FullMember, Member, only
from tests.helpers.implementations import IMPLEMENTATIONS, module

EVERYBODY = tuple(range(1, MEMBERS_MAX + 1))
SLOTS = range(MEMBERS_MAX)


def mask(ids: Iterable[int]) -> int:
    """Member n in slot n - 1."""
    return sum({1 << (id - 1) for id in ids})


def leading(impl: ModuleType, id: int = 1, voters: Iterable[int] = EVERYBODY, **settings: Any) -> FullMember:
    """A leader whose first entry is committed, by the smallest majority of those with the highest ids."""
    member = FullMember(impl, id, voters, **settings)
    others = [other for other in voters if other != id]
    helpers = others[-(len(others) + 1) // 2 :]
    member.lead_with(*helpers)
    for other in helpers:
        member.acknowledge(other)
    assert member.committed == member.log.last
    return member


# --- one bit at a time -------------------------------------------------------------------------------


@pytest.mark.once
def test_each_slot_has_a_bit_of_its_own() -> None:
    flow = module(IMPLEMENTATIONS["pure"], "_core")
    assert [flow.bit(slot) for slot in SLOTS] == [2**slot for slot in SLOTS]


@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_candidate_in_each_slot_counts_its_own_vote(impl: ModuleType, pre_vote: bool) -> None:
    for id in EVERYBODY:
        member = Member(impl, id, EVERYBODY, pre_vote=pre_vote)
        member.campaign()
        assert (member.tracker.votes_granted, member.tracker.votes_refused) == (mask([id]), 0)


@pytest.mark.parametrize("reject", [False, True], ids=["granted", "refused"])
@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_vote_of_each_slot_is_of_that_slot_alone(impl: ModuleType, pre_vote: bool, reject: bool) -> None:
    for id in EVERYBODY:
        candidate = 1 if id != 1 else 2
        member = Member(impl, candidate, EVERYBODY, pre_vote=pre_vote)
        term = member.campaign()[0].term
        kind = MSG_PRE_VOTE_RESP if pre_vote else MSG_VOTE_RESP
        for _ in range(2):
            member.step(kind, id, reject=reject, term=0 if reject and pre_vote else term)
            own, other = mask([candidate]), mask([id])
            expected = (own, other) if reject else (own | other, 0)
            assert (member.tracker.votes_granted, member.tracker.votes_refused) == expected, f"member {id}"
        # Who has answered cannot answer otherwise.
        member.step(kind, id, reject=not reject, term=0 if not reject and pre_vote else term)
        assert (member.tracker.votes_granted, member.tracker.votes_refused) == expected, f"member {id}"


@pytest.mark.parametrize("size", [31, 32, 33, 34, 48, 63, 64])
def test_votes_that_differ_are_counted_one_by_one(impl: ModuleType, size: int) -> None:
    """In a random order some grant and some refuse; after each the masks, and at the end who has won, are right."""
    draw = random.Random(size)
    for _ in range(12):
        ids = draw.sample(range(1, 200), size)
        candidate = draw.choice(ids)
        member = Member(impl, candidate, ids)
        slots = {id: slot for slot, id in enumerate(sorted(ids))}
        granted, refused = {candidate}, set[int]()
        member.campaign()
        share = draw.choice((0.3, 0.5, 0.7))
        for id in draw.sample(ids, size):
            if id == candidate:
                continue
            grants = draw.random() < share
            (granted if grants else refused).add(id)
            member.step(MSG_VOTE_RESP, id, reject=not grants)
            won = len(granted) > size // 2
            lost = size - len(refused) <= size // 2
            assert member.role == (LEADER if won else FOLLOWER if lost else CANDIDATE), (len(granted), len(refused))
            if won or lost:
                break
            assert member.tracker.votes_granted == sum([1 << slots[each] for each in granted])
            assert member.tracker.votes_refused == sum([1 << slots[each] for each in refused])


def test_both_halves_of_a_joint_membership_count_the_same_votes(impl: ModuleType) -> None:
    """Halves that share slots and have slots of their own, high ones among them."""
    draw = random.Random(64)
    for _ in range(40):
        incoming = draw.sample(EVERYBODY, draw.choice((3, 20, 33, 50)))
        outgoing = draw.sample(EVERYBODY, draw.choice((3, 20, 33, 50)))
        ids = sorted({*incoming, *outgoing})
        slots = {id: slot for slot, id in enumerate(ids)}
        candidate = draw.choice(incoming)
        member = Member(impl, candidate, incoming, outgoing=outgoing)
        assert member.tracker.voters == sum([1 << slots[id] for id in incoming])
        assert member.tracker.outgoing == sum([1 << slots[id] for id in outgoing])
        assert sorted([m.to for m in only(member.campaign(), MSG_VOTE)]) == [id for id in ids if id != candidate]
        granted, refused = {candidate}, set[int]()
        for id in draw.sample(ids, len(ids)):
            if id == candidate:
                continue
            grants = draw.random() < 0.65
            (granted if grants else refused).add(id)
            member.step(MSG_VOTE_RESP, id, reject=not grants)
            halves = (set(incoming), set(outgoing))
            won = all(len(half & granted) > len(half) // 2 for half in halves)
            lost = any(len(half - refused) <= len(half) // 2 for half in halves)
            assert member.role == (FOLLOWER if lost else LEADER if won else CANDIDATE)
            if won or lost:
                break


def test_a_learner_in_each_slot(impl: ModuleType) -> None:
    for id in EVERYBODY:
        voters = [other for other in EVERYBODY if other != id]
        member = Member(impl, voters[0], voters, learners=[id])
        assert (member.tracker.voters, member.tracker.learners) == (mask(voters), mask([id]))
        assert id not in [m.to for m in member.campaign()]
        learner = Member(impl, id, voters, learners=[id])
        assert learner.campaign() == [] and learner.role == FOLLOWER
        # It may answer, as one that was made a voter and does not know it; it does not count.
        for other in voters[1:31]:
            member.step(MSG_VOTE_RESP, other)
        member.step(MSG_VOTE_RESP, id)
        assert member.role == CANDIDATE
        member.step(MSG_VOTE_RESP, voters[-1])
        assert member.role == LEADER
        assert {each for each in voters + [id] if member.progress(each)["learner"]} == {id}


# --- of a leader ---------------------------------------------------------------------------------------


def test_each_acknowledgement_counts_once(impl: ModuleType) -> None:
    """A commit needs the 33rd of 64, whoever it is."""
    member = leading(impl)
    for id in EVERYBODY[1:]:
        member.node.propose(b"x")
        member.take()
        before = member.committed
        for other in random.Random(id).sample([other for other in EVERYBODY[1:] if other != id], 31):
            member.receive(impl.Message(MSG_APP_RESP, sender=other, term=member.term, index=member.log.last))
        assert member.committed == before < member.log.last
        member.acknowledge(id)
        assert member.committed == member.log.last == before + 1, f"member {id}"


def test_each_slot_is_heard_from(impl: ModuleType) -> None:
    for id in EVERYBODY[1:]:
        fresh = Member(impl, 1, EVERYBODY)
        fresh.lead_with(*EVERYBODY[1:33])
        before = fresh.tracker.peers.recent_active
        fresh.step(MSG_HEARTBEAT_RESP, id)
        assert before == mask([1])
        assert fresh.tracker.peers.recent_active == mask([1, id])


@pytest.mark.parametrize("size", [33, 48, 64])
def test_a_leader_stays_with_a_majority_and_not_with_one_less(impl: ModuleType, size: int) -> None:
    draw = random.Random(size)
    ids = list(range(1, size + 1))
    for heard in [size // 2 - 1, size // 2] * 8:
        member = leading(impl, draw.choice(ids), ids, check_quorum=True)
        member.tick(member.election_timeout)  # those who elected it are heard from
        assert (member.role, member.tracker.peers.recent_active) == (LEADER, mask([member.id]))
        for id in draw.sample([id for id in ids if id != member.id], heard):
            member.step(MSG_HEARTBEAT_RESP, id)
        member.tick(member.election_timeout)
        assert member.role == (LEADER if heard == size // 2 else FOLLOWER)


def test_each_slot_is_paused_and_set_free_alone(impl: ModuleType) -> None:
    member = leading(impl)
    ids = EVERYBODY[1:]
    for id in ids:
        member.acknowledge(id)
    assert member.tracker.peers.paused == 0
    paused = set()
    for id in random.Random(1).sample(ids, 63):
        member.node.report_unreachable(id)
        assert [m.to for m in only(member.propose(), MSG_APP) if m.to == id] == [id]
        assert only(member.propose(), MSG_APP, id) == []
        paused.add(id)
        assert member.tracker.peers.paused == mask(paused)
    for id in random.Random(2).sample(ids, 63):
        member.step(MSG_HEARTBEAT_RESP, id)
        paused.remove(id)
        # Set free, it is sent one append, which pauses it again.
        assert member.tracker.peers.paused == mask([*paused, id])
        member.acknowledge(id)
        assert member.tracker.peers.paused == mask(paused)
        assert {other for other in ids if member.progress(other)["paused"]} == paused


@pytest.mark.parametrize("size", [33, 48, 64])
def test_a_read_needs_a_majority_whoever_answers(impl: ModuleType, size: int) -> None:
    draw = random.Random(size)
    ids = list(range(1, size + 1))
    for _ in range(16):
        member = leading(impl, draw.choice(ids), ids)
        member.node.read_index(b"read")
        context = only(member.take(), MSG_HEARTBEAT)[0].context
        others = draw.sample([id for id in ids if id != member.id], size // 2)
        for id in others[:-1]:
            for _ in range(2):
                member.step(MSG_HEARTBEAT_RESP, id, context=context)
            assert not member.node.core.reads.confirmed, f"{len(others)} of {size} are needed, members {others}"
        member.node.step(impl.Message(MSG_HEARTBEAT_RESP, sender=others[-1], term=member.term, context=context))
        assert [state.index for state in member.node.ready().read_states] == [member.committed]


def test_one_answer_confirms_no_read(impl: ModuleType) -> None:
    for id in EVERYBODY[1:]:
        member = leading(impl)
        member.node.read_index(b"read")
        context = only(member.take(), MSG_HEARTBEAT)[0].context
        member.step(MSG_HEARTBEAT_RESP, id, context=context)
        acks = member.node.core.reads.acks
        assert [slot for slot in SLOTS if acks[slot]] == [0, id - 1]
        assert member.node.core.reads.confirmed == 0, f"member {id}"


def test_commit_groups_of_each_slot(impl: ModuleType) -> None:
    """With group commit the second group's only member decides, whichever slot it has."""
    member = leading(impl)
    member.node.enable_group_commit(True)
    for id in EVERYBODY[1:]:
        member.node.assign_commit_groups({other: 1 + (other == id) for other in EVERYBODY})
        member.propose()
        before = member.committed
        for other in EVERYBODY[1:]:
            if other != id:
                member.receive(impl.Message(MSG_APP_RESP, sender=other, term=member.term, index=member.log.last))
        assert member.committed == before < member.log.last, f"member {id}"
        member.acknowledge(id)
        assert member.committed == before + 1


# --- slots move ----------------------------------------------------------------------------------------


def test_votes_move_with_their_members(impl: ModuleType) -> None:
    """Who is removed moves all above it one slot down; and one up when it comes back."""
    parse = impl.ConfChange.parse
    for gone in (2, 17, 31, 32, 33, 34, 63):
        member = Member(impl, 64, EVERYBODY)
        member.campaign()
        draw = random.Random(gone)
        granted, refused = {64}, set[int]()
        for id in draw.sample(range(1, 64), 40):
            grants = draw.random() < 0.5
            (granted if grants else refused).add(id)
            member.step(MSG_VOTE_RESP, id, reject=not grants)
        for change, ids in ((f"r{gone}", [id for id in EVERYBODY if id != gone]), (f"v{gone}", list(EVERYBODY))):
            member.node.apply_conf_change(parse(change))
            slots = {id: slot for slot, id in enumerate(ids)}
            tracker = member.tracker
            assert tracker.voters == sum([1 << slot for slot in slots.values()])
            assert tracker.votes_granted == sum([1 << slots[id] for id in granted if id in slots])
            assert tracker.votes_refused == sum([1 << slots[id] for id in refused if id in slots])


def test_marks_and_acknowledgements_move_with_their_members(impl: ModuleType) -> None:
    parse = impl.ConfChange.parse
    for gone in (2, 31, 32, 33, 63):
        draw = random.Random(gone)
        member = leading(impl, 64)
        heard = set(draw.sample(range(1, 64), 30))
        member.node.read_index(b"read")
        context = only(member.take(), MSG_HEARTBEAT)[0].context
        for id in heard:
            member.step(MSG_HEARTBEAT_RESP, id, context=context)
        before = {id: member.progress(id) for id in EVERYBODY}
        member.node.apply_conf_change(parse(f"r{gone}"))
        kept = [id for id in EVERYBODY if id != gone]
        for slot, id in enumerate(kept):
            now = member.progress(id)
            for name in ("match", "recent_active", "paused", "learner"):
                assert now[name] == before[id][name], (id, name)
            assert bool(member.node.core.reads.acks[slot]) == (id in heard or id == 64), id
        member.node.apply_conf_change(parse(f"l{gone}"))
        assert member.tracker.learners == mask([gone])
        assert member.tracker.voters == mask(kept)
        acks = member.node.core.reads.acks
        assert {id for id in EVERYBODY if acks[id - 1]} == heard | {64}
        member.node.apply_conf_change(parse(f"v{gone}"))
        assert (member.tracker.learners, member.tracker.voters) == (0, mask(EVERYBODY))


def test_a_change_of_each_slot(impl: ModuleType) -> None:
    """Demoted within a joint membership, left, promoted, removed, added: only that member's bits change."""
    parse = impl.ConfChange.parse
    for id in EVERYBODY[:-1]:
        others = [other for other in EVERYBODY if other != id]
        member = Member(impl, 64, EVERYBODY)
        tracker = member.tracker
        member.node.apply_conf_change(parse(f"l{id}", 2))
        assert (tracker.voters, tracker.outgoing) == (mask(others), mask(EVERYBODY))
        assert (tracker.learners, tracker.learners_next) == (0, mask([id]))
        member.node.apply_conf_change(parse(""))
        assert (tracker.voters, tracker.outgoing) == (mask(others), 0)
        assert (tracker.learners, tracker.learners_next) == (mask([id]), 0)
        member.node.apply_conf_change(parse(f"v{id}"))
        assert (tracker.voters, tracker.learners) == (mask(EVERYBODY), 0)
        member.node.apply_conf_change(parse(f"r{id}"))
        assert tracker.voters == mask(range(1, 64))
        member.node.apply_conf_change(parse(f"v{id}"))
        assert (tracker.voters, tracker.conf_state().voters) == (mask(EVERYBODY), EVERYBODY)
