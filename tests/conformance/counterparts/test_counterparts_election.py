"""Who becomes leader: counterparts of etcd's and raft-rs's general tests of elections, with and without pre-vote.

Scenarios and numbers are the ancestors'; the members are driven by what they are told, never by setting a role. A
member that etcd's network replaces by a black hole is cut off here, and one that "campaigns" was told to.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import pytest

from raftx.types import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    MSG_APP,
    MSG_HEARTBEAT,
    MSG_PRE_VOTE,
    MSG_PRE_VOTE_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
    PRE_CANDIDATE,
)
from tests.helpers.core_net import Member, Network, kinds
from tests.helpers.implementations import IMPLEMENTATIONS

PURE = IMPLEMENTATIONS["pure"]


def roles_and_terms(network: Network) -> list[tuple[str, int]]:
    """(role, term) of everybody, in the order of ids."""
    return list(zip(network.roles(), [member.term for member in network.members.values()], strict=True))


# --- a campaign -----------------------------------------------------------------------------------


#: (members, those that are silent, logs, the role of member 1 after its campaign)
ELECTIONS: list[tuple[int, Sequence[int], dict[int, list[int]], int]] = [
    (3, (), {}, LEADER),
    (3, (3,), {}, LEADER),
    (3, (2, 3), {}, CANDIDATE),
    (4, (2, 3), {}, CANDIDATE),
    (5, (2, 3), {}, LEADER),
    # Three logs are longer, and of the candidate's term: they refuse, and do not only ignore.
    (5, (), {2: [1], 3: [1], 4: [1, 1]}, FOLLOWER),
]


@pytest.mark.parametrize(("count", "silent", "logs", "role"), ELECTIONS)
def test_leader_election(
    impl: ModuleType, count: int, silent: Sequence[int], logs: dict[int, list[int]], role: int
) -> None:
    """A majority of votes makes a leader, a majority of refusals a follower; else the candidate waits."""
    network = Network(impl, count, logs=logs)
    network.isolate(*silent)
    network.campaign(1)
    assert (network[1].role, network[1].term) == (role, 1)


@pytest.mark.parametrize(("count", "silent", "logs", "role"), ELECTIONS)
def test_leader_election_pre_vote(
    impl: ModuleType, count: int, silent: Sequence[int], logs: dict[int, list[int]], role: int
) -> None:
    """With pre-vote a campaign that does not get through costs no term."""
    network = Network(impl, count, logs=logs, pre_vote=True)
    network.isolate(*silent)
    network.campaign(1)
    expected = (PRE_CANDIDATE, 0) if role == CANDIDATE else (role, 1)
    assert (network[1].role, network[1].term) == expected


def leader_cycle(impl: ModuleType, pre_vote: bool) -> None:
    network = Network(impl, pre_vote=pre_vote)
    for id, roles in ((1, "LFF"), (2, "FLF"), (3, "FFL")):
        network.campaign(id)
        assert network.roles() == roles


def test_leader_cycle(impl: ModuleType) -> None:
    """Each member in turn campaigns and is elected, and the leader before it follows."""
    leader_cycle(impl, False)


def test_leader_cycle_pre_vote(impl: ModuleType) -> None:
    """So it is with pre-vote."""
    leader_cycle(impl, True)


def overwrite_newer_logs(impl: ModuleType, pre_vote: bool) -> None:
    logs = {1: [1], 2: [1], 3: [2]}
    network = Network(impl, 5, logs=logs, hards={4: (2, 3, 0), 5: (2, 3, 0)}, pre_vote=pre_vote)
    # Three of five know of term 2: they refuse, and member 1 takes the term over.
    network.campaign(1)
    assert (network[1].role, network[1].term) == (FOLLOWER, 2)
    network.campaign(1)
    assert (network[1].role, network[1].term) == (LEADER, 3)
    assert [member.terms for member in network.members.values()] == [[1, 3]] * 5


def test_leader_election_overwrite_newer_logs(impl: ModuleType) -> None:
    """A leader need not have the entries of the highest term: those that were never committed are overwritten.

    Member 1 was elected in term 1 and reached member 2 only; member 3 was elected in term 2 by 4 and 5, and reached
    nobody.
    """
    overwrite_newer_logs(impl, False)


def test_leader_election_overwrite_newer_logs_pre_vote(impl: ModuleType) -> None:
    """The same with pre-vote."""
    overwrite_newer_logs(impl, True)


def in_role(impl: ModuleType, role: int) -> Member:
    """Member 1 of three with that role; it began in term 1."""
    member = Member(impl, hard=(1, 0, 0), pre_vote=role == PRE_CANDIDATE)
    if role == FOLLOWER:
        member.step(MSG_HEARTBEAT, 3)
    elif role == LEADER:
        member.lead_with(2)
    else:
        member.campaign()
    assert member.role == role
    return member


@pytest.mark.parametrize("role", [FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER])
def test_vote_from_any_state(impl: ModuleType, role: int) -> None:
    """Whatever it is, a member votes for a candidate of a higher term with a newer log, and follows."""
    member = in_role(impl, role)
    term = member.term + 1
    (answer,) = member.step(MSG_VOTE, 2, term=term, log_term=term, index=42)
    assert (answer.kind, answer.to, answer.term, answer.reject) == (MSG_VOTE_RESP, 2, term, False)
    assert (member.role, member.term, member.vote) == (FOLLOWER, term, 2)


@pytest.mark.parametrize("role", [FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER])
def test_prevote_from_any_state(impl: ModuleType, role: int) -> None:
    """It promises its vote to a pre-candidate all the same, but stays what it is, in its term, with its vote."""
    member = in_role(impl, role)
    before = (member.role, member.term, member.vote)
    term = member.term + 1
    (answer,) = member.step(MSG_PRE_VOTE, 2, term=term, log_term=term, index=42)
    assert (answer.kind, answer.to, answer.term, answer.reject) == (MSG_PRE_VOTE_RESP, 2, term, False)
    assert (member.role, member.term, member.vote) == before
    assert member.vote == (1 if role in (CANDIDATE, LEADER) else 0)


def test_dueling_candidates(impl: ModuleType) -> None:
    """Two campaign, and one of them does not reach the other: it stops the leader, but its log is not elected."""
    network = Network(impl)
    network.cut |= {(1, 3), (3, 1)}
    network.campaign(1)
    network.campaign(3)
    # Member 2 has voted already: 3 has its own vote and one refusal.
    assert network.roles() == "LFC"
    network.heal()
    network.campaign(3)
    assert roles_and_terms(network) == [("F", 2)] * 3
    assert [member.log.last for member in network.members.values()] == [1, 1, 0]
    assert [member.committed for member in network.members.values()] == [1, 1, 0]


def test_dueling_pre_candidates(impl: ModuleType) -> None:
    """With pre-vote the one that is not elected does not stop the leader."""
    network = Network(impl, pre_vote=True)
    network.cut |= {(1, 3), (3, 1)}
    network.campaign(1)
    network.campaign(3)
    # Member 2 refuses in term 1, which 3 takes over.
    assert network.roles() == "LFF"
    network.heal()
    network.campaign(3)
    assert roles_and_terms(network) == [("L", 1), ("F", 1), ("F", 1)]
    assert [member.log.last for member in network.members.values()] == [1, 1, 0]
    assert [member.committed for member in network.members.values()] == [1, 1, 0]


def test_candidate_concede(impl: ModuleType) -> None:
    """A candidate of the leader's term gives way when it hears from the leader, and gets the leader's log."""
    network = Network(impl)
    network.isolate(1)
    network.campaign(1)
    network.campaign(3)
    assert network.roles() == "CFL"
    network.heal()
    network.tick(3)
    network.propose(3, b"force follower")
    network.tick(3)
    assert roles_and_terms(network) == [("F", 1), ("F", 1), ("L", 1)]
    for member in network.members.values():
        assert (member.terms, member.committed, member.data) == ([1, 1], 2, [b"force follower"])


def test_single_node_candidate(impl: ModuleType) -> None:
    """Who is alone elects itself."""
    network = Network(impl, 1)
    network.campaign(1)
    assert network.roles() == "L"


def test_single_node_pre_candidate(impl: ModuleType) -> None:
    """With pre-vote too (raft-rs: sinle_node_pre_candidate)."""
    network = Network(impl, 1, pre_vote=True)
    network.campaign(1)
    assert network.roles() == "L"


def campaign_while_leader(impl: ModuleType, pre_vote: bool) -> None:
    member = Member(impl, voters=(1,), election_ticks=5, pre_vote=pre_vote)
    assert member.role == FOLLOWER
    member.campaign()
    assert (member.role, member.term) == (LEADER, 1)
    assert member.campaign() == []
    assert (member.role, member.term) == (LEADER, 1)


def test_campaign_while_leader(impl: ModuleType) -> None:
    """A leader that is told to campaign stays what it is, in its term."""
    campaign_while_leader(impl, False)


def test_pre_campaign_while_leader(impl: ModuleType) -> None:
    """With pre-vote it does not ask either."""
    campaign_while_leader(impl, True)


# --- timeouts -------------------------------------------------------------------------------------


def timeouts(member: Member, count: int) -> list[int]:
    """So many draws of the election timeout: each new term brings one."""
    drawn = []
    for _ in range(count):
        member.node.step(member.impl.Message(MSG_HEARTBEAT, to=1, sender=2, term=member.term + 1))
        drawn.append(int(member.randomized_timeout))
    return drawn


def test_pass_election_timeout(impl: ModuleType) -> None:
    """How likely it is that a campaign has begun after so many ticks (PastElectionTimeout in etcd)."""
    drawn = timeouts(Member(impl, election_ticks=10), 10_000)
    past = {ticks: sum([timeout <= ticks for timeout in drawn]) / len(drawn) for ticks in (5, 10, 13, 15, 18, 20)}
    assert (past[5], past[20]) == (0, 1)
    assert [round(past[ticks], 1) for ticks in (10, 13, 15, 18)] == [0.1, 0.4, 0.6, 0.9]
    # And the campaign begins with that tick.
    member = Member(impl, election_ticks=10)
    assert member.tick(member.randomized_timeout - 1) == []
    assert kinds(member.tick()) == [MSG_VOTE, MSG_VOTE]


def test_election_tick_range(impl: ModuleType) -> None:
    """Timeouts lie in the range that the settings give; a range that makes no sense is refused.

    raft-rs lets both ends be set; here the range is always election_ticks .. 2 * election_ticks - 1, and what is left
    of setting it is to pin one timeout.
    """
    assert set(timeouts(Member(impl, election_ticks=10), 1000)) == set(range(10, 20))
    assert set(timeouts(Member(impl, election_ticks=2, heartbeat_ticks=1), 100)) == {2, 3}
    for election_ticks in (10, 9):
        with pytest.raises(impl.ConfigError, match="election_ticks"):
            impl.Config(id=1, election_ticks=election_ticks, heartbeat_ticks=10)
    member = Member(impl, election_ticks=10)
    for ticks in (0, -1, 2**31):
        with pytest.raises(impl.UsageError, match="ticks"):
            member.node.set_randomized_timeout(ticks)
    for _ in range(100):
        timeouts(member, 1)
        member.take()
        member.node.set_randomized_timeout(10)
        assert member.tick(9) == []
        assert kinds(member.tick()) == [MSG_VOTE, MSG_VOTE]


# --- one vote a term ------------------------------------------------------------------------------

# (index, log term, whether it is refused) for a log that ends at (2, 2).
LOGS = [
    (0, 0, True),
    (0, 1, True),
    (0, 2, True),
    (0, 3, False),
    (1, 0, True),
    (1, 1, True),
    (1, 2, True),
    (1, 3, False),
    (2, 0, True),
    (2, 1, True),
    (2, 2, False),
    (2, 3, False),
    (3, 0, True),
    (3, 1, True),
    (3, 2, False),
    (3, 3, False),
]
#: (role, index, log term, who has the vote already, whether it is refused)
VOTES = [
    *[(FOLLOWER, index, log_term, 0, refused) for index, log_term, refused in LOGS],
    (FOLLOWER, 3, 2, 2, False),
    (FOLLOWER, 3, 2, 1, True),
    (LEADER, 3, 3, 1, True),
    (PRE_CANDIDATE, 3, 3, 1, True),
    (CANDIDATE, 3, 3, 1, True),
]


def asked_for_its_vote(impl: ModuleType, kind: int, case: tuple[int, int, int, int, bool]) -> None:
    """Member 1 with entries of term 2 at 1 and 2 is asked by 2, in the term it is in."""
    role, index, log_term, vote, refused = case
    # The term is the later one of the log and of the request; a campaign adds one.
    term = max(2, log_term) - (role in (CANDIDATE, LEADER))
    member = Member(impl, terms=(2, 2), hard=(term, vote, 0), pre_vote=role == PRE_CANDIDATE)
    if role == LEADER:
        member.lead_with(2)
    elif role != FOLLOWER:
        member.campaign()
    assert (member.role, member.term, member.vote) == (role, max(2, log_term), vote)
    (answer,) = member.step(kind, 2, index=index, log_term=log_term)
    expected = MSG_VOTE_RESP if kind == MSG_VOTE else MSG_PRE_VOTE_RESP
    assert (answer.kind, answer.to, answer.reject) == (expected, 2, refused)


@pytest.mark.parametrize("case", VOTES)
def test_recv_msg_request_vote(impl: ModuleType, case: tuple[int, int, int, int, bool]) -> None:
    """One vote a term, for a log that is at least as new (RecvMsgVote in etcd)."""
    asked_for_its_vote(impl, MSG_VOTE, case)


@pytest.mark.parametrize("case", VOTES)
def test_recv_msg_pre_vote(impl: ModuleType, case: tuple[int, int, int, int, bool]) -> None:
    """A question about the present term gets the answer that the vote itself would get."""
    asked_for_its_vote(impl, MSG_PRE_VOTE, case)


# --- giving up ------------------------------------------------------------------------------------


def candidate_reset_term(impl: ModuleType, kind: int) -> None:
    network = Network(impl)
    network.campaign(1)
    assert network.roles() == "LFF"
    network.isolate(3)
    network.campaign(2)
    network.campaign(1)
    assert roles_and_terms(network)[:2] == [("L", 3), ("F", 3)]
    # Two timeouts bring the one that is cut off to the same term.
    for _ in range(2):
        network.tick(3, network[3].randomized_timeout)
    assert roles_and_terms(network) == [("L", 3), ("F", 3), ("C", 3)]
    network.heal()
    network.queue.append(impl.Message(kind, to=3, sender=1, term=3))
    network.deliver()
    assert roles_and_terms(network) == [("L", 3), ("F", 3), ("F", 3)]
    assert network[3].lead == 1


def test_candidate_reset_term_msg_heartbeat(impl: ModuleType) -> None:
    """A candidate that hears a heartbeat of a leader of its term follows, in the leader's term."""
    candidate_reset_term(impl, MSG_HEARTBEAT)


