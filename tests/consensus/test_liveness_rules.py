"""Rules that keep a group alive, or its reads true, where the ancestors leave a hole: each with its case."""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    ENTRY_CONF_CHANGE_V2,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_PRE_VOTE_RESP,
    MSG_SNAP,
    MSG_STORAGE_APPEND,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from tests.helpers.core_drive import Cluster, Full, Slow, change, conf, led
from tests.helpers.core_net import Member, Network, only

# --- priority ------------------------------------------------------------------------------------


def test_a_newer_log_beats_priority_even_when_it_is_shorter(impl: ModuleType) -> None:
    """Otherwise these two could refuse each other for ever: one for its log, the other for its priority."""
    network = Network(impl, 3, logs={1: [1, 1, 2], 2: [1, 1, 1, 1]}, hards={1: (2, 0, 0), 2: (2, 0, 0)})
    network[2].node.set_priority(9)
    network.isolate(3)
    network.campaign(1)
    assert network[1].role == impl.Role.LEADER
    assert network[2].lead == 1


# --- reads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["r1", "l1"])
def test_a_leader_that_is_no_voter_any_more_is_not_alone(impl: ModuleType, text: str) -> None:
    """The one voter that is left may lead already: its leader of before must ask it."""
    leader = led(impl, 2, voters=(1, 2), step_down_on_removal=False)
    leader.node.propose_conf_change(change(impl, text))
    leader.take()
    leader.acknowledge(2)
    assert leader.membership.voters == (2,) and leader.role == impl.Role.LEADER
    leader.node.read_index(b"a")
    (heartbeat,) = only(leader.take(), MSG_HEARTBEAT)
    assert leader.reads_done == [] and heartbeat.to == 2 and heartbeat.context == 1
    leader.step(9, 2, context=1)
    assert [read.context for read in leader.reads_done] == [b"a"]


# --- what votes tell about the commit index --------------------------------------------------------


@pytest.mark.parametrize("on", [False, True])
def test_a_request_and_a_refusal_tell_what_is_committed(impl: ModuleType, on: bool) -> None:
    member = Member(impl, terms=[1, 1, 1], hard=(1, 0, 2), commit_by_vote=on)
    (request, _) = only(member.campaign(), MSG_VOTE)
    assert (request.commit, request.context) == ((2, 1) if on else (0, 0))
    (answer,) = member.step(MSG_VOTE, 3, term=2, index=1, log_term=1)
    assert answer.reject
    assert (answer.commit, answer.context) == ((2, 1) if on else (0, 0))


@pytest.mark.parametrize("kind", [MSG_VOTE, MSG_VOTE_RESP])
@pytest.mark.parametrize(
    ("commit", "term", "on", "learned"),
    [
        (3, 1, True, 3),
        (3, 1, False, 1),  # switched off
        (3, 2, True, 1),  # another entry stands there
        (9, 1, True, 1),  # nothing stands there
        (1, 1, True, 1),
        (0, 0, True, 1),
    ],
)
def test_the_commit_index_is_learned_from_votes(
    impl: ModuleType, kind: int, commit: int, term: int, on: bool, learned: int
) -> None:
    member = Member(impl, terms=[1, 1, 1], hard=(1, 0, 1), commit_by_vote=on)
    if kind == MSG_VOTE_RESP:
        member.campaign()
        member.step(kind, 2, reject=True, commit=commit, context=term)
    else:
        member.step(kind, 2, term=2, index=1, log_term=1, commit=commit, context=term)
    assert member.committed == learned


def test_a_candidate_that_learns_of_a_change_steps_down_and_applies_it(impl: ModuleType) -> None:
    entry = impl.Entry(2, 1, change(impl, "v4").encode(), 2)
    member = Full(impl, terms=[1], hard=(1, 0, 1), commit_by_vote=True)
    member.disk.append(entry)
    member.start()
    member.take()
    member.campaign()
    assert member.role == impl.Role.CANDIDATE
    member.step(MSG_VOTE_RESP, 2, reject=True, commit=2, context=1)
    assert member.role == impl.Role.FOLLOWER
    assert member.membership.voters == (1, 2, 3, 4)


def test_a_leader_learns_nothing_from_votes(impl: ModuleType) -> None:
    leader = Member(impl, commit_by_vote=True)
    leader.lead_with(2)
    leader.propose()
    leader.step(MSG_PRE_VOTE_RESP, 3, reject=True, commit=2, context=leader.term)
    leader.step(MSG_VOTE, 3, commit=2, context=leader.term)
    assert leader.committed == 0 and leader.role == impl.Role.LEADER


