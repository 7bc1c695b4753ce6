"""Membership, progress and flow control: what a leader shows in both modes, each transition in the interpreted one.

The transitions are C functions in the compiled package, which Python cannot call: there they show in
what a leader sends and in RawNode.status().
"""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    MEMBERS_MAX,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_UNREACHABLE,
    PROBE,
    REPLICATE,
    SNAPSHOT,
    Role,
)
from tests.helpers.core_net import Member, Network, kinds, leader, only
from tests.helpers.implementations import IMPLEMENTATIONS, module

KIB = 1024
PURE = IMPLEMENTATIONS["pure"]


def tracker(**room: int) -> Any:
    """Of 1, 2, 3, voters, and 4, a learner; interpreted. Slots are 0 to 3."""
    conf_state = PURE.ConfState(voters=(1, 2, 3), learners=(4,))
    settings = {"max_inflight_messages": 3, "max_inflight_bytes": 1 << 20, **room}
    made = module(PURE, "consensus.tracker").Tracker(conf_state, *settings.values())
    for slot in range(4):
        made.reset_progress(slot, 0, 11)
    return made


def shape(tracked: Any, slot: int = 1) -> tuple[int, int, int, bool]:
    """(match, next, state, paused)"""
    peers = tracked.peers
    return peers.match[slot], peers.next[slot], peers.state[slot], bool((peers.paused >> slot) & 1)


# --- membership, in both modes -------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"voters": (1,)},
        {"voters": (3, 1, 2)},
        {"voters": (1, 2), "learners": (9, 4)},
        {
            "voters": (1, 2, 3),
            "voters_outgoing": (3, 4, 5),
            "learners": (6,),
            "learners_next": (4,),
            "auto_leave": True,
        },
        {"voters": (2**63 - 1, 1)},
        {"voters": tuple(range(1, MEMBERS_MAX + 1))},
    ],
)
def test_a_membership_is_told_as_it_was_given(
    impl: ModuleType, mod: Callable[[str], ModuleType], members: dict[str, Any]
) -> None:
    given = impl.ConfState(**members)
    told = mod("consensus.tracker").Tracker(given, 1, 1).conf_state()
    in_order = {name: tuple(sorted(value)) if name != "auto_leave" else value for name, value in members.items()}
    assert told == impl.ConfState(**in_order)


