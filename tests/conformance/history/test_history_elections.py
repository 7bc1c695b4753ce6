"""Regression tests for what went wrong in other Raft implementations, 23 to 33: elections, pre-vote, check-quorum,
transfers of leadership, priorities. See HISTORY.md."""

from __future__ import annotations

from types import ModuleType

import pytest

from raftx.types import (
    CANDIDATE,
    FLAG_TRANSFER,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_TIMEOUT_NOW,
    MSG_VOTE,
    MSG_VOTE_RESP,
    PRE_CANDIDATE,
    TRANSITION_EXPLICIT,
)
from tests.helpers.core_net import FullMember, Member, Network, kinds, leader, only

FAR = 10_000  # ticks


def patient(network: Network, *ids: int) -> None:
    """These members do not campaign by themselves."""
    for id in ids:
        network[id].node.set_randomized_timeout(FAR)


# --- pre-vote and check-quorum ---------------------------------------------------------------------


def test_a_member_of_a_lower_term_is_elected_under_pre_vote(impl: ModuleType) -> None:
    """History 23: pre-votes of a member whose term was lower were ignored, so that it never learned the term."""
    # 3 has the longest log and the lowest term; without 1 only it can lead.
    logs = {1: [1, 1], 2: [1], 3: [1, 1]}
    network = Network(impl, 3, pre_vote=True, logs=logs, hards={1: (5, 1, 1), 2: (5, 1, 1), 3: (1, 1, 1)})
    network.isolate(1)
    network.campaign(3)
    assert (network[3].role, network[3].term) == (FOLLOWER, 5)
    network.campaign(3)
    assert network[3].role == LEADER and network[3].term == 6 and network[2].terms == [1, 1, 6]


def migration(impl: ModuleType) -> Network:
    """1 leads; 3 was cut off without pre-vote and has a higher term; then all of them were switched to it."""
    network = Network(impl, 3)
    network.campaign(1)
    network.isolate(3)
    network.propose(1, b"more")
    for _ in range(4):
        network[3].campaign()
    assert (network[3].role, network[3].term) == (CANDIDATE, 5)
    for member in network.members.values():
        member.settings["pre_vote"] = True
        member.start()
    network.campaign(1)
    assert (network[1].role, network[1].term) == (LEADER, 2)
    network.heal()
    return network


def test_switching_to_pre_vote_does_not_end_elections(impl: ModuleType) -> None:
    """History 24: a higher term with a shorter log and a lower term with a longer one refused each other for ever."""
    network = migration(impl)
    network.isolate(1)
    network.campaign(3)
    assert network.roles()[1:] == "FP"
    network.campaign(2)
    # The refusal has told 2 the term.
    assert network[2].role == FOLLOWER and network[2].term == 5
    network.campaign(3)
    network.campaign(2)
    assert network.roles()[1:] == "LF" and network[3].data == [b"more"]


def test_a_candidate_left_from_before_pre_vote_is_freed(impl: ModuleType) -> None:
    """History 24: ... and a leader of a lower term went on with a member that it could not reach."""
    network = migration(impl)
    patient(network, 2)
    network.campaign(3)
    network.campaign(3)
    assert network.roles() == "LFP" and network[3].term == 5
    # Only the leader's own messages can show it the higher term: they are answered.
    network.tick(1)
    assert network[1].role == FOLLOWER and network[1].term == 5
    network.campaign(1)
    assert network.roles() == "LFF" and network.agree() and network[3].data == [b"more"]


def test_who_asks_for_pre_votes_gives_up_its_leader(impl: ModuleType) -> None:
    """History 25: under check-quorum two members asked for pre-votes and both clung to a leader that was gone."""
    network = Network(impl, 3, pre_vote=True, check_quorum=True)
    network.campaign(1)
    network.isolate(1)
    for id in (2, 3):
        patient(network, id)
    # Neither has waited for an election timeout: only their own campaigns free them.
    network.campaign(2)
    assert network[2].role == PRE_CANDIDATE and network[2].lead == 0
    network.campaign(3)
    assert network.roles()[1:] == "FL" or network.roles()[1:] == "LF"
    assert network[2].term == network[3].term == 2


