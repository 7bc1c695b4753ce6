"""Snapshots: when a leader sends one and what it does meanwhile, and what a member does that receives one."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_SNAP,
    MSG_STORAGE_APPEND,
    MSG_STORAGE_APPEND_RESP,
    PROBE,
    REPLICATE,
    SNAPSHOT,
)
from tests.helpers.core_drive import Cluster, Full, Slow, conf, led
from tests.helpers.core_net import kinds, only


def compacted(impl: ModuleType, entries: int = 9, compact: int = 0, **settings: Any) -> Full:
    """Leader 1 of three with entries up to ``entries`` + 1, a snapshot of all and a log cut at ``compact`` (0: there).

    2 has everything, 3 has never been heard from.
    """
    leader = led(impl, 2, **settings)
    for number in range(entries):
        leader.propose(b"%d" % number)
    leader.acknowledge(2)
    assert leader.applied[-1].index == entries + 1
    leader.snap(compact=compact)
    return leader


def refuse(leader: Full, sender: int = 3, index: int = 0) -> list[Any]:
    """``sender`` has nothing: it refuses the first append to it, which came behind ``index``."""
    return leader.step(MSG_APP_RESP, sender, index=index, reject=True, hint=0)


def waiting(impl: ModuleType, **settings: Any) -> Full:
    """The same leader with a snapshot under way to 3."""
    leader = compacted(impl, **settings)
    assert len(only(refuse(leader), MSG_SNAP, 3)) == 1
    return leader


def snapshot(impl: ModuleType, index: int = 11, term: int = 2, **members: Any) -> Any:
    """A snapshot with the members 1, 2 and 3 unless told otherwise."""
    return impl.Snapshot(index, term, conf(impl, **{"voters": (1, 2, 3), **members}), b"state at %d" % index)


# --- sending -------------------------------------------------------------------------------------


def test_who_needs_compacted_entries_is_sent_the_snapshot(impl: ModuleType) -> None:
    leader = compacted(impl)
    sent = refuse(leader)
    assert kinds(sent) == [MSG_SNAP]
    assert (sent[0].to, sent[0].term, sent[0].snapshot) == (3, leader.term, leader.base)
    seen = leader.progress(3)
    assert (seen["state"], seen["pending_snapshot"], seen["next"], seen["match"]) == (SNAPSHOT, 10, 11, 0)
    assert leader.base.conf_state == conf(impl, (1, 2, 3)) and leader.base.data == b"state"


def test_who_needs_only_what_is_left_is_sent_entries(impl: ModuleType) -> None:
    leader = compacted(impl, compact=4)
    sent = leader.acknowledge(3, 4)
    assert [e.index for m in only(sent, MSG_APP, 3) for e in m.entries] == list(range(5, 11))


def test_nothing_but_heartbeats_is_sent_while_a_snapshot_is_under_way(impl: ModuleType) -> None:
    leader = waiting(impl)
    sent = []
    for number in range(5):
        sent += leader.propose(b"more %d" % number)
        sent += leader.acknowledge(2)
        sent += leader.step(MSG_HEARTBEAT_RESP, 3)
        sent += refuse(leader, index=10)
        sent += leader.tick()
    assert {m.kind for m in sent if m.to == 3} == {MSG_HEARTBEAT}
    assert leader.progress(3)["state"] == SNAPSHOT


def test_who_has_not_been_heard_from_is_sent_no_snapshot(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, check_quorum=True)
    for number in range(4):
        leader.propose(b"%d" % number)
    leader.acknowledge(2)
    leader.node.report_unreachable(3)
    leader.snap()
    assert leader.progress(3)["state"] == PROBE
    # At the check of the quorum everybody has to prove life again.
    leader.tick(leader.election_timeout)
    assert leader.role == LEADER
    assert not leader.progress(3)["recent_active"]
    assert only(leader.propose(), MSG_SNAP) == []
    sent = leader.step(MSG_HEARTBEAT_RESP, 3)
    assert kinds(only(sent, MSG_SNAP, 3)) == [MSG_SNAP]


def test_a_reported_arrival_is_followed_by_a_probe_behind_the_snapshot(impl: ModuleType) -> None:
    leader = waiting(impl)
    leader.propose()
    leader.node.report_snapshot(3, True)
    assert leader.take() == []
    seen = leader.progress(3)
    assert (seen["state"], seen["next"], seen["pending_snapshot"], seen["paused"]) == (PROBE, 11, 0, True)
    # Only a sign of life lets the probe go.
    assert only(leader.propose(), MSG_APP, 3) == []
    (probe,) = only(leader.step(MSG_HEARTBEAT_RESP, 3), MSG_APP, 3)
    assert probe.index == 10
    leader.acknowledge(3)
    assert (leader.progress(3)["state"], leader.progress(3)["match"]) == (REPLICATE, leader.log.last)


def test_a_reported_loss_is_followed_by_another_snapshot(impl: ModuleType) -> None:
    leader = waiting(impl)
    leader.node.report_snapshot(3, False)
    assert leader.take() == []
    seen = leader.progress(3)
    assert (seen["state"], seen["next"], seen["pending_snapshot"], seen["paused"]) == (PROBE, 1, 0, True)
    leader.propose()
    leader.acknowledge(2)
    newer = leader.snap()
    (again,) = only(leader.step(MSG_HEARTBEAT_RESP, 3), MSG_SNAP, 3)
    assert again.snapshot == newer
    assert leader.progress(3)["pending_snapshot"] == newer.index == 11


@pytest.mark.parametrize("ok", [True, False])
def test_a_report_about_nothing_changes_nothing(impl: ModuleType, ok: bool) -> None:
    leader = compacted(impl)
    before = leader.node.status()
    for id in (1, 2, 3, 9):
        leader.node.report_snapshot(id, ok)
    assert leader.take() == []
    assert leader.node.status() == before


def test_a_snapshot_that_cannot_be_delivered_is_lost_when_that_is_reported(impl: ModuleType) -> None:
    leader = waiting(impl)
    leader.node.report_unreachable(3)
    assert leader.take() == []
    assert (leader.progress(3)["state"], leader.progress(3)["pending_snapshot"]) == (SNAPSHOT, 10)


@pytest.mark.parametrize("index", [10, 11])
def test_an_acknowledgement_ends_it_without_a_report(impl: ModuleType, index: int) -> None:
    leader = waiting(impl)
    leader.propose(b"behind")
    sent = leader.acknowledge(3, index)
    seen = leader.progress(3)
    assert (seen["state"], seen["match"], seen["pending_snapshot"]) == (REPLICATE, index, 0)
    assert [e.index for m in only(sent, MSG_APP, 3) for e in m.entries] == list(range(index + 1, 12))


def test_any_acknowledgement_that_reaches_the_log_ends_it(impl: ModuleType) -> None:
    leader = waiting(impl, compact=5)
    # Entries 6 and on are there: at 4 the log does not reach the peer, at 5 it does, before the snapshot at 10.
    assert only(leader.acknowledge(3, 4), MSG_APP) == []
    assert (leader.progress(3)["state"], leader.progress(3)["match"]) == (SNAPSHOT, 4)
    sent = leader.acknowledge(3, 5)
    assert leader.progress(3)["state"] == REPLICATE
    assert [e.index for m in only(sent, MSG_APP, 3) for e in m.entries] == [6, 7, 8, 9, 10]


def test_without_a_snapshot_it_is_told_what_is_wanted(impl: ModuleType) -> None:
    log = impl._core.EntryLog(11, 1)
    log.py_extend([impl.Entry(11, 1, b"a")])
    leader = Full(impl)
    config = impl.Config(id=1, pre_vote=False, check_quorum=False)
    leader.node = impl.RawNode(config, log=log, hard_state=impl.HardState(1, 0, 11), conf_state=conf(impl, (1, 2, 3)))
    leader.lead_with(2)
    leader.acknowledge(2)
    assert leader.node.snapshot_wanted == 0
    assert only(refuse(leader, index=11), MSG_SNAP) == []
    assert leader.node.snapshot_wanted == 10
    made = impl.Snapshot(leader.node.core.applied, 2, conf(impl, (1, 2, 3)), b"made")
    leader.node.set_snapshot(made)
    assert leader.node.snapshot_wanted == 0
    (sent,) = only(leader.step(MSG_HEARTBEAT_RESP, 3), MSG_SNAP, 3)
    assert sent.snapshot == made


# --- receiving -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "members",
    [
        {"voters": (2, 3), "learners": (1,)},
        {"voters": (1, 2, 4), "outgoing": (1, 2, 3), "learners": (5,), "auto_leave": True},
        {"voters": (2, 4), "outgoing": (1, 2, 3), "learners_next": (1, 3)},
        {"voters": (2, 3), "outgoing": (1, 2)},
    ],
)
def test_a_snapshot_replaces_log_and_membership(impl: ModuleType, members: dict[str, Any]) -> None:
    member = Full(impl, terms=[1, 1, 1], hard=(1, 0, 1))
    member.take()
    given = snapshot(impl, **members)
    answer = member.step(MSG_SNAP, 2, term=3, snapshot=given)
    assert kinds(answer) == [MSG_APP_RESP]
    assert (answer[0].to, answer[0].index, answer[0].reject) == (2, 11, False)
    assert member.restored == [given]
    assert (member.log.first, member.log.last, member.log.py_term(11)) == (12, 11, 2)
    assert (member.committed, member.applying, member.node.status()["applied"]) == (11, 11, 11)
    assert member.hard == impl.HardState(3, 0, 11)
    assert member.membership == given.conf_state
    member.append([3], index=11, log_term=2, commit=12)
    assert [entry.index for entry in member.applied] == [1, 12]
    member.node.campaign()
    assert member.role == (FOLLOWER if members.get("learners") == (1,) else CANDIDATE)


@pytest.mark.parametrize("index", [4, 5])
def test_an_old_snapshot_is_answered_with_what_is_committed(impl: ModuleType, index: int) -> None:
    member = Full(impl, terms=[1] * 7, hard=(1, 0, 5))
    member.take()
    # Whatever its term: what is committed here is what it holds.
    answer = member.step(MSG_SNAP, 2, term=2, snapshot=snapshot(impl, index, 1, voters=(1, 2)))
    assert [(m.kind, m.index, m.reject) for m in answer] == [(MSG_APP_RESP, 5, False)]
    assert (member.restored, member.terms, member.committed) == ([], [1] * 7, 5)
    assert member.membership == conf(impl, (1, 2, 3))


def test_a_snapshot_that_the_log_holds_only_commits(impl: ModuleType) -> None:
    member = Full(impl, terms=[1] * 7, hard=(1, 0, 2))
    answer = member.step(MSG_SNAP, 2, term=2, snapshot=snapshot(impl, 6, 1, voters=(1, 2)))
    assert [(m.kind, m.index, m.reject) for m in answer] == [(MSG_APP_RESP, 6, False)]
    assert (member.restored, member.terms, member.committed) == ([], [1] * 7, 6)
    assert [entry.index for entry in member.applied] == [1, 2, 3, 4, 5, 6]
    assert member.membership == conf(impl, (1, 2, 3))


def test_a_snapshot_replaces_a_log_of_another_term(impl: ModuleType) -> None:
    member = Full(impl, terms=[1] * 20, hard=(1, 0, 2))
    member.step(MSG_SNAP, 2, term=3, snapshot=snapshot(impl, 6, 2))
    assert (member.log.first, member.log.last, member.committed) == (7, 6, 6)


def test_a_snapshot_of_which_one_is_no_member_is_not_taken(impl: ModuleType) -> None:
    member = Full(impl, terms=[1], hard=(1, 0, 1))
    answer = member.step(MSG_SNAP, 2, term=2, snapshot=snapshot(impl, voters=(2, 3)))
    assert [(m.kind, m.index) for m in answer] == [(MSG_APP_RESP, 1)]
    assert (member.restored, member.terms, member.committed) == ([], [1], 1)
    assert member.membership == conf(impl, (1, 2, 3))


@pytest.mark.parametrize("pre_vote", [False, True])
def test_a_candidate_takes_the_snapshot_of_the_leader_of_its_term(impl: ModuleType, pre_vote: bool) -> None:
    member = Full(impl, pre_vote=pre_vote)
    member.campaign()
    member.step(MSG_SNAP, 2, snapshot=snapshot(impl, 5, 0 if pre_vote else 1))
    assert (member.role, member.lead, member.committed) == (FOLLOWER, 2, 5)


def test_a_damaged_snapshot_is_refused_and_nothing_is_taken(impl: ModuleType, errors: ModuleType) -> None:
    member = Full(impl, terms=[1], hard=(1, 0, 1))
    for body in (impl.Entry(11, 2, b"not a membership", 3), impl.Entry(11, 2, b"", 0)):
        with pytest.raises(errors.FrameError):
            member.step(MSG_SNAP, 2, term=2, entries=[body])
        member.take()
        assert (member.terms, member.committed, member.membership) == ([1], 1, conf(impl, (1, 2, 3)))
    member.step(MSG_SNAP, 2, term=2, snapshot=snapshot(impl))
    assert member.committed == 11


def test_who_got_a_snapshot_can_pass_it_on(impl: ModuleType) -> None:
    member = Full(impl)
    given = snapshot(impl)
    member.step(MSG_SNAP, 2, term=3, snapshot=given)
    member.lead_with(2)
    member.acknowledge(2)
    (sent,) = only(refuse(member, index=11), MSG_SNAP, 3)
    assert sent.snapshot == given


def test_a_member_restarts_from_its_snapshot(impl: ModuleType) -> None:
    member = Full(impl)
    given = snapshot(impl, learners=(4,))
    member.step(MSG_SNAP, 2, term=3, snapshot=given)
    member.append([3, 3], index=11, log_term=2, commit=12)
    member.start()
    assert (member.committed, member.node.status()["applied"], member.log.first, member.log.last) == (12, 11, 12, 13)
    assert (member.membership, member.node.status()["snapshot"]) == (given.conf_state, 11)
    member.take()
    assert [entry.index for entry in member.applied] == [12]


# --- until it is durable -------------------------------------------------------------------------


def test_between_ready_and_advance_nothing_is_applied_and_nobody_campaigns(impl: ModuleType) -> None:
    member = Full(impl)
    member.node.step(impl.Message(MSG_SNAP, sender=2, term=3, snapshot=snapshot(impl)))
    for _ in range(2):
        member.node.campaign()
        assert (member.role, member.term) == (FOLLOWER, 3)
        if not member.node.has_ready():
            break
        ready = member.node.ready()
        assert ready.snapshot == snapshot(impl)
        assert ready.hard_state == impl.HardState(3, 0, 11)
        assert (ready.committed_entries, ready.entries) == ([], [])
    assert member.node.status()["applied"] == 0
    assert member.node.status()["pending_snapshot"] == 11
    member.node.advance()
    assert member.node.status()["applied"] == 11
    assert member.node.status()["pending_snapshot"] == 0
    assert not member.node.has_ready()
    member.node.campaign()
    assert member.role == CANDIDATE


def test_with_asynchronous_writes_nothing_is_applied_before_its_snapshot_is_durable(impl: ModuleType) -> None:
    member = Slow(impl)
    given = snapshot(impl)
    assert member.step(MSG_SNAP, 2, term=3, snapshot=given) == []
    (write,) = member.writes
    assert (write.kind, write.snapshot, write.term, write.commit) == (MSG_STORAGE_APPEND, given, 3, 11)
    assert [(m.kind, m.to) for m in write.responses] == [(MSG_APP_RESP, 2), (MSG_STORAGE_APPEND_RESP, 1)]
    assert write.responses[1].snapshot == given
    member.append([3, 3], index=11, log_term=2, commit=13)
    assert [entry.index for entry in member.writes[1].entries] == [12, 13]
    assert member.writes[1].snapshot is None
    # The entries behind it are written out of turn: still nothing may be applied, nor may it campaign.
    second = member.writes.pop(1)
    for response in second.responses:
        if response.to == 1:
            member.node.step(response)
    member.work()
    member.node.campaign()
    assert (member.core.role, member.applies, member.core.applied) == (FOLLOWER, [], 0)
    assert [(m.kind, m.index) for m in member.written()] == [(MSG_APP_RESP, 11)]
    assert member.core.applied == 11
    assert [entry.index for m in member.applies for entry in m.entries] == [12, 13]


def test_a_snapshot_is_handed_to_the_disk_once(impl: ModuleType) -> None:
    member = Slow(impl)
    member.step(MSG_SNAP, 2, term=3, snapshot=snapshot(impl))
    member.append([3], index=11, log_term=2)
    member.step(MSG_HEARTBEAT, 2, commit=12)
    assert [m.snapshot is not None for m in member.writes] == [True, False, False]


def test_a_snapshot_counts_also_when_its_write_ends_in_a_later_term(impl: ModuleType) -> None:
    member = Slow(impl)
    member.step(MSG_SNAP, 2, term=3, snapshot=snapshot(impl))
    member.step(MSG_HEARTBEAT, 3, term=4)
    member.written()
    assert (member.core.term, member.core.applied, member.core.pending_snapshot) == (4, 11, 0)
    member.node.campaign()
    assert member.core.role == CANDIDATE


def test_entries_written_with_a_snapshot_do_not_count_in_a_later_term(impl: ModuleType) -> None:
    member = Slow(impl)
    member.node.step(impl.Message(MSG_SNAP, sender=2, term=3, snapshot=snapshot(impl)))
    member.append([3, 3], index=11, log_term=2)
    (write,) = member.writes
    response = write.responses[-1]
    assert (response.kind, response.index, response.log_term, response.snapshot.index) == (
        MSG_STORAGE_APPEND_RESP, 13, 3, 11,
    )  # fmt: skip
    member.append([4, 4], index=11, log_term=2, sender=3, term=4)
    member.written()
    assert (member.core.applied, member.core.stable) == (11, 11)
    member.written()
    assert member.core.stable == 13


def test_a_newer_snapshot_replaces_one_that_is_being_written(impl: ModuleType) -> None:
    member = Slow(impl)
    member.step(MSG_SNAP, 2, term=3, snapshot=snapshot(impl, 11))
    member.step(MSG_SNAP, 2, term=3, snapshot=snapshot(impl, 21, voters=(1, 2)))
    assert [m.snapshot.index for m in member.writes] == [11, 21]
    member.written()
    # The state machine has the first; entries and campaigns wait for the second.
    assert (member.core.applied, member.core.pending_snapshot) == (11, 21)
    member.node.campaign()
    assert member.core.role == FOLLOWER
    member.written()
    assert (member.core.applied, member.core.pending_snapshot) == (21, 0)
    assert member.node.status()["configuration"] == conf(impl, (1, 2))


def test_late_answers_of_the_state_machine_do_not_set_it_back(impl: ModuleType) -> None:
    member = Slow(impl)
    member.append([1, 1], term=1, commit=2)
    member.written(len(member.writes))
    assert len(member.applies) == 1
    member.step(MSG_SNAP, 2, term=3, snapshot=snapshot(impl))
    member.written(len(member.writes))
    assert member.core.applied == 11
    member.done()
    assert member.core.applied == 11


# --- bounds --------------------------------------------------------------------------------------


def test_a_snapshot_to_be_sent_is_of_what_is_applied_and_no_older_one(impl: ModuleType) -> None:
    leader = compacted(impl)
    leader.propose()
    for index in (9, 11, 10**6):
        with pytest.raises(impl.UsageError, match=rf"^snapshot\.index must be in 10\.\.10 .*, not {index}$"):
            leader.node.set_snapshot(snapshot(impl, index, 1))
    assert leader.node.status()["snapshot"] == 10
    # The same index again is another encoding of the same state.
    leader.node.set_snapshot(snapshot(impl, 10, 1))
    leader.acknowledge(2)
    leader.node.set_snapshot(snapshot(impl, 11, 1))
    assert leader.node.status()["snapshot"] == 11


def test_the_log_is_cut_where_a_snapshot_stands_for_it(impl: ModuleType) -> None:
    leader = led(impl, 2)
    for _ in range(5):
        leader.propose()
    leader.acknowledge(2)
    leader.propose()
    with pytest.raises(impl.UsageError, match=r"^index must be in 0\.\.0 \(applied, durable and in the snapshot\)"):
        leader.node.compact(1)
    leader.node.set_snapshot(snapshot(impl, 4, 1))
    for index in (-1, 5, 7):
        with pytest.raises(impl.UsageError, match=rf"^index must be in 0\.\.4 .*, not {index}$"):
            leader.node.compact(index)
    assert leader.log.first == 1
    for index, first in ((0, 1), (2, 3), (1, 3), (4, 5), (4, 5)):
        leader.node.compact(index)
        assert leader.log.first == first
    assert leader.log.last == 7


def test_what_is_not_durable_is_not_cut(impl: ModuleType) -> None:
    leader = Slow(impl)
    leader.lead(2)
    leader.work()
    for id in (2, 3):
        leader.step(MSG_APP_RESP, id, index=1)
    assert leader.core.committed == 1
    with pytest.raises(impl.UsageError, match=r"must be in 0\.\.0 "):
        leader.node.set_snapshot(snapshot(impl, 1, 1))
    with pytest.raises(impl.UsageError):
        leader.node.compact(1)
    leader.settle()
    leader.node.set_snapshot(snapshot(impl, 1, 1))
    leader.node.compact(1)
    assert leader.core.log.first == 2


# --- nobody stays stuck --------------------------------------------------------------------------


def test_a_member_that_lost_everything_is_brought_back(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    cluster.isolate(3)
    for number in range(5):
        cluster.propose(1, b"%d" % number)
    cluster.change(1, "l4")
    cluster[1].snap(data=b"all of it")
    cluster.propose(1, b"behind")
    cluster.heal()
    cluster.tick(1, 2)
    assert (cluster[3].committed, cluster[3].log.last) == (cluster[1].committed, cluster[1].log.last)
    assert [given.data for given in cluster[3].restored] == [b"all of it"]
    assert cluster[3].membership == conf(impl, (1, 2, 3), (4,))
    assert cluster[3].data == [b"behind"]
    assert cluster[1].progress(3)["state"] == REPLICATE


@pytest.mark.parametrize("seed", range(6))
def test_every_member_catches_up_whatever_is_lost(impl: ModuleType, seed: int) -> None:
    rng = random.Random(seed)
    cluster = Cluster(impl, 3, learners=(4,))
    cluster.campaign(1)
    leader = cluster[1]
    chance = 0.5
    fates: list[tuple[int, bool]] = []

    def loses(m: Any) -> bool:
        lost = rng.random() < chance
        if m.kind == MSG_SNAP:
            # A transport tells what became of a snapshot as far as it knows: what arrived may seem lost to it,
            # and the other way round.
            fates.append((m.to, lost if rng.random() < 0.2 else not lost))
        return lost

    def go_on() -> None:
        cluster.tick(1)
        while fates:
            leader.node.report_snapshot(*fates.pop())

    cluster.loses = loses
    snapshots = 0
    for number in range(60):
        cluster.propose(1, b"%d" % number)
        go_on()
        if rng.random() < 0.3 and leader.node.status()["applied"] > leader.node.status()["snapshot"]:
            leader.snap()
            snapshots += 1
    assert leader.role == LEADER
    assert snapshots > 3
    assert sum(len(member.restored) for member in cluster.members.values()) > 0
    chance = 0.0
    for _ in range(5):
        go_on()
    assert {(member.committed, member.log.last) for member in cluster.members.values()} == {(61, 61)}
    assert [leader.progress(id)["state"] for id in (2, 3, 4)] == [REPLICATE] * 3
