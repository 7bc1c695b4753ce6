"""Handing leadership over: counterparts of etcd's and raft-rs's tests of it.

Scenarios are the ancestors': three members, of which 1 leads at first. Where they give a member the message of another,
the wish is uttered here by the member that is asked.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    FOLLOWER,
    LEADER,
    MSG_APP_RESP,
    MSG_PROP,
    MSG_SNAP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from tests.helpers.core_drive import Cluster, change
from tests.helpers.core_net import FullMember, Member, Network, kinds, only

TICKS = 10


def led_by_1(impl: ModuleType, **settings: Any) -> Network:
    """Three members; 1 leads them."""
    network = Network(impl, 3, election_ticks=TICKS, **settings)
    network.campaign(1)
    assert network.roles() == "LFF"
    return network


def hand_over(network: Network, target: int, asked: int = 1) -> None:
    """A member is asked that ``target`` may lead."""
    network[asked].node.transfer_leader(target)
    network.deliver()


def pending(impl: ModuleType) -> Network:
    """1 tries to hand over to 3, which does not hear of it."""
    network = led_by_1(impl)
    network.isolate(3)
    hand_over(network, 3)
    assert (network[1].role, network[1].transferee) == (LEADER, 3)
    return network


def came_to(network: Network, role: int, lead: int) -> None:
    """What member 1 is in the end, whom it follows, and that it hands over to nobody."""
    assert (network[1].role, network[1].lead, network[1].transferee) == (role, lead, 0)
    if role == FOLLOWER:
        assert network[lead].role == LEADER


# --- to a member that can take over ---------------------------------------------------------------


def test_leader_transfer_to_uptodate_node(impl: ModuleType) -> None:
    """Who has everything leads at once; and back, after an entry more.

    TestLeaderTransferToUpToDateNode of etcd.
    """
    network = led_by_1(impl)
    hand_over(network, 2)
    came_to(network, FOLLOWER, 2)
    network.propose(1)
    hand_over(network, 1, asked=2)
    came_to(network, LEADER, 1)


def test_leader_transfer_to_uptodate_node_from_follower(impl: ModuleType) -> None:
    """The same when each time the one that is to lead utters the wish: followers pass it on.

    TestLeaderTransferToUpToDateNodeFromFollower of etcd.
    """
    network = led_by_1(impl)
    hand_over(network, 2, asked=2)
    came_to(network, FOLLOWER, 2)
    network.propose(1)
    hand_over(network, 1, asked=1)
    came_to(network, LEADER, 1)


def test_leader_transfer_with_check_quorum(impl: ModuleType) -> None:
    """The lease of the leader that goes does not hinder the one that comes, as it does one that only campaigns."""
    network = Network(impl, 3, election_ticks=TICKS, check_quorum=True)
    for id in (1, 2, 3):
        network[id].node.set_randomized_timeout(TICKS + id)
    assert network[2].tick(TICKS) == []
    network.campaign(1)
    hand_over(network, 2)
    came_to(network, FOLLOWER, 2)
    network.propose(1)
    hand_over(network, 1, asked=2)
    came_to(network, LEADER, 1)
    network.campaign(2)
    assert (network.roles(), network[1].term) == ("LCF", 3)


@pytest.mark.parametrize("missing", [1, 4])
def test_leader_transfer_to_slow_follower(impl: ModuleType, missing: int) -> None:
    """Who lacks entries is sent them, and then leads: not when it has acknowledged but some of them.

    There is one entry in a message. The ancestors' follower lacks one.
    """
    network = led_by_1(impl, max_message_bytes=1)
    network.isolate(3)
    for _ in range(missing):
        network.propose(1)
    network.heal()
    assert network[1].progress(3)["match"] == 1
    network.sent.clear()
    hand_over(network, 3)
    told = kinds(network.sent).index(MSG_TIMEOUT_NOW)
    acknowledged = [m.index for m in only(network.sent[:told], MSG_APP_RESP, 1) if m.sender == 3 and not m.reject]
    assert acknowledged == list(range(2, 2 + missing))
    assert len(only(network.sent, MSG_TIMEOUT_NOW)) == 1
    came_to(network, FOLLOWER, 3)
    assert network.agree()


def test_leader_transfer_after_snapshot(impl: ModuleType) -> None:
    """Who needs a snapshot leads when it has told that it has it, and not before."""
    network = Network(impl, 3, election_ticks=TICKS, member=FullMember)
    network.campaign(1)
    network.isolate(3)
    network.propose(1, b"x")
    lead = network[1]
    assert isinstance(lead, FullMember)
    lead.save()
    network.heal()
    assert (lead.progress(3)["match"], lead.log.first) == (1, 3)

    kept: list[Any] = []

    def is_acknowledgement(message: Any) -> bool:
        if message.kind != MSG_APP_RESP or message.sender != 3 or message.reject:
            return False
        kept.append(message)
        return True

    network.loses = is_acknowledgement
    hand_over(network, 3)
    assert (lead.role, lead.transferee) == (LEADER, 3)
    assert [(m.to, m.snapshot.index) for m in only(network.sent, MSG_SNAP)] == [(3, 2)]
    assert only(network.sent, MSG_TIMEOUT_NOW) == []
    assert (network[3].data, network[3].committed) == ([b"x"], 2)
    network.heal()
    network.queue += kept
    network.deliver()
    came_to(network, FOLLOWER, 3)


# --- to a member that cannot lead -----------------------------------------------------------------


def test_leader_transfer_to_self(impl: ModuleType) -> None:
    """A leader that is to lead leads."""
    network = led_by_1(impl)
    network.sent.clear()
    hand_over(network, 1)
    came_to(network, LEADER, 1)
    assert network.sent == []


def test_leader_transfer_to_non_existing_node(impl: ModuleType) -> None:
    """A stranger is not made leader."""
    network = led_by_1(impl)
    network.sent.clear()
    hand_over(network, 4)
    came_to(network, LEADER, 1)
    assert network.sent == []


def test_leader_transfer_to_learner(impl: ModuleType) -> None:
    """A learner is not made leader, whoever asks for it."""
    network = Network(impl, 1, learners=(2,))
    network.campaign(1)
    for asked in (1, 2):
        hand_over(network, 2, asked)
        came_to(network, LEADER, 1)
    assert (network.roles(), only(network.sent, MSG_TIMEOUT_NOW)) == ("LF", [])


@pytest.mark.parametrize("helpers", [(), (2, 3)])
def test_transfer_non_member(impl: ModuleType, helpers: tuple[int, ...]) -> None:
    """Who is no member any more does not obey the order to lead, and does not lead by votes that come all the same."""
    removed = Member(impl, 1, (2, 3, 4))
    assert removed.step(MSG_TIMEOUT_NOW, 2) == []
    for helper in helpers:
        assert removed.step(MSG_VOTE_RESP, helper) == []
    assert (removed.role, removed.term) == (FOLLOWER, 0)


# --- while it is under way ------------------------------------------------------------------------


def test_leader_transfer_timeout(impl: ModuleType) -> None:
    """An attempt outlasts a heartbeat and ends after an election timeout; then 1 leads on."""
    network = pending(impl)
    beat = network[1].heartbeat_timeout
    network[1].tick(beat)
    assert network[1].transferee == 3
    network[1].tick(TICKS - beat - 1)
    assert network[1].transferee == 3
    network[1].tick()
    came_to(network, LEADER, 1)
    assert network[1].propose() != []


def test_leader_transfer_ignore_proposal(impl: ModuleType) -> None:
    """Meanwhile no proposal is taken, not even one that a follower passes on."""
    network = pending(impl)
    for _ in range(2):
        with pytest.raises(impl.ProposalDropped, match="being transferred"):
            network[1].propose()
    network[2].node.propose(b"y")
    (passed,) = network[2].take()
    assert (passed.kind, passed.to) == (MSG_PROP, 1)
    with pytest.raises(impl.ProposalDropped, match="being transferred"):
        network[1].receive(passed)
    assert (network[1].progress(1)["match"], network[1].terms) == (1, [1])


def test_leader_transfer_receive_higher_term_vote(impl: ModuleType) -> None:
    """A candidate of a later term ends the attempt, and is elected."""
    network = pending(impl)
    network.campaign(2)
    assert [m.term for m in only(network.sent, MSG_VOTE, 1)] == [2]
    came_to(network, FOLLOWER, 2)


@pytest.mark.parametrize("v1", [True, False])
def test_leader_transfer_remove_node(impl: ModuleType, v1: bool) -> None:
    """The attempt ends when its target is removed."""
    cluster = Cluster(impl, 3, election_ticks=TICKS)
    cluster.campaign(1)
    cluster.loses = lambda message: message.kind == MSG_TIMEOUT_NOW
    hand_over(cluster, 3)
    assert cluster[1].transferee == 3
    cluster[1].node.apply_conf_change(change(impl, "r3", v1=v1))
    came_to(cluster, LEADER, 1)


def test_leader_transfer_demote_node(impl: ModuleType) -> None:
    """It ends when its target is demoted: when the joint configuration is left, in which 3 may still lead."""
    cluster = Cluster(impl, 3, election_ticks=TICKS)
    cluster.campaign(1)
    cluster.loses = lambda message: message.kind == MSG_TIMEOUT_NOW
    hand_over(cluster, 3)
    assert cluster[1].transferee == 3
    joint = cluster[1].node.apply_conf_change(change(impl, "r3 l3"))
    assert (joint.voters, joint.voters_outgoing, joint.learners_next) == ((1, 2), (1, 2, 3), (3,))
    assert cluster[1].transferee == 3
    after = cluster[1].node.apply_conf_change(change(impl, ""))
    assert (after.voters, after.voters_outgoing, after.learners) == ((1, 2), (), (3,))
    came_to(cluster, LEADER, 1)


def test_leader_transfer_back(impl: ModuleType) -> None:
    """The leader takes it back: it is to lead itself."""
    network = pending(impl)
    hand_over(network, 1)
    came_to(network, LEADER, 1)
    network.propose(1, b"again")
    assert network[2].data == [b"again"]


def test_leader_transfer_second_transfer_to_another_node(impl: ModuleType) -> None:
    """Another target takes the place of the first."""
    network = pending(impl)
    hand_over(network, 2)
    came_to(network, FOLLOWER, 2)


def test_leader_transfer_second_transfer_to_same_node(impl: ModuleType) -> None:
    """The same target again does not prolong the attempt."""
    network = pending(impl)
    beat = network[1].heartbeat_timeout
    network[1].tick(beat)
    hand_over(network, 3)
    assert MSG_TIMEOUT_NOW not in kinds(network[1].tick(TICKS - beat - 1))
    assert network[1].transferee == 3
    network[1].tick()
    came_to(network, LEADER, 1)