def test_members_named_twice_are_one(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    tracked = mod("consensus.tracker").Tracker(impl.ConfState(voters=(2, 1, 2)), 1, 1)
    assert tracked.conf_state().voters == (1, 2)
    assert tracked.voters == 0b11 and tracked.peers.count == 2


def test_slots_are_in_the_order_of_ids(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    tracked = mod("consensus.tracker").Tracker(impl.ConfState(voters=(30, 10), learners=(20,)), 1, 1)
    assert [tracked.peers.py_slot_of(id) for id in (10, 20, 30, 40)] == [0, 1, 2, -1]
    assert (tracked.voters, tracked.learners) == (0b101, 0b010)


def test_there_is_room_for_sixty_four_members(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    make = mod("consensus.tracker").Tracker
    half = tuple(range(1, 33))
    make(impl.ConfState(voters=half, learners=tuple(range(33, 65))), 1, 1)
    with pytest.raises(ValueError, match=f"at most {MEMBERS_MAX} members, not 65"):
        make(impl.ConfState(voters=half, voters_outgoing=tuple(range(32, 60)), learners=tuple(range(60, 66))), 1, 1)


def test_sixty_four_voters_elect_and_commit(impl: ModuleType) -> None:
    member = Member(impl, 64, range(1, 65))
    member.lead_with(*range(1, 33))
    for id in range(1, 32):
        member.acknowledge(id)
    assert member.committed == 0
    member.acknowledge(63)
    assert member.committed == 1


# --- status, in both modes -----------------------------------------------------------------------


def test_a_leader_tells_the_progress_of_everybody_and_others_of_nobody(impl: ModuleType) -> None:
    member = Member(impl, 1, (1, 2), learners=(3,))
    assert member.node.status()["progress"] == {}
    member.lead_with(2)
    progress = member.node.status()["progress"]
    assert list(progress) == [1, 2, 3]
    assert [p["learner"] for p in progress.values()] == [False, False, True]
    assert [p["recent_active"] for p in progress.values()] == [True, False, False]


def test_status_is_a_copy(impl: ModuleType) -> None:
    member = Member(impl)
    member.lead_with(2)
    member.acknowledge(2)
    member.propose()
    before = member.node.status()
    before["progress"][2]["inflight"].clear()
    assert member.progress(2)["inflight"] != []
    member.acknowledge(2)
    assert before["progress"][2]["match"] == 1 and member.progress(2)["match"] == 2


def test_status_tells_who_and_where(impl: ModuleType) -> None:
    member = Member(impl, terms=[1, 1], hard=(2, 3, 1))
    status = member.node.status()
    del status["progress"]
    assert status == {
        "id": 1,
        "term": 2,
        "vote": 3,
        "in_doubt": False,
        "commit": 1,
        "applied": 0,
        "applying": 0,
        "first": 1,
        "last": 2,
        "stable": 2,
        "uncommitted_bytes": 0,
        "pending_conf_index": 0,
        "snapshot": 0,
        "pending_snapshot": 0,
        "pending_reads": 0,
        "unconfirmed_reads": 0,
        "lead": 0,
        "role": impl.Role.FOLLOWER,
        "transferee": 0,
        "configuration": impl.ConfState(voters=(1, 2, 3)),
    }
    assert isinstance(status["role"], impl.Role) and status["role"] == Role.FOLLOWER


def test_signs_of_life_are_kept_until_the_quorum_is_checked(impl: ModuleType) -> None:
    member = Member(impl, check_quorum=True)
    member.lead_with(2)
    member.step(MSG_HEARTBEAT_RESP, 3)
    assert [p["recent_active"] for p in member.node.status()["progress"].values()] == [True, False, True]
    member.tick(10)
    assert [p["recent_active"] for p in member.node.status()["progress"].values()] == [True, False, False]


def test_an_unreachable_member_is_no_sign_of_life(impl: ModuleType) -> None:
    member = Member(impl)
    member.lead_with(2)
    with pytest.raises(impl.StepLocalMessage):
        member.step(MSG_UNREACHABLE, 3)
    member.node.report_unreachable(3)
    assert not member.progress(3)["recent_active"]


# --- flow control --------------------------------------------------------------------------------


def test_a_new_leader_probes_and_an_answer_starts_the_pipeline(impl: ModuleType) -> None:
    member = leader(impl)
    assert {
        id: (p["match"], p["next"], p["state"], p["paused"]) for id, p in member.node.status()["progress"].items()
    } == {
        1: (1, 2, REPLICATE, False),
        2: (0, 1, PROBE, True),
        3: (0, 1, PROBE, True),
    }
    # One append is under way: no second one.
    assert member.propose() == []
    member.acknowledge(2, 1)
    assert (member.progress(2)["state"], member.progress(2)["next"]) == (REPLICATE, 3)


def test_a_leader_elected_again_starts_without_knowledge(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    member.propose()
    member.step(MSG_HEARTBEAT, 2, term=2)
    member.lead_with(2)
    progress = member.progress(3)
    assert (progress["match"], progress["next"], progress["state"]) == (0, 3, PROBE)
    assert (progress["sent_commit"], progress["recent_active"], progress["inflight"]) == (1, False, [])


def test_the_pipeline_begins_behind_what_was_acknowledged(impl: ModuleType) -> None:
    member = Member(impl, terms=[1] * 9)
    member.lead_with(2)
    # Less than the leader had hoped for.
    (sent, *_) = only(member.acknowledge(3, 5), MSG_APP, 3)
    assert sent.index == 5 and [entry.index for entry in sent.entries] == [6, 7, 8, 9, 10]
    assert (member.progress(3)["match"], member.progress(3)["next"]) == (5, 11)


def test_the_pipeline_sends_without_waiting(impl: ModuleType) -> None:
    member = leader(impl, 2)
    for index in range(2, 7):
        (sent,) = member.propose()
        assert (sent.to, sent.index, [entry.index for entry in sent.entries]) == (2, index - 1, [index])
    assert member.progress(2)["next"] == 7
    assert [index for index, _ in member.progress(2)["inflight"]] == [2, 3, 4, 5, 6]
    member.acknowledge(2, 4)
    assert [index for index, _ in member.progress(2)["inflight"]] == [5, 6]


def test_a_full_window_of_messages_pauses_until_one_is_acknowledged(impl: ModuleType) -> None:
    member = leader(impl, 2, max_inflight_messages=3)
    for _ in range(3):
        assert kinds(member.propose()) == [MSG_APP]
    assert member.progress(2)["paused"]
    assert member.propose() == [] and member.propose() == []
    # Everything that waited leaves in one message.
    sent = only(member.acknowledge(2, 2), MSG_APP, 2)
    assert [entry.index for m in sent for entry in m.entries] == [5, 6]
    assert member.progress(2)["paused"]
    # Acknowledged once, a message cannot free room again.
    assert member.acknowledge(2, 2) == []
    assert len(member.progress(2)["inflight"]) == 3


def test_a_full_window_of_bytes_pauses_until_enough_are_acknowledged(impl: ModuleType) -> None:
    member = leader(impl, 2, max_inflight_bytes=3 * KIB, max_message_bytes=KIB)
    for _ in range(3):
        assert kinds(member.propose(bytes(KIB))) == [MSG_APP]
    assert member.progress(2)["paused"]
    assert member.propose(bytes(KIB)) == []
    # Entries without bytes wait as well.
    assert member.propose(b"") == []
    assert [size for _, size in member.progress(2)["inflight"]] == [KIB] * 3
    sent = only(member.acknowledge(2, 2), MSG_APP, 2)
    assert [entry.index for m in sent for entry in m.entries] == [5]


def test_a_full_window_still_tells_the_commit_index_when_prompted(impl: ModuleType) -> None:
    member = leader(impl, 2, max_inflight_messages=2)
    for _ in range(4):
        member.propose()
    for _ in range(3):
        # Each heartbeat that is answered lets one empty append through: if all appends were lost, its
        # refusal empties the window.
        (probe,) = member.step(MSG_HEARTBEAT_RESP, 2)
        assert (probe.kind, probe.to, probe.index, probe.entries) == (MSG_APP, 2, 3, [])
        assert member.progress(2)["paused"] and len(member.progress(2)["inflight"]) == 2
    (again,) = member.step(MSG_APP_RESP, 2, index=3, hint=1, log_term=1, reject=True)
    assert [entry.index for entry in again.entries] == [2, 3, 4, 5]
    assert member.progress(2)["state"] == PROBE


def test_a_message_takes_entries_up_to_its_limit_and_at_least_one(impl: ModuleType) -> None:
    small = leader(impl, 3, max_message_bytes=300)
    for size in (100, 100, 100, 1000, 0, 0):
        small.propose(bytes(size))
    sent = only(small.acknowledge(2, 1), MSG_APP, 2)
    # Each entry has a header of 32 bytes.
    assert [[len(entry.data) for entry in m.entries] for m in sent if m.entries] == [[100, 100], [100], [1000], [0, 0]]
    single = leader(impl, 3, max_message_bytes=0)
    for _ in range(3):
        single.propose(b"")
    sent = only(single.acknowledge(2, 1), MSG_APP, 2)
    assert [[entry.index for entry in m.entries] for m in sent if m.entries] == [[2], [3], [4]]


def test_a_probe_is_repeated_only_after_a_sign_of_life(impl: ModuleType) -> None:
    member = leader(impl, 3)
    for _ in range(3):
        assert [m.to for m in member.propose()] == [3]
        assert only(member.tick(), MSG_APP, 2) == []
        assert member.progress(2)["paused"]
        (probe,) = member.step(MSG_HEARTBEAT_RESP, 2)
        assert (probe.kind, probe.index, len(probe.entries)) == (MSG_APP, 0, member.log.last)
        assert member.progress(2)["paused"]


def test_a_heartbeat_answer_of_a_member_that_has_everything_is_not_answered(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    assert member.step(MSG_HEARTBEAT_RESP, 2) == []
    member.propose()
    (sent,) = member.step(MSG_HEARTBEAT_RESP, 2)
    assert (sent.kind, sent.to) == (MSG_APP, 2)


def test_an_unreachable_member_is_probed(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    for _ in range(3):
        member.propose()
    member.node.report_unreachable(2)
    progress = member.progress(2)
    assert (progress["state"], progress["match"], progress["next"], progress["inflight"]) == (PROBE, 1, 2, [])
    # The next append starts at what is surely there, and waits for its answer.
    (probe,) = only(member.propose(), MSG_APP, 2)
    assert (probe.index, len(probe.entries)) == (1, 4)
    assert only(member.propose(), MSG_APP, 2) == []
    sent = only(member.acknowledge(2, 5), MSG_APP, 2)
    assert member.progress(2)["state"] == REPLICATE
    assert [entry.index for m in sent for entry in m.entries] == [6]


def test_an_unreachable_member_that_has_everything_comes_back_by_a_heartbeat(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    member.node.report_unreachable(2)
    (probe,) = member.step(MSG_HEARTBEAT_RESP, 2)
    assert (probe.kind, probe.index, probe.entries) == (MSG_APP, 1, [])
    member.acknowledge(2, 1)
    assert member.progress(2)["state"] == REPLICATE


def test_reports_that_concern_nobody_are_ignored(impl: ModuleType) -> None:
    member = leader(impl, 2, 3)
    before = member.node.status()
    member.node.report_unreachable(99)
    assert member.node.status() == before
    follower = Member(impl)
    follower.node.report_unreachable(2)
    assert not follower.node.has_ready()


@pytest.mark.parametrize("lost", [MSG_APP, MSG_APP_RESP])
def test_a_lossy_link_heals_by_heartbeats(impl: ModuleType, lost: int) -> None:
    network = Network(impl, 3, max_inflight_messages=2)
    network.campaign(1)
    network.loses = lambda m: m.kind == lost and 3 in (m.sender, m.to)
    for _ in range(6):
        network.propose(1)
    assert network[1].committed == 7 and network[1].progress(3)["match"] == 1
    network.heal()
    for _ in range(3):
        network.tick(1)
    assert network.agree() and network[3].log.last == 7


# --- transitions ---------------------------------------------------------------------------------


@pytest.mark.once
def test_a_new_leader_knows_nothing_about_a_peer() -> None:
    tracked = tracker()
    assert shape(tracked) == (0, 11, PROBE, False)
    assert not (tracked.peers.recent_active >> 1) & 1 and tracked.inflights.count_of(1) == 0


@pytest.mark.once
def test_probing_pauses_after_entries_but_not_after_an_empty_append() -> None:
    tracked = tracker()
    tracked.sent_entries(1, 0, 0)
    assert not tracked.is_paused(1)
    tracked.sent_entries(1, 4, 100)
    # next stays: it is not known whether they will be taken.
    assert tracked.is_paused(1) and shape(tracked) == (0, 11, PROBE, True)
    assert tracked.inflights.count_of(1) == 0


@pytest.mark.once
def test_replicating_advances_and_pauses_when_the_window_is_full() -> None:
    tracked = tracker()
    tracked.maybe_update(1, 10)
    tracked.become_replicate(1)
    for n in range(3):
        assert not tracked.is_paused(1)
        tracked.sent_entries(1, 2, 10)
        assert tracked.peers.next[1] == 13 + 2 * n
    assert tracked.is_paused(1)
    assert tracked.inflights.contents(1) == [(12, 10), (14, 10), (16, 10)]
    with pytest.raises(PURE.Corruption):
        tracked.sent_entries(1, 1, 1)
    # An empty append leaves the window as it is, and pauses again while it is full.
    tracked = tracker(max_inflight_messages=1)
    tracked.become_replicate(1)
    tracked.sent_entries(1, 1, 1)
    tracked.peers.set_paused(1, False)
    tracked.sent_entries(1, 0, 0)
    assert tracked.is_paused(1) and tracked.inflights.count_of(1) == 1


@pytest.mark.once
def test_a_snapshot_pauses_whatever_the_flag_says() -> None:
    tracked = tracker()
    tracked._reset_state(1, SNAPSHOT)
    assert shape(tracked) == (0, 11, SNAPSHOT, False) and tracked.is_paused(1)


@pytest.mark.once
@pytest.mark.parametrize(("pending", "match", "next"), [(0, 4, 5), (4, 4, 5), (20, 4, 21), (3, 4, 5)])
def test_probing_after_a_snapshot_starts_behind_it(pending: int, match: int, next: int) -> None:
    tracked = tracker()
    tracked.maybe_update(1, match)
    tracked._reset_state(1, SNAPSHOT)
    tracked.peers.pending_snapshot[1] = pending
    tracked.become_probe(1)
    assert shape(tracked) == (match, next, PROBE, False) and tracked.peers.pending_snapshot[1] == 0


@pytest.mark.once
def test_going_back_to_probing_forgets_what_is_under_way() -> None:
    tracked = tracker()
    tracked.maybe_update(1, 10)
    tracked.become_replicate(1)
    for _ in range(3):
        tracked.sent_entries(1, 5, 1)
    tracked.peers.sent_commit[1] = 25
    tracked.become_probe(1)
    assert shape(tracked) == (10, 11, PROBE, False) and tracked.inflights.count_of(1) == 0
    # What it was told with appends that may be lost is not known to it.
    assert tracked.peers.sent_commit[1] == 10


@pytest.mark.once
@pytest.mark.parametrize(
    ("index", "news", "match", "next"),
    [(2, False, 3, 6), (3, False, 3, 6), (4, True, 4, 6), (5, True, 5, 6), (9, True, 9, 10)],
)
def test_an_acknowledgement(index: int, news: bool, match: int, next: int) -> None:
    tracked = tracker()
    tracked.reset_progress(1, 3, 6)
    tracked.peers.set_paused(1, True)
    assert tracked.maybe_update(1, index) is news
    assert shape(tracked) == (match, next, PROBE, not news)


@pytest.mark.once
@pytest.mark.parametrize(
    ("state", "match", "next", "rejected", "hint", "taken", "then"),
    [
        # Pipelined: everything behind match is repeated, and what was acknowledged is not.
        (REPLICATE, 5, 10, 5, 5, False, 10),
        (REPLICATE, 5, 10, 4, 4, False, 10),
        (REPLICATE, 5, 10, 9, 9, True, 6),
        (REPLICATE, 5, 10, 9, 2, True, 6),
        # Probing: only the answer to the last probe counts.
        (PROBE, 0, 10, 8, 8, False, 10),
        (PROBE, 0, 10, 10, 10, False, 10),
        (PROBE, 0, 10, 9, 9, True, 9),
        (PROBE, 0, 10, 9, 2, True, 3),
        (PROBE, 0, 10, 9, 0, True, 1),
        (PROBE, 0, 1, 0, 0, True, 1),
        # Never back behind what was acknowledged.
        (PROBE, 5, 10, 9, 2, True, 6),
    ],
)
def test_a_refusal(state: int, match: int, next: int, rejected: int, hint: int, taken: bool, then: int) -> None:
    tracked = tracker()
    tracked.reset_progress(1, match, next)
    tracked.peers.state[1] = state
    tracked.peers.sent_commit[1] = 9
    assert tracked.maybe_decrease(1, rejected, hint) is taken
    assert tracked.peers.next[1] == then
    assert tracked.peers.match[1] == match
    assert tracked.peers.sent_commit[1] == (min(9, then - 1) if taken else 9)


@pytest.mark.once
def test_a_refusal_lets_the_next_probe_go() -> None:
    tracked = tracker()
    tracked.sent_entries(1, 1, 1)
    assert not tracked.maybe_decrease(1, 3, 3) and tracked.is_paused(1)
    assert tracked.maybe_decrease(1, 10, 3) and not tracked.is_paused(1)


@pytest.mark.once
@pytest.mark.parametrize(
    ("sent", "next", "index", "bump"),
    [(0, 5, 3, True), (3, 5, 3, False), (3, 5, 9, True), (4, 5, 9, False), (0, 1, 9, False)],
)
def test_whether_a_commit_index_is_worth_a_message(sent: int, next: int, index: int, bump: bool) -> None:
    tracked = tracker()
    tracked.reset_progress(1, 0, next)
    tracked.peers.sent_commit[1] = sent
    assert tracked.can_bump_commit(1, index) is bump


@pytest.mark.once
def test_match_stays_below_next_through_any_history() -> None:
    dice = random.Random(3)
    tracked = tracker()
    for _ in range(3000):
        match, next = tracked.peers.match[1], tracked.peers.next[1]
        event = dice.randrange(6)
        if event == 0:
            tracked.become_probe(1)
        elif event == 1:
            tracked.become_replicate(1)
        elif event == 2:
            tracked.maybe_update(1, dice.randrange(next + 3))
        elif event == 3:
            tracked.maybe_decrease(1, dice.choice((match, next - 1, next)), dice.randrange(next + 1))
        elif event == 4 and not tracked.is_paused(1):
            tracked.sent_entries(1, dice.randrange(4), dice.randrange(50))
        else:
            tracked.inflights.free_to(1, match)
        assert match <= tracked.peers.match[1] < tracked.peers.next[1]
        if tracked.peers.state[1] == PROBE:
            assert tracked.inflights.count_of(1) == 0


# --- votes ---------------------------------------------------------------------------------------


@pytest.mark.once
def test_the_first_vote_counts_and_a_reset_forgets_it() -> None:
    tracked = tracker()
    tracked.record_vote(0, True)
    tracked.record_vote(0, False)
    tracked.record_vote(1, False)
    tracked.record_vote(1, True)
    assert (tracked.votes_granted, tracked.votes_refused) == (0b01, 0b10)
    tracked.reset_votes()
    assert (tracked.votes_granted, tracked.votes_refused) == (0, 0)


@pytest.mark.once
def test_activity_of_learners_is_no_quorum() -> None:
    tracked = tracker()
    for active in product((False, True), repeat=4):
        for slot, value in enumerate(active):
            tracked.peers.set_recent_active(slot, value)
        assert tracked.quorum_active() is (sum(active[:3]) >= 2)


@pytest.mark.once
def test_one_voter_is_alone_only_outside_of_a_joint_configuration() -> None:
    make = module(PURE, "consensus.tracker").Tracker
    assert make(PURE.ConfState(voters=(1,), learners=(2,)), 1, 1).is_singleton()
    assert not make(PURE.ConfState(voters=(1, 2)), 1, 1).is_singleton()
    assert not make(PURE.ConfState(voters=(1,), voters_outgoing=(1,)), 1, 1).is_singleton()


@pytest.mark.once
def test_a_member_that_asked_for_a_snapshot_may_have_more_than_it() -> None:
    """What is to be sent next stays behind what the member has."""
    tracked = tracker()
    assert tracked.maybe_update(1, 20)
    tracked.become_snapshot(1, 16)
    assert shape(tracked) == (20, 21, SNAPSHOT, False)
    tracked.snapshot_ended(1, True)
    assert shape(tracked) == (20, 21, PROBE, True)
