"""Membership and learners: counterparts of etcd's and raft-rs's tests of them.

Where the ancestors give a membership change to a member's core, ``apply_conf_change`` does so here; where they propose
one without saying what, it is a real one. Whether a member may campaign shows when it is told to.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    CANDIDATE,
    ENTRY_CONF_CHANGE,
    ENTRY_CONF_CHANGE_V2,
    ENTRY_NORMAL,
    FOLLOWER,
    LEADER,
    MSG_APP_RESP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from tests.helpers.core_drive import Cluster, Full, Slow, change, conf, led
from tests.helpers.core_net import Member, Network, only
from tests.helpers.slow_apply import Late

TICKS = 10


def applies(member: Full, text: str, v1: bool = True) -> Any:
    """The membership after a change that the member's state machine came to."""
    return member.node.apply_conf_change(change(member.impl, text, v1=v1))


def times_out(member: Member) -> None:
    """As many ticks as the member waits for its leader; what it sends stays with it."""
    for _ in range(member.randomized_timeout):
        member.node.tick()
    member.take()


# --- proposed -------------------------------------------------------------------------------------


def test_step_config(impl: ModuleType) -> None:
    """A leader that commits nothing appends a change that is proposed, and knows where it is pending."""
    leader = led(impl, voters=(1, 2))
    index = leader.log.last
    leader.change("v3", v1=True)
    assert leader.log.last == index + 1
    assert [entry.kind for entry in leader.log.entries(index + 1, index + 1)] == [ENTRY_CONF_CHANGE]
    assert leader.pending_conf_index == index + 1
    assert leader.membership == conf(impl, (1, 2))


def test_step_ignore_config(impl: ModuleType) -> None:
    """A second one while the first is pending: an empty entry stands in its place, and its proposer is told.

    With etcd and raft-rs the proposer is not told.
    """
    leader = led(impl, voters=(1, 2))
    assert leader.pending_conf_index <= leader.node.core.applied
    leader.change("v3", v1=True)
    pending = leader.pending_conf_index
    assert pending > leader.node.core.applied
    with pytest.raises(impl.ConfChangeRefused):
        leader.change("v3", v1=True)
    (entry,) = leader.log.entries(3, leader.log.last)
    assert (entry.index, entry.term, entry.kind, entry.data) == (3, 1, ENTRY_NORMAL, b"")
    assert leader.pending_conf_index == pending


@pytest.mark.parametrize(("terms", "pending"), [((), 0), ((1,), 1)])
def test_new_leader_pending_config(impl: ModuleType, terms: Sequence[int], pending: int) -> None:
    """A new leader takes what its log holds for a pending change."""
    leader = led(impl, voters=(1, 2), terms=terms)
    assert leader.pending_conf_index == pending
    assert (pending > leader.node.core.applied) == bool(terms)


# --- applied --------------------------------------------------------------------------------------


def test_add_node(impl: ModuleType) -> None:
    """A voter is added."""
    assert applies(Full(impl, 1, (1,)), "v2") == conf(impl, (1, 2))


def test_add_learner(impl: ModuleType) -> None:
    """A learner is added and promoted; the member itself is demoted, and promoted again."""
    member = Full(impl, 1, (1,))
    assert applies(member, "l2") == conf(impl, (1,), (2,))
    assert applies(member, "v2") == conf(impl, (1, 2))
    assert applies(member, "l1") == conf(impl, (2,), (1,))
    assert member.campaign() == [] and member.role == FOLLOWER
    assert applies(member, "v1") == conf(impl, (1, 2))
    assert {m.to for m in only(member.campaign(), MSG_VOTE)} == {2} and member.role == CANDIDATE


def test_add_node_check_quorum(impl: ModuleType) -> None:
    """A new voter has a whole election timeout until it must have been heard of."""
    leader = led(impl, voters=(1,), election_ticks=TICKS, check_quorum=True)
    leader.tick(TICKS - 1)
    applies(leader, "v2")
    leader.tick()
    assert leader.role == LEADER
    leader.tick(TICKS)
    assert leader.role == FOLLOWER