def test_votes_are_counted_anew_in_each_phase(impl: ModuleType) -> None:
    """History 25: votes that a pre-vote had collected counted in the election, and in the next pre-vote."""
    member = Member(impl, 1, (1, 2, 3, 4, 5), pre_vote=True)
    member.campaign()
    member.step(MSG_PRE_VOTE_RESP, 2, term=1)
    # Asked again: the answer of 2 was about the first time.
    member.campaign()
    member.step(MSG_PRE_VOTE_RESP, 3, term=1)
    assert member.role == PRE_CANDIDATE
    member.step(MSG_PRE_VOTE_RESP, 4, term=1)
    assert member.role == CANDIDATE
    member.step(MSG_VOTE_RESP, 5)
    assert member.role == CANDIDATE
    member.step(MSG_VOTE_RESP, 2)
    assert member.role == LEADER


def test_a_candidate_that_nobody_may_answer_is_freed_by_the_leader(impl: ModuleType) -> None:
    """History 26: a member that came back with a higher term stayed a candidate: within the lease nobody answered."""
    network = Network(impl, 3, check_quorum=True)
    network.campaign(1)
    network.isolate(3)
    network[3].campaign()
    network.heal()
    network.campaign(3)
    assert network.roles() == "LFC"
    (answer,) = network[3].step(MSG_HEARTBEAT, 1, term=1)
    assert answer.term == 3
    network[1].receive(answer)
    assert (network[1].role, network[1].term) == (FOLLOWER, 3)
    patient(network, 2, 3)
    network.tick(2, 20)
    network.campaign(1)
    assert network.roles() == "LFF" and network.agree()


@pytest.mark.parametrize("check_quorum", [False, True])
def test_pre_votes_in_a_joint_configuration_end_with_a_leader(impl: ModuleType, check_quorum: bool) -> None:
    """History 27: during a joint change a long log of a low term and a short log of a high term blocked each other."""
    # Both halves need 1 and 2: 3 and 4 are gone.
    network = Network(
        impl,
        (1, 2, 3),
        outgoing=(1, 2, 4),
        pre_vote=True,
        check_quorum=check_quorum,
        logs={1: [1, 1, 2, 2], 2: [1, 1]},
        hards={1: (2, 1, 2), 2: (9, 2, 2)},
    )
    for round in range(6):
        network.campaign(1 + round % 2)
        if LEADER in (network[1].role, network[2].role):
            break
    # The log of 2 is too short; the term of 1 was too low, once.
    assert (network[1].role, network[1].term) == (LEADER, 10)
    assert network[2].terms == [1, 1, 2, 2, 10] and network[1].committed == 5


# --- who votes, and who may campaign -----------------------------------------------------------------


def test_a_learner_that_does_not_know_of_its_promotion_gives_the_vote_that_is_needed(impl: ModuleType) -> None:
    """History 28: a learner refused to vote although it had been made a voter, and nobody could be elected."""
    network = Network(impl, 2, learners=(3,), member=FullMember)
    network.campaign(1)
    network.isolate(3)
    network.change(1, "v3")
    assert network[2].node.core.tracker.conf_state().voters == (1, 2, 3)
    assert network[3].node.core.tracker.conf_state().learners == (3,)
    # The leader is gone: of three voters, 2 has the log and 3 the vote.
    network.heal()
    network.isolate(1)
    network.campaign(2)
    assert network[2].role == LEADER
    assert network[3].node.core.tracker.conf_state().voters == (1, 2, 3)


@pytest.mark.parametrize("v1", [True, False])
@pytest.mark.parametrize("way", ["campaign", "tick", "transfer", "pre_vote"])
def test_no_campaign_before_a_committed_change_is_applied(impl: ModuleType, v1: bool, way: str) -> None:
    """History 29: a member campaigned by an old configuration although the new one was committed: two leaders."""
    member = FullMember(impl, 1, (1, 2, 3), pre_vote=way == "pre_vote", hard=(1, 0, 0))
    change = impl.ConfChange.parse("v4" if v1 else "v4 v5", v1=v1)
    entry = impl.Entry(2, 1, change.encode(), change.entry_kind)
    entries = [impl.Entry(1, 1, b""), entry, impl.Entry(3, 1, b"behind it")]
    member.node.step(impl.Message(MSG_APP, sender=2, term=1, commit=3, entries=entries))

    def provoke() -> None:
        if way == "tick":
            for _ in range(30):
                member.node.tick()
        elif way == "transfer":
            member.node.step(impl.Message(MSG_TIMEOUT_NOW, sender=2, term=1))
        else:
            member.node.campaign()

    provoke()
    # Also between handing over and applying.
    ready = member.node.ready()
    assert [e.index for e in ready.committed_entries] == [1, 2, 3]
    provoke()
    assert (member.role, member.term) == (FOLLOWER, 1)
    member.store(ready)
    member.apply(ready.committed_entries)
    member.node.advance()
    provoke()
    asked = only(member.take(), MSG_PRE_VOTE if way == "pre_vote" else MSG_VOTE)
    # Now it does, and asks the new members too.
    assert {m.to for m in asked} == ({2, 3, 4} if v1 else {2, 3, 4, 5})
    assert {m.flags for m in asked} == {FLAG_TRANSFER if way == "transfer" else 0}