def test_candidate_reset_term_msg_append(impl: ModuleType) -> None:
    """So it does with an append (CandidateResetTermMsgApp in etcd)."""
    candidate_reset_term(impl, MSG_APP)


def self_vote_after_lost_election(impl: ModuleType, pre_vote: bool) -> None:
    member = Member(impl, hard=(1, 0, 0), pre_vote=pre_vote)
    member.node.campaign()
    assert member.role == (PRE_CANDIDATE if pre_vote else CANDIDATE)
    member.node.ready()
    member.node.step(impl.Message(MSG_HEARTBEAT, to=1, sender=2, term=member.term))
    assert member.role == FOLLOWER
    member.node.advance()
    assert (member.role, member.lead, member.tracker.votes_granted) == (FOLLOWER, 2, 0)


def test_candidate_self_vote_after_lost_election(impl: ModuleType) -> None:
    """Its own vote, durable only after another one was elected, does not make it a candidate, nor does it count."""
    self_vote_after_lost_election(impl, False)


def test_candidate_self_vote_after_lost_election_pre_vote(impl: ModuleType) -> None:
    """The same with the promise to itself."""
    self_vote_after_lost_election(impl, True)


def test_candidate_delivers_pre_candidate_self_vote_after_becoming_candidate(impl: ModuleType) -> None:
    """A promise to itself that comes after the others' have made it a candidate is no vote."""
    member = Member(impl, pre_vote=True)
    member.node.campaign()
    member.node.ready()
    for sender in (2, 3):
        member.node.step(impl.Message(MSG_PRE_VOTE_RESP, to=1, sender=sender, term=1))
    assert (member.role, member.term) == (CANDIDATE, 1)
    # What it said to itself as a pre-candidate arrives now, and is not counted.
    member.node.advance()
    assert (member.role, member.tracker.votes_granted) == (CANDIDATE, 0)
    member.node.ready()
    member.node.step(impl.Message(MSG_VOTE_RESP, to=1, sender=2, term=1))
    assert member.role == CANDIDATE
    # Its vote is durable: with that of member 2 it has a majority.
    member.node.advance()
    assert member.role == LEADER