def test_remove_node(impl: ModuleType) -> None:
    """A voter is removed, but not the last one: that changes nothing. etcd panics there."""
    member = Full(impl, 1, (1, 2))
    assert applies(member, "r2") == conf(impl, (1,))
    with pytest.raises(impl.ConfChangeError, match="must leave a voter"):
        applies(member, "r1")
    assert member.membership == conf(impl, (1,))


def test_remove_learner(impl: ModuleType) -> None:
    """A learner is removed, and then not the last voter."""
    member = Full(impl, 1, (1,), learners=(2,))
    assert applies(member, "r2") == conf(impl, (1,))
    with pytest.raises(impl.ConfChangeError, match="must leave a voter"):
        applies(member, "r1")
    assert member.membership == conf(impl, (1,))


def test_remove_node_itself(impl: ModuleType) -> None:
    """The only voter is not removed, although there is a learner."""
    member = Full(impl, 1, (1,), learners=(2,))
    with pytest.raises(impl.ConfChangeError, match="must leave a voter"):
        applies(member, "r1")
    assert member.membership == conf(impl, (1,), (2,))


@pytest.mark.parametrize("ids", [(1, 2, 3), (3, 2, 1)])
def test_raft_nodes(impl: ModuleType, ids: Sequence[int]) -> None:
    """The members are told in the order of their ids."""
    member = Full(impl, 1, ids)
    assert member.membership.voters == (1, 2, 3)
    assert list(member.tracker.peers.column("ids")) == [1, 2, 3]


@pytest.mark.parametrize(("voters", "promotable"), [((1,), True), ((1, 2, 3), True), ((), False), ((2, 3), False)])
def test_promotable(impl: ModuleType, voters: Sequence[int], promotable: bool) -> None:
    """Who is a voter of its membership may campaign: when it is told to, and after its timeout."""
    for begin in (Member.campaign, times_out):
        member = Member(impl, 1, voters)
        begin(member)
        assert (member.role != FOLLOWER, member.term) == (promotable, int(promotable))


def test_commit_after_remove_node(impl: ModuleType) -> None:
    """When the other one of two members is removed, what waited for it is committed."""
    leader = Slow(impl, 1, (1, 2))
    leader.lead(2)
    leader.node.propose_conf_change(change(impl, "r2", v1=True))
    leader.work()
    leader.written(len(leader.writes))
    index = leader.core.log.last
    assert (leader.core.committed, leader.applies) == (0, [])
    leader.node.propose(b"hello")
    leader.work()
    leader.written(len(leader.writes))
    # The other has the change, and not what came after it.
    leader.step(MSG_APP_RESP, 2, index=index)
    (batch,) = leader.applies
    assert [(e.kind, e.data) for e in batch.entries] == [
        (ENTRY_NORMAL, b""),
        (ENTRY_CONF_CHANGE, change(impl, "r2", v1=True).encode()),
    ]
    leader.done()
    (batch,) = leader.applies
    assert [(e.kind, e.data) for e in batch.entries] == [(ENTRY_NORMAL, b"hello")]


@pytest.mark.parametrize("v1", [True, False])
def test_conf_change_check_before_campaign(impl: ModuleType, v1: bool) -> None:
    """Who has not applied a committed change does not campaign: not after its timeout, nor when it is to lead.

    ConfChangeV2CheckBeforeCampaign is the other one of the two cases.
    """
    network = Network(impl, 3, member=Late, election_ticks=TICKS)
    one, two = network[1], network[2]
    assert isinstance(one, Late) and isinstance(two, Late)
    network.campaign(1)
    network[1].node.propose_conf_change(change(impl, "r3", v1=v1))
    network.deliver()
    kind = ENTRY_CONF_CHANGE if v1 else ENTRY_CONF_CHANGE_V2
    assert (two.committed, two.node.core.applied, two.log.entries(2, 2)[0].kind) == (2, 0, kind)

    times_out(two)
    assert two.role == FOLLOWER
    one.node.transfer_leader(2)
    network.deliver()
    assert len(only(network.sent, MSG_TIMEOUT_NOW, 2)) == 1
    assert network.roles() == "LFF"
    # The attempt ends; then 2 applies the change, and the next attempt succeeds.
    one.tick(TICKS)
    assert one.transferee == 0
    two.apply_all()
    one.node.transfer_leader(2)
    network.deliver()
    assert (one.role, two.role) == (FOLLOWER, LEADER)

    times_out(one)
    assert one.role == FOLLOWER
    one.apply_all()
    times_out(one)
    assert one.role == CANDIDATE