@pytest.mark.parametrize("on", [True, False])
def test_members_that_wait_for_each_other_elect_a_leader(impl: ModuleType, on: bool) -> None:
    """Voter 1 still asks those of before, voter 5 needs 1, whose log is longer; only what votes tell helps them on."""
    old, new = conf(impl, (1, 5), outgoing=(1, 2, 3)), conf(impl, (1, 5))
    cluster = Cluster(impl, (1, 2, 3, 5), commit_by_vote=on)
    leave = impl.Entry(2, 1, b"", 2)
    ends = {1: [1, 1, 1], 2: [1, 1, 1, 1], 3: [1, 1, 1, 1], 5: [1, 1]}
    for id, terms in ends.items():
        commit = 1 if id == 1 else 2
        member = cluster.members[id] = Full(impl, id, conf=old, terms=terms, hard=(1, 0, commit), commit_by_vote=on)
        member.disk[1] = leave
        member.start()
        member.take()
        assert member.membership == (old if id == 1 else new)
    for _ in range(4):
        for id in (1, 5):
            cluster.campaign(id)
    led_by = {id: cluster[id].role for id in (1, 5)}
    assert (impl.Role.LEADER in led_by.values()) == on


# --- leaving a joint configuration -----------------------------------------------------------------


def test_a_failed_transfer_does_not_leave_a_group_joint(impl: ModuleType) -> None:
    """Nothing need be proposed: the leader leaves by itself once the transfer that was in the way has failed."""
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    leader = cluster[1]
    cluster.isolate(3)
    leader.node.propose_conf_change(change(impl, "v4 l3", 1))
    cluster.loses = lambda m: m.kind == MSG_TIMEOUT_NOW
    leader.node.transfer_leader(2)
    cluster.deliver()
    assert leader.membership.voters_outgoing == (1, 2, 3) and leader.transferee == 2
    cluster.add(4)
    cluster.heal()
    cluster.tick(1, 10)
    assert leader.transferee == 0
    assert cluster[2].membership.voters_outgoing == () and cluster[2].membership.voters == (1, 2, 4)


# --- removed leaders that stay ---------------------------------------------------------------------


def test_a_removed_leader_that_stays_commits_what_is_left(impl: ModuleType) -> None:
    """What the others acknowledged before the removal took effect: it takes no proposals, so nothing else would."""
    leader = Slow(impl, voters=(1, 2, 3, 4), step_down_on_removal=False)
    leader.node.campaign()
    leader.settle()
    for id in (2, 3):
        leader.step(MSG_VOTE_RESP, id)
    leader.node.propose_conf_change(change(impl, "r1 r4", 2))
    leader.settle()
    for id in (2, 3, 4):
        leader.step(MSG_APP_RESP, id, index=leader.core.log.last)
    leader.settle()
    assert leader.core.tracker.conf_state().voters_outgoing == (1, 2, 3, 4)
    # Its own disk is slow: of the old half only 2 and 3 have the last entry, and 4 the change before it.
    leader.node.propose_conf_change(change(impl, ""))
    leader.work()
    leader.node.propose(b"last")
    leader.work()
    last = leader.core.log.last
    leader.written()
    leader.step(MSG_APP_RESP, 4, index=last - 1)
    for id in (2, 3):
        leader.step(MSG_APP_RESP, id, index=last)
    assert leader.core.committed == last - 1
    leader.done(len(leader.applies))
    assert leader.core.tracker.conf_state() == conf(impl, (2, 3)) and leader.core.role == impl.Role.LEADER
    assert leader.core.committed == last


# --- snapshots that were asked for -----------------------------------------------------------------


def test_who_asks_for_a_snapshot_does_not_hold_up_what_it_must_acknowledge(impl: ModuleType) -> None:
    """Its acknowledgement was lost, and without it nothing is committed: the snapshot must not wait for that."""
    cluster = Cluster(impl, 2)
    cluster.campaign(1)
    cluster.tick(1)
    leader, asks = cluster[1], cluster[2]
    cluster.loses = lambda m: m.kind == MSG_APP_RESP
    cluster.propose(1, b"x")
    cluster.heal()
    assert (leader.committed, asks.log.last) == (1, 2)
    asks.node.request_snapshot()
    cluster.deliver()
    assert leader.node.snapshot_wanted == 1
    leader.snap()
    for _ in range(3):
        cluster.tick(1)
    assert [made.index for made in asks.restored] == [1]
    assert leader.committed == asks.committed == 2
    assert asks.data[-1:] == [b"x"]