def test_node_with_smaller_term_can_complete_election(impl: ModuleType) -> None:
    """A member that was cut off comes back when the leader is gone: with pre-vote too somebody is elected."""
    network = Network(impl, pre_vote=True, hards=dict.fromkeys((1, 2, 3), (1, 0, 0)))
    network.isolate(3)
    network.campaign(1)
    assert network.roles()[:2] == "LF"
    network.campaign(3)
    assert network.roles() == "LFP"
    network.campaign(2)
    assert roles_and_terms(network) == [("F", 3), ("L", 3), ("P", 1)]
    network.heal()
    network.isolate(2)
    network.campaign(3)
    network.campaign(1)
    assert network.roles() == "LLF"
    assert (network[1].term, network[3].term, network[2].term) == (4, 4, 3)


# --- changes of role ------------------------------------------------------------------------------


def voter(impl: ModuleType, role: int) -> Member:
    """Member 1 of three, in term 0 when it has not campaigned, else in term 1, with that role."""
    member = Member(impl, pre_vote=role == PRE_CANDIDATE)
    if role == LEADER:
        member.lead_with(2)
    elif role != FOLLOWER:
        member.campaign()
    assert member.role == role
    return member


def refused(member: Member, kind: int) -> None:
    """Both others say no."""
    term = member.term
    for sender in (2, 3):
        member.step(kind, sender, term=term, reject=True)


