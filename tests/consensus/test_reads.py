"""Linearizable reads: which index they get, what confirms them, and what becomes of those that nobody confirms."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    FOLLOWER,
    LEADER,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_READ_INDEX,
    MSG_READ_INDEX_RESP,
    MSG_VOTE_RESP,
)
from tests.helpers.core_drive import Cluster, Full, Slow, conf, led
from tests.helpers.core_net import kinds, only


def read_at(leader: Full, sender: int, context: bytes, hint: int = 0) -> list[Any]:
    """A read that another member asks for, or passes on for ``hint``."""
    return leader.step(MSG_READ_INDEX, sender, term=0, hint=hint, entries=[leader.impl.Entry(0, 0, context)])


def answers(member: Full) -> list[tuple[int, bytes]]:
    """The reads that were answered here."""
    return [(state.index, state.context) for state in member.reads_done]


# --- a round of heartbeats -----------------------------------------------------------------------


def test_a_quorum_confirms_a_read(impl: ModuleType) -> None:
    leader = led(impl, 2)
    sent = leader.read(b"a")
    assert kinds(sent) == [MSG_HEARTBEAT] * 2
    assert {m.to for m in sent} == {2, 3}
    (position,) = {m.context for m in sent}
    assert position != 0
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 3, context=position)
    assert answers(leader) == [(1, b"a")]
    leader.step(MSG_HEARTBEAT_RESP, 2, context=position)
    assert answers(leader) == [(1, b"a")]
    assert leader.node.status()["unconfirmed_reads"] == 0


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
def test_it_takes_a_majority(impl: ModuleType, count: int) -> None:
    leader = led(impl, *range(2, count + 1), voters=range(1, count + 1))
    leader.read(b"a")
    for id in range(2, count // 2 + 1):
        for _ in range(2):
            leader.step(MSG_HEARTBEAT_RESP, id, context=1)
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, count, context=1)
    assert answers(leader) == [(1, b"a")]


def test_learners_confirm_nothing(impl: ModuleType) -> None:
    leader = led(impl, 2, learners=(4, 5))
    leader.read(b"a")
    for id in (4, 5):
        leader.step(MSG_HEARTBEAT_RESP, id, context=1)
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert answers(leader) == [(1, b"a")]


def test_both_halves_of_a_joint_configuration_confirm(impl: ModuleType) -> None:
    leader = led(impl, 2, 4, conf=conf(impl, (1, 4, 5), outgoing=(1, 2, 3)))
    leader.read(b"a")
    for id in (4, 5):
        leader.step(MSG_HEARTBEAT_RESP, id, context=1)
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 3, context=1)
    assert answers(leader) == [(1, b"a")]


def test_a_leader_that_is_no_voter_does_not_confirm_itself(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, step_down_on_removal=False)
    leader.change("r1")
    leader.acknowledge(2)
    assert leader.membership == conf(impl, (2, 3))
    leader.read(b"a")
    leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 3, context=1)
    assert answers(leader) == [(2, b"a")]


def test_a_read_gets_the_index_that_was_committed_when_it_came(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.read(b"a")
    leader.propose()
    leader.acknowledge(2)
    assert leader.committed == 2
    leader.read(b"b")
    leader.step(MSG_HEARTBEAT_RESP, 2, context=2)
    assert answers(leader) == [(1, b"a"), (2, b"b")]


def test_a_thousand_reads_take_one_round(impl: ModuleType) -> None:
    leader = led(impl, 2)
    for number in range(1000):
        leader.node.read_index(b"%d" % number)
    sent = leader.take()
    assert leader.node.status()["unconfirmed_reads"] == 1000
    newest = max(m.context for m in sent)
    assert leader.step(MSG_HEARTBEAT_RESP, 2, context=newest) == []
    assert answers(leader) == [(1, b"%d" % number) for number in range(1000)]
    assert leader.node.status()["unconfirmed_reads"] == 0


def test_a_late_answer_confirms_only_the_reads_before_it(impl: ModuleType) -> None:
    leader = led(impl, 2)
    first = {m.context for m in leader.read(b"a")}
    second = {m.context for m in leader.read(b"b")}
    third = {m.context for m in leader.read(b"c")}
    assert len(first | second | third) == 3
    leader.step(MSG_HEARTBEAT_RESP, 2, context=max(second))
    assert answers(leader) == [(1, b"a"), (1, b"b")]
    # An answer to the first heartbeat arrives after all: it says nothing about the third.
    leader.step(MSG_HEARTBEAT_RESP, 2, context=max(first))
    leader.step(MSG_HEARTBEAT_RESP, 3, context=max(first))
    leader.step(MSG_HEARTBEAT_RESP, 3, context=0)
    assert len(answers(leader)) == 2
    leader.step(MSG_HEARTBEAT_RESP, 3, context=max(third))
    assert answers(leader)[2:] == [(1, b"c")]


def test_members_that_confirm_different_reads_agree_on_the_older(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, voters=(1, 2, 3, 4, 5))
    for context in (b"a", b"b", b"c"):
        leader.read(context)
    leader.step(MSG_HEARTBEAT_RESP, 2, context=3)
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 3, context=1)
    assert answers(leader) == [(1, b"a")]
    leader.step(MSG_HEARTBEAT_RESP, 4, context=2)
    assert answers(leader) == [(1, b"a"), (1, b"b")]


def test_an_answer_to_a_heartbeat_that_was_never_sent_confirms_nothing(impl: ModuleType) -> None:
    leader = led(impl, 2, 3, voters=(1, 2, 3, 4, 5))
    leader.step(MSG_HEARTBEAT_RESP, 2, context=5)
    leader.read(b"a")
    leader.step(MSG_HEARTBEAT_RESP, 3, context=1)
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert answers(leader) == [(1, b"a")]


def test_contexts_may_repeat(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.read(b"a")
    leader.read(b"a")
    read_at(leader, 2, b"a")
    sent = leader.step(MSG_HEARTBEAT_RESP, 2, context=3)
    assert answers(leader) == [(1, b"a"), (1, b"a")]
    assert [(m.kind, m.to, m.index, m.entries[0].data) for m in sent] == [(MSG_READ_INDEX_RESP, 2, 1, b"a")]


def test_a_lost_round_is_made_up_by_the_next_heartbeat(impl: ModuleType) -> None:
    leader = led(impl, 2)
    (asked,) = {m.context for m in leader.read(b"a")}
    beat = only(leader.tick(), MSG_HEARTBEAT)
    assert {m.context for m in beat} == {asked}
    leader.step(MSG_HEARTBEAT_RESP, 2, context=asked)
    assert answers(leader) == [(1, b"a")]
    # Afterwards heartbeats are heartbeats again.
    assert {m.context for m in leader.tick()} == {0}


def test_a_follower_returns_what_the_heartbeat_carried(impl: ModuleType) -> None:
    member = Full(impl)
    (answer,) = member.step(MSG_HEARTBEAT, 2, term=1, context=77)
    assert (answer.kind, answer.context) == (MSG_HEARTBEAT_RESP, 77)


# --- before the first commit of the term ---------------------------------------------------------


def test_reads_wait_until_the_leader_knows_what_is_committed(impl: ModuleType) -> None:
    leader = led(impl, terms=[1, 1, 1], hard=(1, 0, 1))
    assert leader.read(b"a") == []
    assert read_at(leader, 3, b"b") == []
    assert leader.node.status()["pending_reads"] == 2
    assert {m.context for m in leader.tick()} == {0}
    leader.step(MSG_HEARTBEAT_RESP, 2)
    # An entry of an earlier term is no commit of this one.
    leader.acknowledge(2, 3)
    assert (leader.committed, answers(leader)) == (1, [])
    sent = leader.acknowledge(2, 4)
    assert leader.committed == 4
    newest = max(m.context for m in only(sent, MSG_HEARTBEAT))
    assert (leader.node.status()["pending_reads"], answers(leader)) == (0, [])
    sent = leader.step(MSG_HEARTBEAT_RESP, 2, context=newest)
    assert answers(leader) == [(4, b"a")]
    assert [(m.to, m.index, m.entries[0].data) for m in only(sent, MSG_READ_INDEX_RESP)] == [(3, 4, b"b")]


def test_waiting_reads_under_a_lease_are_answered_by_the_first_commit(impl: ModuleType) -> None:
    leader = led(impl, check_quorum=True, lease_reads=True)
    assert leader.read(b"a") == []
    assert answers(leader) == []
    leader.acknowledge(2)
    assert answers(leader) == [(1, b"a")]


# --- elsewhere -----------------------------------------------------------------------------------


def test_a_follower_passes_a_read_on_and_gets_the_answer(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3, learners=(4,))
    cluster.campaign(1)
    cluster.propose(1)
    for id in (2, 4):
        cluster[id].node.read_index(b"from %d" % id)
        cluster.deliver()
        assert answers(cluster[id]) == [(2, b"from %d" % id)]
    assert answers(cluster[1]) == answers(cluster[3]) == []


def test_a_read_that_is_passed_on_twice_is_answered_where_it_was_asked(impl: ModuleType) -> None:
    member = Full(impl, id=2)
    member.step(MSG_HEARTBEAT, 1, term=1)
    (passed,) = read_at(member, 3, b"x", hint=3)
    assert (passed.kind, passed.to, passed.hint, passed.entries[0].data) == (MSG_READ_INDEX, 1, 3, b"x")
    (own,) = member.read(b"y")
    assert (own.to, own.hint, own.entries[0].data) == (1, 2, b"y")
    leader = led(impl, 2)
    # The frame says who passed it on, the message who asked.
    assert kinds(read_at(leader, 2, b"x", hint=3)) == [MSG_HEARTBEAT] * 2
    sent = leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert [(m.kind, m.to, m.index, m.entries[0].data) for m in sent] == [(MSG_READ_INDEX_RESP, 3, 1, b"x")]


def test_an_answer_becomes_a_read_state_where_it_arrives(impl: ModuleType) -> None:
    member = Full(impl, id=2, terms=[1, 1], hard=(1, 0, 1))
    member.step(MSG_HEARTBEAT, 1, term=1)
    member.step(MSG_READ_INDEX_RESP, 1, index=7, entries=[impl.Entry(0, 0, b"x")])
    assert answers(member) == [(7, b"x")]
    # It says where to read, not what is committed here.
    assert member.committed == 1


@pytest.mark.parametrize("contexts", [(), (b"a", b"b")])
def test_what_is_no_read_is_ignored(impl: ModuleType, contexts: tuple[bytes, ...]) -> None:
    entries = [impl.Entry(0, 0, context) for context in contexts]
    leader = led(impl, 2)
    assert leader.step(MSG_READ_INDEX, 2, term=0, entries=entries) == []
    member = Full(impl, id=2)
    member.step(MSG_HEARTBEAT, 1, term=1)
    assert member.step(MSG_READ_INDEX_RESP, 1, index=7, entries=entries) == []
    assert answers(leader) == answers(member) == []


# --- one voter -----------------------------------------------------------------------------------


def test_one_voter_answers_at_once(impl: ModuleType) -> None:
    leader = led(impl, voters=(1,), learners=(2,))
    assert leader.read(b"a") == []
    assert answers(leader) == [(1, b"a")]
    sent = read_at(leader, 2, b"b")
    assert [(m.kind, m.to, m.index, m.entries[0].data) for m in sent] == [(MSG_READ_INDEX_RESP, 2, 1, b"b")]


def test_one_voter_in_a_joint_configuration_is_not_alone(impl: ModuleType) -> None:
    leader = led(impl, 2, conf=conf(impl, (1,), outgoing=(1, 2)))
    leader.read(b"a")
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert answers(leader) == [(1, b"a")]


# --- without a leader ----------------------------------------------------------------------------


def test_without_a_leader_a_read_is_dropped(impl: ModuleType) -> None:
    for pre_vote in (False, True):
        member = Full(impl, pre_vote=pre_vote)
        for _ in range(2):
            with pytest.raises(impl.ReadDropped):
                member.node.read_index(b"a")
            assert not only(member.take(), MSG_READ_INDEX)
            member.campaign()
        # What another member passes on goes nowhere.
        assert read_at(member, 2, b"b") == []
    assert issubclass(impl.ReadDropped, impl.NotDone)


def test_a_deposed_leader_answers_nothing_that_was_not_confirmed(impl: ModuleType) -> None:
    leader = led(impl, 2)
    leader.read(b"a")
    read_at(leader, 3, b"b")
    leader.step(MSG_HEARTBEAT, 2, term=leader.term + 1)
    assert (leader.role, leader.node.status()["unconfirmed_reads"]) == (FOLLOWER, 0)
    leader.lead_with(2)
    leader.acknowledge(2)
    # Positions begin anew: a late answer of the earlier leadership has an earlier term.
    leader.step(MSG_HEARTBEAT_RESP, 2, term=leader.term - 2, context=2)
    leader.read(b"c")
    leader.step(MSG_HEARTBEAT_RESP, 2, term=leader.term - 2, context=1)
    assert answers(leader) == []
    sent = leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert [context for _, context in answers(leader)] == [b"c"]
    assert only(sent, MSG_READ_INDEX_RESP) == []


def test_a_leader_that_was_cut_off_cannot_answer(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3)
    cluster.campaign(1)
    cluster.isolate(1)
    cluster.campaign(2)
    cluster.propose(2, b"new")
    cluster[1].node.read_index(b"old")
    cluster.tick(1, 20)
    assert (cluster[1].role, answers(cluster[1])) == (LEADER, [])
    cluster.heal()
    cluster.tick(2, 2)
    cluster.tick(1, 2)
    assert (cluster[1].role, answers(cluster[1])) == (FOLLOWER, [])
    cluster[1].node.read_index(b"again")
    cluster.deliver()
    assert answers(cluster[1]) == [(cluster[2].committed, b"again")]
    assert cluster[1].data == [b"new"]


def test_answers_come_in_the_order_of_the_reads_with_any_mixture(impl: ModuleType) -> None:
    leader = led(impl, 2)
    expected_here, expected_there = [], []
    for number in range(30):
        context = b"%d" % number
        if number % 3:
            leader.node.read_index(context)
            expected_here.append(context)
        else:
            message = impl.Message(MSG_READ_INDEX, sender=3, hint=3, entries=[impl.Entry(0, 0, context)])
            leader.node.step(message)
            expected_there.append(context)
    leader.take()
    sent = leader.step(MSG_HEARTBEAT_RESP, 2, context=30)
    assert [context for _, context in answers(leader)] == expected_here
    assert [m.entries[0].data for m in only(sent, MSG_READ_INDEX_RESP, 3)] == expected_there


def test_reads_do_not_wait_for_the_disk(impl: ModuleType) -> None:
    leader = Slow(impl)
    leader.lead(2)
    leader.settle()
    leader.step(MSG_APP_RESP, 2, index=1)
    leader.settle()
    leader.node.propose(b"x")
    leader.node.read_index(b"a")
    sent = leader.work()
    assert len(only(sent, MSG_HEARTBEAT)) == 2
    assert leader.writes
    leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    states = [(s.index, s.context) for ready in leader.readys for s in ready.read_states]
    assert states == [(1, b"a")]


# --- the lease -----------------------------------------------------------------------------------


def leased(impl: ModuleType) -> Full:
    return led(impl, 2, 3, check_quorum=True, lease_reads=True)


def test_under_a_lease_a_read_is_answered_at_once(impl: ModuleType) -> None:
    leader = leased(impl)
    assert leader.read(b"a") == []
    assert answers(leader) == [(1, b"a")]
    sent = read_at(leader, 3, b"b")
    assert [(m.kind, m.to, m.index, m.entries[0].data) for m in sent] == [(MSG_READ_INDEX_RESP, 3, 1, b"b")]


def test_the_lease_ends_with_a_transfer_for_the_rest_of_the_term(impl: ModuleType) -> None:
    leader = leased(impl)
    leader.propose()
    leader.node.transfer_leader(3)
    leader.take()
    sent = leader.read(b"a")
    assert kinds(sent) == [MSG_HEARTBEAT] * 2
    assert answers(leader) == []
    leader.step(MSG_HEARTBEAT_RESP, 2, context=1)
    assert answers(leader) == [(1, b"a")]
    # The attempt is over, but what it sent may still arrive.
    for _ in range(leader.election_timeout):
        leader.tick()
        leader.acknowledge(2)
    assert (leader.role, leader.transferee) == (LEADER, 0)
    leader.read(b"b")
    assert len(answers(leader)) == 1
    leader.step(MSG_HEARTBEAT_RESP, 2, context=2)
    assert answers(leader)[1:] == [(leader.committed, b"b")]
    leader.step(MSG_HEARTBEAT, 2, term=leader.term + 1)
    leader.node.forget_leader()
    leader.tick(leader.election_timeout * 2)
    leader.step(MSG_VOTE_RESP, 2)
    leader.acknowledge(2)
    assert leader.role == LEADER
    assert leader.read(b"c") == []
    assert answers(leader)[2:] == [(leader.committed, b"c")]


def test_a_transfer_that_is_not_begun_does_not_end_the_lease(impl: ModuleType) -> None:
    leader = leased(impl)
    for id in (1, 9):
        leader.node.transfer_leader(id)
        leader.take()
    assert leader.read(b"a") == []
    assert answers(leader) == [(1, b"a")]


def test_a_leader_without_a_quorum_has_no_lease(impl: ModuleType) -> None:
    leader = leased(impl)
    leader.tick(leader.election_timeout * 2)
    assert leader.role == FOLLOWER
    with pytest.raises(impl.ReadDropped):
        leader.node.read_index(b"a")


def test_within_the_lease_nobody_else_is_elected(impl: ModuleType) -> None:
    cluster = Cluster(impl, 3, check_quorum=True, lease_reads=True)
    cluster.campaign(1)
    cluster.tick(1)
    for id in (2, 3):
        with pytest.raises(impl.UsageError):
            cluster[id].node.set_check_quorum(False)
        # Under a lease the leader counts on it that nobody helps another candidate, told to forget or not.
        cluster[id].node.forget_leader()
        assert cluster[id].lead == 1
    cluster.campaign(2)
    assert cluster[2].role != LEADER
    assert cluster[1].role == LEADER
