"""Quorum check, lease and disruption: counterparts of etcd's and raft-rs's tests of them, and of pre-vote among them.

Scenarios and numbers are the ancestors'. A timeout that would begin a campaign by chance is pinned, and a campaign is
one that a member was told to begin, which the lease does not stop.
"""

from __future__ import annotations

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
    MSG_PRE_VOTE,
    MSG_VOTE,
    PRE_CANDIDATE,
)
from tests.helpers.core_net import Member, Network, kinds, only

TICKS = 10


def group(impl: ModuleType, term: int = 0, **settings: Any) -> Network:
    """Three members with an election timeout of 10 ticks, which begin in that term."""
    hards = dict.fromkeys((1, 2, 3), (term, 0, 0))
    return Network(impl, hards=hards, election_ticks=TICKS, **settings)


def pass_time(network: Network, id: int) -> None:
    """An election timeout passes for a follower, whose own timeout is longer."""
    network[id].node.set_randomized_timeout(TICKS + 1)
    network.tick(id, TICKS)
    assert network[id].role == FOLLOWER


def arrives(network: Network, kind: int, sender: int, to: int) -> None:
    """A message that was on its way for long arrives: it is of the sender's present term."""
    message = network.impl.Message(kind, to=to, sender=sender, term=network[sender].term)
    network.queue.append(message)
    network.deliver()


def terms(network: Network) -> list[int]:
    return [member.term for member in network.members.values()]


# --- stepping down --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "last"), [(FOLLOWER, 0), (PRE_CANDIDATE, 0), (CANDIDATE, 0), (LEADER, 1)], ids=lambda value: str(value)
)
def test_all_server_stepdown(impl: ModuleType, role: int, last: int) -> None:
    """Whatever it is, a message of a higher term makes a follower; only a leader's tells who leads."""
    member = Member(impl, hard=(1 if role == FOLLOWER else 0, 0, 0), pre_vote=role == PRE_CANDIDATE)
    if role == LEADER:
        member.lead_with(2)
    elif role != FOLLOWER:
        member.campaign()
    assert member.role == role
    for kind, lead in ((MSG_VOTE, 0), (MSG_APP, 2)):
        member.step(kind, 2, term=3, log_term=3)
        assert (member.role, member.term, member.lead) == (FOLLOWER, 3, lead)
        assert (member.log.last, len(member.terms)) == (last, last)


def test_leader_stepdown_when_quorum_active(impl: ModuleType) -> None:
    """A leader that hears from a majority stays."""
    member = Member(impl, election_ticks=5, check_quorum=True)
    member.lead_with(2)
    for _ in range(6):
        member.step(MSG_HEARTBEAT_RESP, 2)
        member.tick()
    assert member.role == LEADER
    # What it has heard is not good for ever.
    member.tick(2 * 5)
    assert member.role == FOLLOWER


def test_leader_stepdown_when_quorum_lost(impl: ModuleType) -> None:
    """A leader that hears from nobody steps down after an election timeout, in its term."""
    member = Member(impl, election_ticks=5, check_quorum=True)
    member.lead_with(2)
    member.tick(4)
    assert member.role == LEADER
    member.tick(2)
    assert (member.role, member.term, member.lead) == (FOLLOWER, 1, 0)


def test_switching_check_quorum(impl: ModuleType) -> None:
    """The check can be switched while a member runs."""
    member = Member(impl, election_ticks=5)
    member.node.set_check_quorum(True)
    member.lead_with(2)
    member.tick(6)
    assert member.role != LEADER
    member.node.set_check_quorum(False)
    member.lead_with(2)
    member.tick(6)
    assert member.role == LEADER


# --- the lease ------------------------------------------------------------------------------------


def test_leader_superseding_with_check_quorum(impl: ModuleType) -> None:
    """Nobody is elected while a majority has heard from the leader; an election timeout later somebody is."""
    network = group(impl, check_quorum=True)
    pass_time(network, 2)
    network.campaign(1)
    assert network.roles() == "LFF"
    network.campaign(3)
    # Neither the leader nor member 2 answers.
    assert network.roles() == "LFC"
    pass_time(network, 2)
    network.campaign(3)
    assert network[3].role == LEADER


def test_leader_election_with_check_quorum(impl: ModuleType) -> None:
    """A new group votes at once, whatever the time; the next election needs a lease that is over."""
    network = group(impl, check_quorum=True)
    network.campaign(1)
    assert network.roles() == "LFF"
    network.tick(1, TICKS)
    pass_time(network, 2)
    network.campaign(3)
    assert network.roles() == "FFL"


def test_free_stuck_candidate_with_check_quorum(impl: ModuleType) -> None:
    """A candidate of a higher term stops a leader that has its lease still: nothing else could bring it back."""
    network = group(impl, check_quorum=True)
    pass_time(network, 2)
    network.campaign(1)
    network.isolate(1)
    for ahead in (1, 2):
        network.campaign(3)
        assert network.roles() == "LFC"
        assert network[3].term == network[2].term + ahead
    network.heal()
    arrives(network, MSG_HEARTBEAT, 1, 3)
    assert network[1].role == FOLLOWER
    assert network[1].term == network[3].term
    network.campaign(3)
    assert network[3].role == LEADER


def test_non_promotable_voter_with_check_quorum(impl: ModuleType) -> None:
    """A member that is not in its own membership never campaigns, but it votes and follows."""
    network = Network(impl, 2, election_ticks=TICKS, check_quorum=True)
    network.members[2] = Member(impl, 2, (1,), election_ticks=TICKS, check_quorum=True)
    network.campaign(2)
    network.tick(2, 2 * TICKS)
    assert (network.roles(), terms(network)) == ("FF", [0, 0])
    network.campaign(1)
    assert network.roles() == "LF"
    assert network[2].lead == 1