def test_a_change_committed_at_a_leader_only_keeps_nobody_from_being_elected(impl: ModuleType) -> None:
    """History 30: members that did not all know that a change was committed could elect nobody, for ever.

    Voters 1, 2, 3 and learner 4; 3 and 4 change places. The change is committed by 1 and 3, with an entry behind it
    that only 4 has besides 1. Then 1 is gone. By the new configuration 3 needs 4, whose log is longer; 4 does not
    know that it may campaign. A majority of both halves, 2 and 3, 2 and 4, is there. The setting commit_by_vote helps.
    """
    network = Network(impl, 3, learners=(4,), member=FullMember, commit_by_vote=True)
    network.campaign(1)
    network.isolate(2)
    network.cut |= {(1, 4)}
    one = network[1]
    one.node.propose_conf_change(impl.ConfChange.parse("v4 l3", TRANSITION_EXPLICIT))
    # 3 learns that it is committed, from the next append; of 4 only the entries arrive.
    network.deliver()
    assert network[3].node.core.tracker.conf_state().voters_outgoing == (1, 2, 3)
    network.cut.discard((1, 4))
    network.cut |= {(1, 3), (4, 1)}
    entries = [*one.disk[1:], impl.Entry(3, 1, b"more")]
    network[4].node.step(impl.Message(MSG_APP, sender=1, term=1, index=1, log_term=1, commit=1, entries=entries))
    network[4].take()
    assert (network[4].log.last, network[4].committed, network[3].log.last) == (3, 1, 2)
    network.heal()
    network.isolate(1)
    for _ in range(60):
        for id in (2, 3, 4):
            network.tick(id)
        if LEADER in {network[id].role for id in (2, 3, 4)}:
            break
    # 4 has learned from the vote of 3 that it is a voter, and has the longest log.
    assert [network[id].role for id in (2, 3, 4)] == [FOLLOWER, FOLLOWER, LEADER]


# --- transfers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["dead", "slow", "unapplied"])
@pytest.mark.parametrize("check_quorum", [False, True])
def test_a_transfer_ends_within_an_election_timeout(impl: ModuleType, target: str, check_quorum: bool) -> None:
    """History 31: a transfer to a member that was slow, dead or not ready was never given up: no writes any more."""
    network = Network(impl, 3, member=FullMember, check_quorum=check_quorum)
    network.campaign(1)
    one, three = network[1], network[3]
    if target == "dead":
        network.isolate(3)
    elif target == "slow":
        network.loses = lambda m: m.to == 3 and m.kind == MSG_APP and bool(m.entries)
        network.propose(1, b"missing")
    one.node.transfer_leader(3)
    if target == "unapplied":
        # It is told to take over with a committed change that it has not applied: it refuses, silently.
        (order,) = only(one.take(), MSG_TIMEOUT_NOW)
        entry = impl.Entry(2, 1, b"", impl.ConfChange().entry_kind)
        three.node.step(impl.Message(MSG_APP, sender=1, term=1, index=1, log_term=1, commit=2, entries=[entry]))
        three.node.step(order)
        assert (three.role, three.term) == (FOLLOWER, 1)
        three.start()
    network.deliver()
    assert one.transferee == 3
    with pytest.raises(impl.ProposalDropped, match="transferred"):
        one.node.propose(b"during")
    for _ in range(10):
        network.tick(1)
    assert one.role == LEADER and one.transferee == 0 and one.term == 1
    network.propose(1, b"after")
    assert network[2].data[-1] == b"after" and b"during" not in network[2].data