# --- learners -------------------------------------------------------------------------------------


def voter_and_learner(impl: ModuleType) -> Cluster:
    """Of 1, the only voter, and 2, a learner; both are in term 1 and wait 10 ticks."""
    cluster = Cluster(impl, (1,), learners=(2,), election_ticks=TICKS, hards={1: (1, 0, 0), 2: (1, 0, 0)})
    for id in (1, 2):
        cluster[id].node.set_randomized_timeout(TICKS)
    return cluster


def test_learner_election_timeout(impl: ModuleType) -> None:
    """A learner lets its timeout pass; a voter does not."""
    cluster = voter_and_learner(impl)
    assert cluster[2].tick(TICKS) == []
    assert (cluster[2].role, cluster[2].term) == (FOLLOWER, 1)
    cluster[1].tick(TICKS)
    assert (cluster[1].role, cluster[1].term) == (LEADER, 2)


def test_learner_promotion(impl: ModuleType) -> None:
    """A learner that was promoted campaigns after its timeout, and is elected."""
    cluster = voter_and_learner(impl)
    cluster.tick(1, TICKS)
    assert cluster.roles() == "LF"
    cluster.tick(1)
    for id in (1, 2):
        assert cluster[id].node.apply_conf_change(change(impl, "v2", v1=True)) == conf(impl, (1, 2))
    assert cluster.roles() == "LF"
    cluster[2].node.set_randomized_timeout(TICKS)
    cluster.tick(2, TICKS)
    assert cluster.roles() == "FL"


def test_learner_log_replication(impl: ModuleType) -> None:
    """A learner has what the leader has, commits what it commits, and acknowledges it."""
    cluster = voter_and_learner(impl)
    cluster.tick(1, TICKS)
    cluster.tick(1)
    assert cluster.roles() == "LF"
    assert cluster[1].committed == 1
    cluster.propose(1, b"somedata")
    assert (cluster[1].committed, cluster[2].committed) == (2, 2)
    assert [entry.data for entry in cluster[2].applied] == [b"", b"somedata"]
    assert cluster[1].progress(2)["match"] == 2


def test_learner_can_vote(impl: ModuleType) -> None:
    """A learner that is asked gives its vote: it may not have heard yet that it was promoted."""
    learner = Member(impl, 2, (1,), learners=(2,), hard=(1, 0, 0))
    (answer,) = learner.step(MSG_VOTE, 1, term=2, index=11, log_term=11)
    assert (answer.kind, answer.to, answer.reject) == (MSG_VOTE_RESP, 1, False)


def test_learner_respond_vote(impl: ModuleType) -> None:
    """A learner is not asked; one that was promoted is, and its vote counts although it does not know it."""
    cluster = Cluster(impl, (1, 2), learners=(3,), hards=dict.fromkeys((1, 2, 3), (1, 0, 0)))
    cluster.isolate(2)
    cluster.campaign(1)
    assert cluster[1].role == CANDIDATE
    assert [m.to for m in only(cluster.sent, MSG_VOTE)] == [2]
    cluster[1].node.apply_conf_change(change(impl, "v3", v1=True))
    cluster.campaign(1)
    assert cluster[1].role == LEADER
    assert cluster[3].membership == conf(impl, (1, 2), (3,))


def test_learner_campaign(impl: ModuleType) -> None:
    """A learner does not campaign: not when it is told to, nor when a leader that took it for a voter wants it to."""
    cluster = Cluster(impl, (1,))
    cluster.add(2)
    for id in (1, 2):
        cluster[id].node.apply_conf_change(change(impl, "l2", v1=True))
    cluster.campaign(2)
    assert cluster[2].role == FOLLOWER
    cluster.campaign(1)
    assert (cluster[1].role, cluster[1].lead) == (LEADER, 1)
    cluster.queue.append(impl.Message(MSG_TIMEOUT_NOW, to=2, sender=1, term=cluster[1].term))
    cluster.deliver()
    assert cluster.roles() == "LF"