def granted(member: Member, kind: int, ahead: int = 0) -> None:
    """Member 2 says yes."""
    member.step(kind, 2, term=member.term + ahead)


def test_state_transition(impl: ModuleType) -> None:
    """Every change of role that an input can bring about, and those that none can.

    The ancestors call the functions that change the role. Here a leader is reached through a candidate only, so the
    terms are those after the campaigns.
    """
    # From a follower: another term, both kinds of campaign; no vote makes it a leader.
    member = voter(impl, FOLLOWER)
    member.step(MSG_VOTE, 2, term=1, index=0)
    assert (member.role, member.term, member.lead) == (FOLLOWER, 1, 0)
    member = voter(impl, PRE_CANDIDATE)
    assert (member.role, member.term, member.lead) == (PRE_CANDIDATE, 0, 0)
    member = voter(impl, CANDIDATE)
    assert (member.role, member.term, member.lead) == (CANDIDATE, 1, 0)
    member = Member(impl, hard=(1, 1, 0))
    granted(member, MSG_VOTE_RESP)
    member.step(MSG_VOTE_RESP, 3)
    assert (member.role, member.term, member.lead) == (FOLLOWER, 1, 0)

    # From a pre-candidate.
    member = voter(impl, PRE_CANDIDATE)
    refused(member, MSG_PRE_VOTE_RESP)
    assert (member.role, member.term, member.lead) == (FOLLOWER, 0, 0)
    member = voter(impl, PRE_CANDIDATE)
    member.campaign()
    assert (member.role, member.term, member.lead) == (PRE_CANDIDATE, 0, 0)
    granted(member, MSG_PRE_VOTE_RESP, 1)
    assert (member.role, member.term, member.lead) == (CANDIDATE, 1, 0)
    member = Member(impl, voters=(1,), pre_vote=True)
    member.campaign()
    assert (member.role, member.term, member.lead) == (LEADER, 1, 1)

    # From a candidate.
    member = voter(impl, CANDIDATE)
    refused(member, MSG_VOTE_RESP)
    assert (member.role, member.term, member.lead) == (FOLLOWER, 1, 0)
    member = voter(impl, PRE_CANDIDATE)
    granted(member, MSG_PRE_VOTE_RESP, 1)
    member.campaign()
    assert (member.role, member.term, member.lead) == (PRE_CANDIDATE, 1, 0)
    member = voter(impl, CANDIDATE)
    member.campaign()
    assert (member.role, member.term, member.lead) == (CANDIDATE, 2, 0)
    granted(member, MSG_VOTE_RESP)
    assert (member.role, member.term, member.lead) == (LEADER, 2, 1)

    # From a leader: another term only.
    for pre_vote in (False, True):
        member = Member(impl, pre_vote=pre_vote)
        member.lead_with(2)
        assert member.campaign() == []
        assert (member.role, member.term, member.lead) == (LEADER, 1, 1)
        granted(member, MSG_VOTE_RESP)
        assert (member.role, member.term, member.lead) == (LEADER, 1, 1)
        member.step(MSG_VOTE, 2, term=2, index=0)
        assert (member.role, member.term, member.lead) == (FOLLOWER, 2, 0)