def test_entries_behind_a_snapshot_that_was_asked_for_stay(impl: ModuleType) -> None:
    """They were acknowledged: a leader may have committed them by that."""
    member = Full(impl, id=2, terms=[1, 1, 1, 1], hard=(1, 0, 2))
    member.step(MSG_HEARTBEAT, 1, term=1)
    member.node.request_snapshot()
    member.take()
    made = impl.Snapshot(3, 1, conf(impl, (1, 2, 3)), b"made")
    (answer,) = member.step(MSG_SNAP, 1, snapshot=made)
    assert (answer.reject, answer.index) == (False, 4)
    assert member.restored == [made] and member.node.core.log.first == 4
    assert [(entry.index, entry.term) for entry in member.disk] == [(4, 1)]
    # What the disk says meanwhile is about its log of before, which the snapshot will replace.
    slow = impl.RawNode(
        impl.Config(id=2, pre_vote=False, check_quorum=False),
        conf_state=conf(impl, (1, 2, 3)),
        async_storage_writes=True,
    )
    entries = [impl.Entry(index, 1, b"e") for index in (1, 2, 3, 4)]
    slow.step(impl.Message(MSG_APP, to=2, sender=1, term=1, commit=2, entries=entries))
    (write,) = [m for m in slow.ready().messages if m.kind == MSG_STORAGE_APPEND]
    slow.request_snapshot()
    slow.step(impl.Message(MSG_SNAP, to=2, sender=1, term=1, snapshot=made))
    slow.step(write.responses[-1])
    ready = slow.ready()
    assert ready.snapshot == made and [entry.index for entry in ready.entries] == [4]
    # Of another leader's log nothing stays.
    other = Full(impl, id=2, terms=[1, 1, 1, 1], hard=(1, 0, 2))
    other.step(MSG_HEARTBEAT, 1, term=1)
    other.node.request_snapshot()
    other.take()
    other.step(MSG_SNAP, 1, term=2, snapshot=impl.Snapshot(3, 2, conf(impl, (1, 2, 3)), b"made"))
    assert other.disk == [] and other.node.core.log.last == 3


# --- snapshots that overtake -----------------------------------------------------------------------


def test_a_change_that_a_snapshot_has_overtaken_is_not_applied_on_top_of_it(impl: ModuleType) -> None:
    """Handed to the state machine before the snapshot came, applied after it: the snapshot knows better."""
    entry = impl.Entry(1, 1, change(impl, "v4").encode(), ENTRY_CONF_CHANGE_V2)
    later = impl.Entry(9, 1, change(impl, "v5").encode(), ENTRY_CONF_CHANGE_V2)
    node = impl.RawNode(impl.Config(id=2), conf_state=conf(impl, (1, 2, 3)), async_storage_writes=True)
    node.step(impl.Message(MSG_APP, to=2, sender=1, term=1, commit=1, entries=[entry]))
    (write,) = [m for m in node.ready().messages if m.kind == MSG_STORAGE_APPEND]
    node.step(write.responses[-1])
    assert node.ready().committed_entries == [entry]
    made = conf(impl, (1, 2))
    node.step(impl.Message(MSG_SNAP, to=2, sender=1, term=1, snapshot=impl.Snapshot(8, 1, made, b"")))
    assert node.apply_conf_change(entry) == made
    assert node.apply_conf_change(later) == conf(impl, (1, 2, 5))


# --- snapshots that are too old --------------------------------------------------------------------


def test_a_snapshot_from_before_a_member_joined_is_not_what_it_needs(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    for _ in range(4):
        cluster.propose(1)
    leader = cluster[1]
    leader.snap(compact=leader.node.core.applied)
    assert leader.node.snapshot_wanted == 0
    cluster.change(1, "v4")
    joiner = cluster.add(4)
    cluster.tick(1, 3)
    assert only(cluster.sent, MSG_SNAP, 4) and joiner.restored == []
    assert leader.node.snapshot_wanted == leader.node.core.applied
    leader.snap()
    assert leader.node.snapshot_wanted in (0, leader.node.core.applied)
    leader.node.report_snapshot(4, False)
    cluster.tick(1, 3)
    assert joiner.restored and joiner.terms == leader.terms[-len(joiner.terms) :]
    assert leader.node.snapshot_wanted == 0