def test_a_transfer_to_a_member_that_is_removed_ends_at_once(impl: ModuleType) -> None:
    """History 31: ... or that was not a voter any more."""
    for change in ("r3", "l3"):
        member = FullMember(impl)
        member.lead_with(2)
        member.acknowledge(2)
        member.node.transfer_leader(3)
        assert member.transferee == 3
        member.node.apply_conf_change(impl.ConfChange.parse(change))
        assert member.transferee == 0
        member.propose()


def test_a_read_after_a_transfer_began_relies_on_no_lease(impl: ModuleType) -> None:
    """History 32: the old leader answered reads by its lease when the new one could be elected within it."""
    member = leader(impl, 2, 3, check_quorum=True, lease_reads=True)
    member.node.read_index(b"by lease")
    assert [(r.index, r.context) for r in member.node.ready().read_states] == [(1, b"by lease")]
    member.node.advance()
    member.node.transfer_leader(3)
    assert kinds(member.take()) == [MSG_TIMEOUT_NOW]
    member.node.read_index(b"during")
    ready = member.node.ready()
    # It has to be confirmed by a majority.
    assert ready.read_states == [] and kinds(ready.messages) == [MSG_HEARTBEAT, MSG_HEARTBEAT]
    member.node.advance()
    # The attempt ends, but the order to take over may still arrive.
    for _ in range(10):
        member.step(MSG_HEARTBEAT_RESP, 2)
        member.tick()
    assert member.role == LEADER and member.transferee == 0
    member.node.read_index(b"afterwards")
    ready = member.node.ready()
    assert ready.read_states == [] and only(ready.messages, MSG_HEARTBEAT)
    member.node.advance()
    member.node.step(impl.Message(MSG_HEARTBEAT_RESP, sender=2, term=1, context=ready.messages[0].context))
    assert [r.context for r in member.node.ready().read_states] == [b"during", b"afterwards"]


def test_two_leaders_at_a_transfer_give_no_stale_read(impl: ModuleType) -> None:
    """History 32: the whole of it: the new leader has committed something when the old one is asked."""
    network = Network(impl, 3, check_quorum=True, lease_reads=True)
    network.campaign(1)
    network.propose(1, b"old")
    network[1].node.transfer_leader(2)
    network.loses = lambda m: 1 in (m.sender, m.to) and m.kind != MSG_TIMEOUT_NOW
    network.deliver()
    assert network.roles() == "LLF"
    network.propose(2, b"new")
    assert network[3].data == [b"old", b"new"]
    network[1].node.read_index(b"r")
    network[1].node.read_index(b"r")
    assert network[1].node.ready().read_states == []


# --- priorities ----------------------------------------------------------------------------------


def test_a_sole_voter_of_low_priority_leads(impl: ModuleType) -> None:
    """History 33: the only voter did not campaign, because learners had a higher priority."""
    network = Network(impl, 1, learners=(2, 3))
    network[2].node.set_priority(9)
    network[3].node.set_priority(9)
    network.tick(1, 25)
    assert network.roles() == "LFF" and network.agree()


def test_priority_decides_between_equal_logs_only(impl: ModuleType) -> None:
    """History 33: ... and where the preferred member was away or behind, nobody led."""
    network = Network(impl, 3, logs={1: [1, 1], 2: [1, 1], 3: [1]}, hards=dict.fromkeys((1, 2, 3), (1, 0, 1)))
    for id, priority in ((1, 1), (2, 5), (3, 9)):
        network[id].node.set_priority(priority)
    # 3 is preferred but behind: it cannot win, and does not keep the others from winning.
    network.campaign(3)
    assert network.roles() == "FFF"
    # 2 prefers itself to 1; 3 prefers a longer log to its own priority.
    network.isolate(2)
    network.campaign(1)
    assert network.roles() == "LFF"
    # Of equal logs the higher priority is elected, whoever campaigns first.
    network = Network(impl, 3, logs={1: [1], 2: [1], 3: [1]})
    network[3].node.set_priority(9)
    network.isolate(1)
    network.campaign(2)
    assert network[2].role != LEADER
    network.campaign(3)
    assert network[3].role == LEADER