@pytest.mark.once
@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (FOLLOWER, FOLLOWER, (1, 0)),
        (FOLLOWER, PRE_CANDIDATE, (0, 0)),
        (FOLLOWER, CANDIDATE, (1, 0)),
        (FOLLOWER, LEADER, None),
        (PRE_CANDIDATE, FOLLOWER, (0, 0)),
        (PRE_CANDIDATE, PRE_CANDIDATE, (0, 0)),
        (PRE_CANDIDATE, CANDIDATE, (1, 0)),
        (PRE_CANDIDATE, LEADER, (0, 1)),
        (CANDIDATE, FOLLOWER, (0, 0)),
        (CANDIDATE, PRE_CANDIDATE, (0, 0)),
        (CANDIDATE, CANDIDATE, (1, 0)),
        (CANDIDATE, LEADER, (0, 1)),
        (LEADER, FOLLOWER, (1, 0)),
        (LEADER, PRE_CANDIDATE, None),
        (LEADER, CANDIDATE, None),
        (LEADER, LEADER, (0, 1)),
    ],
)
def test_state_transition_by_call(before: int, after: int, allowed: tuple[int, int] | None) -> None:
    """The ancestors' table: (term, leader) after the call, or None where it is an error.

    Compiled code keeps these functions to itself, so this is the interpreted mode in both runs.
    """
    core = Member(PURE, voters=(1,)).node.core
    core.role = before
    become = {
        FOLLOWER: lambda: core.become_follower(allowed[0] if allowed else 0, 0),
        PRE_CANDIDATE: core.become_pre_candidate,
        CANDIDATE: core.become_candidate,
        LEADER: core.become_leader,
    }[after]
    if allowed is None:
        with pytest.raises(PURE.Corruption, match="cannot become"):
            become()
        assert core.role == before
        return
    become()
    assert (core.role, core.term, core.lead) == (after, *allowed)


def test_new_raft_with_bad_config_errors(impl: ModuleType) -> None:
    """Settings that make no member are an error when they are made, before there is one."""
    for settings in ({"id": 0}, {"id": 1, "election_ticks": 1, "heartbeat_ticks": 1}, {"id": 0, "election_ticks": 1}):
        with pytest.raises(impl.ConfigError):
            impl.Config(**settings)