# --- disruption -----------------------------------------------------------------------------------


def test_disruptive_follower(impl: ModuleType) -> None:
    """A follower that heard too late of its leader campaigns, and its answer to the late heartbeat stops the leader."""
    network = group(impl, 1, check_quorum=True)
    network.campaign(1)
    assert network.roles() == "LFF"
    network[3].node.set_randomized_timeout(TICKS + 2)
    assert network[3].tick(TICKS + 1) == []
    # Its requests stay on their way for all of this test.
    assert kinds(network[3].tick()) == [MSG_VOTE, MSG_VOTE]
    assert (network.roles(), terms(network)) == ("LFC", [2, 2, 3])
    arrives(network, MSG_HEARTBEAT, 1, 3)
    assert (network.roles(), terms(network)) == ("FFC", [3, 2, 3])


def test_disruptive_follower_pre_vote(impl: ModuleType) -> None:
    """With pre-vote it does not: neither while it asks nor when the heartbeat arrives."""
    network = group(impl, 1, check_quorum=True, pre_vote=True)
    network.campaign(1)
    assert network.roles() == "LFF"
    network.isolate(3)
    for _ in range(3):
        network.propose(1, b"somedata")
    network.heal()
    network.campaign(3)
    assert (network.roles(), terms(network)) == ("LFP", [2, 2, 2])
    arrives(network, MSG_HEARTBEAT, 1, 3)
    assert network[1].role == LEADER


# --- pre-vote -------------------------------------------------------------------------------------


def test_prevote_with_split_vote(impl: ModuleType) -> None:
    """Two that were promised each other's vote both campaign; the first to try again is elected."""
    network = group(impl, 1, pre_vote=True)
    network.campaign(1)
    network.isolate(1)
    for id in (2, 3):
        network[id].node.campaign()
    network.deliver()
    assert (network.roles()[1:], terms(network)[1:]) == ("CC", [3, 3])
    network.campaign(2)
    assert (network.roles()[1:], terms(network)[1:]) == ("LF", [4, 4])


def test_prevote_with_check_quorum(impl: ModuleType) -> None:
    """A pre-candidate has given up its leader and with it the lease: it answers another one."""
    network = group(impl, 1, pre_vote=True, check_quorum=True)
    network.campaign(1)
    network.isolate(1)
    assert network.roles() == "LFF"
    # Member 2 has heard from the leader and does not answer.
    network.campaign(3)
    assert network.roles() == "LFP"
    network.campaign(2)
    assert network.roles() == "LLF"
    assert terms(network) == [2, 3, 3]


def test_prevote_with_check_quorum_after_transfers(impl: ModuleType) -> None:
    """prevote_with_check_quorum of raft-rs: one that was cut off meanwhile, in an older term, answers too."""
    network = group(impl, 1, pre_vote=True, check_quorum=True)
    network.campaign(1)
    network.isolate(3)
    network.campaign(3)
    assert network.roles() == "LFP"
    for leader, heir in ((1, 2), (2, 1)):
        network[leader].node.transfer_leader(heir)
        network.deliver()
    assert (network.roles(), terms(network)) == ("LFP", [4, 4, 2])
    network.heal()
    network.isolate(1)
    # It asks once more, of the term that it knows; what it says does not arrive.
    asked = network[3].tick(network[3].randomized_timeout)
    assert [(m.kind, m.term) for m in asked] == [(MSG_PRE_VOTE, 3)] * 2
    network.campaign(2)
    assert (network.roles()[1:], terms(network)[1:]) == ("LF", [5, 5])


def mixed(impl: ModuleType) -> Network:
    """A group that is being moved to pre-vote: member 3, which had none, was cut off and has just got it.

    Members 1, the leader, and 2 are in term 2; 3 campaigned twice, is in term 4, and its log is behind. Its settings
    change with a restart here, so it begins as a follower.
    """
    network = group(impl, 1, pre_vote=True)
    network[3].settings["pre_vote"] = False
    network[3].start()
    network.campaign(1)
    network.isolate(3)
    network.propose(1, b"some data")
    network.campaign(3)
    network.campaign(3)
    assert (network.roles(), terms(network)) == ("LFC", [2, 2, 4])
    network[3].settings["pre_vote"] = True
    network[3].start()
    network.heal()
    return network


def test_prevote_migration_can_complete_election(impl: ModuleType) -> None:
    """Without its leader such a group elects another one: the member in the higher term tells the other its term."""
    network = mixed(impl)
    network.isolate(1)
    network.campaign(3)
    network.campaign(2)
    assert (network.roles()[1:], terms(network)[1:]) == ("FP", [4, 4])
    network.campaign(3)
    network.campaign(2)
    assert (network.roles()[1:], terms(network)[1:]) == ("LF", [5, 5])


def test_prevote_migration_with_free_stuck_pre_candidate(impl: ModuleType) -> None:
    """A pre-candidate of a higher term is not heard, but its answer to the leader's heartbeat frees it."""
    network = mixed(impl)
    for _ in range(2):
        network.campaign(3)
        assert network.roles() == "LFP"
    arrives(network, MSG_HEARTBEAT, 1, 3)
    answers = only(network.sent, MSG_APP_RESP, 1)
    assert (answers[-1].sender, answers[-1].term) == (3, 4)
    assert network[1].role == FOLLOWER
    assert network[1].term == network[3].term == 4
